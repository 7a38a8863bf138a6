//! `sessions … --layout autoskillit`: lists and shows the sessions of AutoSkillit's log, and adds sessions of
//! this tracer's log to it.

use super::problems::Problems;
use super::sessions::{self, SessionFilter, SessionListing, StoredTrace, began_before, missing, wanted};
use crate::core::autoskillit;
use crate::core::record::SessionId;
use crate::core::summary::SessionMeta;
use crate::store::autoskillit_log::{AddedSession, AutoskillitLog, default_path};
use crate::store::{LogConfig, ResolveConfig, session_files};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// The attached file that has the numbers of tokens in a row of its index.
const TOKEN_USAGE: &str = "token_usage.json";

/// The log in the given directory, else in its default one.
///
/// # Errors
/// When none was given and there is no home directory.
pub fn path(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    dir.or_else(|| default_path(|name| std::env::var_os(name)))
        .context("AutoSkillit's log: no home directory; name the log")
}

/// The same, to write into. Under a test runner the default one is refused.
///
/// # Errors
/// When none was given, and the default one is not known or may not be used.
pub fn path_to_write(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if dir.is_none()
        && let Some(variable) = ResolveConfig::from_environment(None).test_runner
    {
        bail!(
            "{variable} is set, so this runs under a test runner: name AutoSkillit's log with --autoskillit-log"
        );
    }
    path(dir)
}

/// Lists its sessions.
///
/// # Errors
/// When the log cannot be read.
pub fn list(path: &Path, filter: &SessionFilter) -> anyhow::Result<SessionListing> {
    let mut listing = SessionListing::default();
    let Some(log) = open(path)? else { return Ok(listing) };
    let cleared_at = if filter.include_cleared {
        None
    } else {
        match log.cleared_at() {
            Ok(cleared_at) => cleared_at,
            Err(error) => {
                listing.problems.add(format_args!("{}: {error}", crate::store::index::CLEARED_AT));
                None
            }
        }
    };
    listing.cleared_at = cleared_at.map(crate::core::time::render);
    let (rows, problems) = log.rows().with_context(|| format!("{}: its index", path.display()))?;
    listing
        .sessions
        .extend(rows.into_iter().filter(|row| wanted(row, filter) && !began_before(row, cleared_at)));
    for problem in problems {
        listing.problems.add(problem);
    }
    listing.keep_newest(filter.limit);
    Ok(listing)
}

/// Reads one of its sessions, with its snapshots if requested.
///
/// # Errors
/// When no session has that name, or it cannot be read.
pub fn show(path: &Path, name: &str, with_snapshots: bool) -> anyhow::Result<StoredTrace> {
    // Its names may have a `+` of a time zone, which is no part of an id here.
    SessionId::parse(&name.replace('+', "-")).map_err(|_| missing(name))?;
    let log = open(path)?.ok_or_else(|| missing(name))?;
    let session = log.session(name, with_snapshots).with_context(|| format!("session {name}"))?;
    let session = session.ok_or_else(|| missing(name))?;
    let mut problems = Problems::default();
    for problem in session.problems {
        problems.add(problem);
    }
    let meta = SessionMeta { labels: session.summary.labels.clone(), protected: false };
    Ok(StoredTrace {
        summary: session.summary,
        meta: Some(meta),
        diagnosis: None,
        trace: session.trace,
        files: Vec::new(),
        problems,
    })
}

fn open(path: &Path) -> anyhow::Result<Option<AutoskillitLog>> {
    AutoskillitLog::open(path).with_context(|| format!("{}", path.display()))
}

/// Adds a session of this tracer's log to AutoSkillit's.
///
/// # Errors
/// When the session does not exist, or cannot be added.
pub fn export(config: &LogConfig, name: &str, to: &Path) -> anyhow::Result<AddedSession> {
    let shown = sessions::show(config, name, true)?;
    let dir = sessions::open_session(config, name)?;
    let uid = rustix::process::geteuid().as_raw();
    let mut attached = Vec::new();
    for name in session_files::attached(&dir)? {
        let file = dir.open_file(&name, false, uid).with_context(|| name.to_string_lossy().into_owned())?;
        attached.push((name, file));
    }
    let usage = sessions::read_json::<serde_json::Value>(&dir, uid, TOKEN_USAGE).ok().flatten();
    let documents = autoskillit::documents(&shown.summary, &shown.trace, usage.as_ref());
    AutoskillitLog::create(to)
        .and_then(|log| log.add(&documents, attached))
        .with_context(|| format!("{}: session {name}", to.display()))
}
