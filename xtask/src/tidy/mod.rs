//! `cargo xtask tidy`: repository conventions, checked. A test runs them as well.
//!
//! Every rule reports all its problems, each with file and line.

mod layers;
mod paths;
mod readme;
mod texts;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::exec::output;
use crate::workspace::{cargo, root};

/// Longer files are refused.
const MAX_LINES: usize = 500;
/// Directories in a checkout that are not part of the repository.
const IGNORED: &[&str] = &[".git", "target", "proptest-regressions", "__pycache__"];

/// A violation of a convention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the root.
    pub file: PathBuf,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// A text file of the repository.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem { file: self.path.clone(), line, what: what.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }
}

/// Checks the repository and prints the problems.
///
/// # Errors
/// When there are problems.
pub fn run() -> Result<()> {
    let help = output(cargo().args([
        "run",
        "--quiet",
        "--package=tracer-user",
        "--bin=tracer-user",
        "--",
        "--help",
    ]))?;
    let problems = problems(&root(), &help)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!("tidy: {count} problems"),
    }
}

/// All problems of the repository at `root`. `help` is the output of `tracer-user --help`.
///
/// # Errors
/// When the repository cannot be read.
pub fn problems(root: &Path, help: &str) -> Result<BTreeSet<Problem>> {
    let mut sources = Vec::new();
    read_below(root, Path::new(""), &mut sources)?;
    let mut problems = BTreeSet::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        problems.extend(shape(source));
    }
    for source in &sources {
        problems.extend(texts::machine_paths(source));
        problems.extend(texts::dead_links(root, source));
        problems.extend(texts::foreign_registries(source));
    }
    problems.extend(layers::problems(&sources)?);
    if let Some(text) = sources.iter().find(|source| source.path == Path::new("README.md")) {
        problems.extend(readme::verbs(text, help));
    }
    Ok(problems)
}

/// Every Rust file begins with a line that says what it is for, and is not too long.
fn shape(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !source.text.starts_with("//! ") {
        problems.push(source.problem(1, "does not begin with `//! `: say what the file is for"));
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        problems.push(source.problem(0, format!("{lines} lines, the limit is {MAX_LINES}: split it")));
    }
    problems
}

fn read_below(root: &Path, dir: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = dir.join(&name);
        let name = name.to_string_lossy();
        if IGNORED.contains(&name.as_ref()) || name.starts_with("target-") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            read_below(root, &path, sources)?;
        } else if entry.file_type()?.is_file() {
            // Binary files, such as the BPF object, have no lines to check.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                sources.push(Source { path, text });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_says_what_it_is_for_and_is_not_too_long() {
        assert_eq!(shape(&source("a.rs", "//! What it is for.\n")), []);
        assert_eq!(shape(&source("a.rs", "use std::fs;\n")).len(), 1);
        let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
        assert!(shape(&source("a.rs", &long))[0].what.starts_with("501 lines"));
    }
}
