//! `cargo xtask tidy`: repository conventions, checked. A test runs them as well.
//!
//! Every rule reports all its problems, each with file and line.

mod circles;
mod items;
mod layers;
mod paths;
mod pending;
mod readme;
mod rust_file;
mod source;
mod texts;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub use source::Problem;
use source::Source;

use crate::exec::output;
use crate::workspace::{cargo, root};

/// Longer files are refused.
const MAX_LINES: usize = 500;
/// Longer files are named.
const MANY_LINES: usize = 400;
/// The crates whose files may not import each other in a circle.
const CRATES: [&str; 3] = ["tracer-ebpf/src", "tracer-user/src", "xtask/src"];
/// Directories in a checkout that are not part of the repository.
const IGNORED: &[&str] = &[".git", "target", "proptest-regressions", "__pycache__"];

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
    let root = root();
    for (path, lines) in long_files(&root)? {
        println!("{}: {lines} lines, more than {MANY_LINES}: consider splitting it", path.display());
    }
    let problems = problems(&root, &help)?;
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
    let sources = read_sources(root)?;
    let mut problems = BTreeSet::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        problems.extend(shape(source));
    }
    for source in &sources {
        problems.extend(texts::machine_paths(source));
        problems.extend(texts::dead_links(root, source));
        problems.extend(texts::dead_paths(root, source));
        problems.extend(texts::foreign_registries(source));
        problems.extend(words::refused_words(source));
        problems.extend(words::wide_comments(source));
    }
    let files = rust_file::read(&sources)?;
    problems.extend(layers::problems(&files));
    problems.extend(layers::unsafe_counts(&files));
    for sources in CRATES {
        problems.extend(circles::problems(sources, &files)?);
    }
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

/// Rust files that are long, with their number of lines.
fn long_files(root: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let rust = read_sources(root)?.into_iter().filter(Source::is_rust);
    let counted = rust.map(|source| (source.path, source.text.lines().count()));
    Ok(counted.filter(|(_, lines)| *lines > MANY_LINES).collect())
}

fn read_sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    read_below(root, Path::new(""), &mut sources)?;
    Ok(sources)
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
