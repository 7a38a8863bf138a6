//! Stacks, the place in them that is the user's own code, and what identifies a hang by them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A frame of a stack, for readers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// The function; null in a file without symbols.
    pub function: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The executable or library.
    pub module: Option<String>,
    /// Address in the module's file, hexadecimal.
    pub address: Option<String>,
    /// Which reader found it: `native`, `python`.
    pub kind: String,
}

/// The innermost frame of the user's own code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodePlace {
    /// `tests/test_io.py:41 in test_chatty`. The file is relative to the working directory where it lies
    /// below it.
    pub text: String,
    /// The function alone.
    pub function: Option<String>,
    /// Its position in the stack; 0 is the innermost frame.
    pub depth: usize,
}

/// What makes two hangs the same hang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// Version and hash of the wait graph.
    pub shape: String,
    /// Version and hash of the wait graph with the functions in which its threads wait.
    pub site: String,
    /// The hang in a few words.
    pub title: String,
    /// What `shape` is the hash of.
    pub shape_text: String,
    /// The functions, with their programs.
    pub functions: Vec<String>,
    /// The tests that the processes belong to, at most eight. They are no part of the hashes.
    pub tests: Vec<String>,
}
