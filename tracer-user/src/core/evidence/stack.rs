//! A user-space stack: the functions that a thread is in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteString;

/// A function that a thread is in.
///
/// Arguments, locals and source text are never read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StackFrame {
    /// Its name; `None` in a file without symbols.
    pub function: Option<ByteString>,
    /// The source file, as the compiler or interpreter recorded it.
    pub file: Option<ByteString>,
    /// The line in it, from 1 on.
    pub line: Option<u32>,
    /// Path of the executable or library, as the process sees it.
    pub module: Option<ByteString>,
    /// Address in the module's file, so that another tool can look it up.
    pub address: Option<u64>,
    /// The language's reader that found it.
    pub kind: FrameKind,
}

/// The reader that found a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// Machine code, from the unwind tables of its file.
    #[default]
    Native,
    /// An interpreter of CPython.
    Python,
}
