//! What follows once a session is durable in the log: files are attached, and AutoSkillit's copies completed.

use std::path::{Path, PathBuf};

use crate::session::{autoskillit_log, sessions};
use crate::store::LogConfig;
use crate::store::autoskillit::Mirror;
use crate::store::session_files::may_be_attached;

/// Attaches the files of `keep`, adds the session to AutoSkillit's log, and only then removes its live files.
/// Returns what did not work, one line each.
pub fn filed(
    log: &LogConfig,
    name: &str,
    keep: Option<&Path>,
    foreign_log: Option<&Path>,
    mirror: Option<Mirror>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(keep) = keep {
        match files_of(keep) {
            Err(error) => problems.push(format!("{}: {error}", keep.display())),
            Ok(files) if files.is_empty() => {}
            Ok(files) => match sessions::attach(log, name, &files) {
                Ok((_, more)) => problems.extend(more),
                Err(error) => problems.push(format!("{}: not attached: {error:#}", keep.display())),
            },
        }
    }
    let exported = foreign_log.map(|to| autoskillit_log::export(log, name, to));
    if let Some(Err(error)) = exported {
        // Its own recovery adds what its live files have.
        problems.push(format!("not added to AutoSkillit's log: {error:#}"));
    } else if let Some(Err(error)) = mirror.map(Mirror::remove) {
        problems.push(format!("AutoSkillit's files cannot be removed: {error}"));
    }
    problems
}

/// The regular files of a directory, in the order of their names.
fn files_of(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && may_be_attached(&entry.file_name()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
