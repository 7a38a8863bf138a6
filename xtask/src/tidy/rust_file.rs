//! The Rust files of the repository, parsed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::paths::{self, FileFacts};
use super::source::Source;

/// A Rust file.
pub struct RustFile<'a> {
    /// Its text.
    pub source: &'a Source,
    /// What it names.
    pub facts: FileFacts,
    /// The whole file is test code of a crate.
    pub test: bool,
}

/// Parses the Rust files among the sources.
///
/// # Errors
/// A file with a syntax error.
pub fn read(sources: &[Source]) -> Result<Vec<RustFile<'_>>> {
    let mut files = Vec::new();
    let mut tests = BTreeSet::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let facts =
            paths::find(&source.text).with_context(|| format!("cannot parse {}", source.path.display()))?;
        tests.extend(facts.test_modules.iter().flat_map(|module| files_of(&source.path, module)));
        files.push(RustFile { source, facts, test: false });
    }
    for file in &mut files {
        let path = &file.source.path;
        file.test = tests.iter().any(|test| path == test || path.starts_with(test.with_extension("")));
    }
    Ok(files)
}

/// The possible files of a module declared in `parent`.
fn files_of(parent: &Path, module: &str) -> Vec<PathBuf> {
    let stem = parent.file_stem().unwrap_or_default();
    let dir = parent.parent().unwrap_or(Path::new(""));
    let dir = if ["mod", "lib", "main"].iter().any(|root| stem == *root) {
        dir.to_path_buf()
    } else {
        dir.join(stem)
    };
    vec![dir.join(format!("{module}.rs")), dir.join(module).join("mod.rs")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_are_test_code() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [
            source("src/a.rs", "#[cfg(test)] mod tests;"),
            source("src/a/tests.rs", "mod more;"),
            source("src/a/tests/more.rs", "use std::fs;"),
        ];
        let test: Vec<bool> = read(&sources).unwrap().iter().map(|file| file.test).collect();
        assert_eq!(test, [false, true, true]);
    }
}
