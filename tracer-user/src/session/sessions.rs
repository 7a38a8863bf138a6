//! `sessions`: lists, shows, hides and protects the sessions of the log.

use super::problems::Problems;
use crate::core::diagnosis::Diagnosis;
use crate::core::record::{Line, SessionId};
use crate::core::retention::{RetentionPlan, RetentionPolicy};
use crate::core::summary::{IndexRow, SessionMeta, Summary};
use crate::core::timeline;
use crate::store::fsops::{OwnedDir, read_bounded};
use crate::store::index::{self, Row};
use crate::store::lines::{Lines, RawLine};
use crate::store::{Layout, LogConfig, SessionLog, session_files};
use anyhow::{Context, anyhow, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The log in the given directory, or in the default one.
pub fn log(dir: Option<PathBuf>) -> LogConfig {
    LogConfig::from_environment(dir, RetentionPolicy::default())
}

/// The same log with another policy, for [`prune`].
pub fn log_with(dir: Option<PathBuf>, policy: RetentionPolicy) -> LogConfig {
    LogConfig::from_environment(dir, policy)
}

/// The largest file of a session that is read whole, bytes.
const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// Which sessions are listed.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Sessions that began then or later.
    pub since: Option<jiff::Timestamp>,
    /// Sessions with all of these labels. An empty value matches any.
    pub labels: Vec<(String, String)>,
    /// Sessions with this outcome: a subtype, or `failed` for all that did not succeed.
    pub outcome: Option<String>,
    /// Sessions from before the last `sessions clear`, too.
    pub include_cleared: bool,
    /// At most this many, the newest.
    pub limit: Option<usize>,
}

/// The listed sessions.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct SessionListing {
    /// Oldest first.
    pub sessions: Vec<IndexRow>,
    /// How many sessions the filter would list if `sessions clear` had not hidden them.
    pub hidden: u64,
    /// The time of the last `sessions clear`, from which the listing begins; null without one.
    pub cleared_at: Option<String>,
    /// Rows that are not understood, one line each.
    pub problems: Problems,
}

/// One hang, in all sessions that had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HangGroup {
    /// Version and hash of its wait graph with the functions in which its threads wait.
    pub site: String,
    /// Version and hash of its wait graph alone.
    pub shape: String,
    /// The hang in a few words.
    pub title: String,
    /// The functions, with their programs.
    pub functions: Vec<String>,
    /// Sessions that had it.
    pub count: usize,
    /// Sessions that were looked at.
    pub of: usize,
    /// When the first of them began, RFC 3339.
    pub first_seen: String,
    /// When the last of them began, RFC 3339.
    pub last_seen: String,
    /// The name of the last of them.
    pub last_session: String,
    /// Their tests.
    pub tests: BTreeSet<String>,
    /// Their labels, as `key=value`.
    pub labels: BTreeSet<String>,
}

/// The hangs of the sessions of a listing, the most frequent first, and of those the last seen.
pub fn hangs(sessions: &[IndexRow]) -> Vec<HangGroup> {
    let mut groups: Vec<HangGroup> = Vec::new();
    for row in sessions {
        let Some(hang) = &row.hang else { continue };
        let at = groups.iter().position(|group| group.site == hang.site).unwrap_or_else(|| {
            groups.push(HangGroup {
                site: hang.site.clone(),
                shape: hang.shape.clone(),
                title: hang.title.clone(),
                functions: hang.functions.clone(),
                count: 0,
                of: sessions.len(),
                first_seen: row.timestamp.clone(),
                last_seen: String::new(),
                last_session: String::new(),
                tests: BTreeSet::new(),
                labels: BTreeSet::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.count += 1;
        group.last_seen.clone_from(&row.timestamp);
        group.last_session.clone_from(&row.dir_name);
        group.tests.extend(hang.tests.iter().cloned());
        group.labels.extend(row.labels.iter().map(|(key, value)| format!("{key}={value}")));
    }
    groups.sort_by(|a, b| (b.count, &b.last_seen).cmp(&(a.count, &a.last_seen)));
    groups
}

/// Lists sessions.
///
/// # Errors
/// When the log cannot be read.
pub fn list(config: &LogConfig, filter: &SessionFilter) -> anyhow::Result<SessionListing> {
    let mut listing = SessionListing::default();
    let Some(dir) = open_log(config)? else { return Ok(listing) };
    let uid = rustix::process::geteuid().as_raw();
    let cleared_at = if filter.include_cleared {
        None
    } else {
        match index::cleared_at(&dir, uid) {
            Ok(cleared_at) => cleared_at,
            Err(error) => {
                listing.problems.add(format_args!("{}: {error}", index::CLEARED_AT));
                None
            }
        }
    };
    listing.cleared_at = cleared_at.map(crate::core::time::render);
    if let Ok(Some(Layout::AutoSkillit)) = index::layout(&dir, uid, Layout::Own) {
        let problem =
            format!("{}: AutoSkillit's sessions are in it: add --layout autoskillit", config.path.display());
        listing.problems.add(problem);
    }
    let Some(file) = index::open(&dir, uid).with_context(|| format!("{}", config.path.display()))? else {
        return Ok(listing);
    };
    for row in index::rows(file) {
        match row.context("the index cannot be read")? {
            Row::Good(row) if !wanted(&row, filter) => drop(row),
            Row::Good(row) if began_before(&row, cleared_at) => listing.hidden += 1,
            Row::Good(row) => listing.sessions.push(*row),
            Row::Bad(number, error) => {
                listing.problems.add(format_args!("row {number} of the index: {error}"));
            }
        }
    }
    listing.keep_newest(filter.limit);
    Ok(listing)
}

impl SessionListing {
    /// Keeps at most this many sessions, the newest.
    pub(super) fn keep_newest(&mut self, limit: Option<usize>) {
        let excess = limit.map_or(0, |limit| self.sessions.len().saturating_sub(limit));
        self.sessions.drain(..excess);
    }
}

/// A row without a valid time is shown rather than hidden.
pub(super) fn began_before(row: &IndexRow, from: Option<jiff::Timestamp>) -> bool {
    from.is_some_and(|from| row.timestamp.parse::<jiff::Timestamp>().is_ok_and(|began| began < from))
}

/// Whether a session passes the filter.
pub(super) fn wanted(row: &IndexRow, filter: &SessionFilter) -> bool {
    if began_before(row, filter.since) {
        return false;
    }
    let labelled = filter
        .labels
        .iter()
        .all(|(key, value)| row.labels.get(key).is_some_and(|there| value.is_empty() || there == value));
    let outcome = filter
        .outcome
        .as_deref()
        .is_none_or(|wanted| row.subtype == wanted || (wanted == "failed" && row.success != Some(true)));
    labelled && outcome
}

/// A finished session, with its files. `sessions export` writes it, and `sessions show FILE` reads it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StoredTrace {
    /// Its summary.
    pub summary: Summary,
    /// Its labels, and whether it is protected; null when the file is missing.
    pub meta: Option<SessionMeta>,
    /// Its last diagnosis; null when there is none.
    pub diagnosis: Option<serde_json::Value>,
    /// Its trace, in order; without the snapshots where they were not requested.
    pub trace: Vec<Line>,
    /// The files that were attached to it.
    pub files: Vec<AttachedFile>,
    /// Lines that are not understood, one line each.
    pub problems: Problems,
}

/// A file that was attached to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedFile {
    /// Its name.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
}

impl StoredTrace {
    /// A diagnosis for a session that needed none, of its last moment.
    pub fn nothing_hung(&self) -> Diagnosis {
        let mut diagnosis = super::run::nothing_hung(&self.summary);
        diagnosis.boot_ns = self.trace.iter().map(|line| line.boot_ns).max().unwrap_or(0);
        if let Some(end) = &self.summary.end_ts {
            diagnosis.taken_at.clone_from(end);
        }
        diagnosis
    }

    /// Its trace in words, with times since its beginning.
    pub fn timeline(&self) -> impl Iterator<Item = String> + '_ {
        let began = self.trace.first().map_or(0, |line| line.boot_ns);
        self.trace.iter().filter_map(move |line| timeline::timed(line, began))
    }
}

/// Reads a session, with its snapshots if requested.
///
/// # Errors
/// When no session has that name, or it cannot be read.
pub fn show(config: &LogConfig, name: &str, with_snapshots: bool) -> anyhow::Result<StoredTrace> {
    let dir = open_session(config, name)?;
    let uid = rustix::process::geteuid().as_raw();
    let summary = read_json(&dir, uid, session_files::SUMMARY)?
        .ok_or_else(|| anyhow!("session {name} has no summary"))?;
    let mut shown = StoredTrace {
        summary,
        meta: read_json(&dir, uid, session_files::META)?,
        diagnosis: read_json(&dir, uid, session_files::DIAGNOSIS)?,
        trace: Vec::new(),
        files: attached_files(&dir)?,
        problems: Problems::default(),
    };
    let mut files = vec![session_files::EVENTS, session_files::ANOMALIES];
    files.extend(with_snapshots.then_some(session_files::SNAPSHOTS));
    for file in files {
        read_lines(&dir, uid, file, &mut shown)?;
    }
    shown.trace.sort_by_key(|line| line.seq);
    Ok(shown)
}

/// No session has this name.
pub(super) fn missing(name: &str) -> anyhow::Error {
    anyhow!("no session {name}: see `tracer-user sessions list`")
}

/// The directory of a session.
pub(super) fn open_session(config: &LogConfig, name: &str) -> anyhow::Result<OwnedDir> {
    if !is_session_name(name) {
        return Err(missing(name));
    }
    let log = open_log(config)?.ok_or_else(|| missing(name))?;
    let sessions = log.open_dir(OsStr::new("sessions")).map_err(|_| missing(name))?;
    sessions.open_dir(OsStr::new(name)).map_err(|_| missing(name))
}

fn attached_files(dir: &OwnedDir) -> anyhow::Result<Vec<AttachedFile>> {
    let mut files = Vec::new();
    for name in session_files::attached(dir)? {
        let Some(stat) = dir.stat_name(&name)? else { continue };
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        files.push(AttachedFile { name: name.to_string_lossy().into_owned(), bytes });
    }
    Ok(files)
}

/// Attaches files to a session, under their names. All that can be attached are. Returns how many, and a line
/// for each of the others.
///
/// # Errors
/// When the session does not exist, or the log cannot be used.
pub fn attach(config: &LogConfig, name: &str, files: &[PathBuf]) -> anyhow::Result<(usize, Vec<String>)> {
    open_session(config, name)?;
    let log = SessionLog::open(config)?;
    let _lock = log.lock()?;
    let mut problems = Vec::new();
    for path in files {
        let attached = open_regular(path).and_then(|file| {
            let file_name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
            log.attach(name, file_name, file)
        });
        if let Err(error) = attached {
            let why = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "the session has a file of this name".to_owned(),
                _ => error.to_string(),
            };
            problems.push(format!("{}: not attached: {why}", path.display()));
        }
    }
    Ok((files.len() - problems.len(), problems))
}

/// Opens a regular file. Never blocks.
fn open_regular(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file =
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("not a regular file")) }
}

/// Reads an exported session from a file.
///
/// # Errors
/// When the file cannot be read, or is no export.
pub fn read_export(path: &Path) -> anyhow::Result<StoredTrace> {
    let name = || format!("{}", path.display());
    let file = std::fs::File::open(path).with_context(name)?;
    let bytes = read_bounded(file.into(), MAX_FILE_BYTES).with_context(name)?;
    let bytes = bytes.ok_or_else(|| anyhow!("{}: larger than {MAX_FILE_BYTES} bytes", path.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: not written by `tracer-user sessions export`", path.display()))
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(
    dir: &OwnedDir,
    uid: u32,
    name: &str,
) -> anyhow::Result<Option<T>> {
    use crate::store::fsops::OpenError;
    let file = match dir.open_file(OsStr::new(name), false, uid) {
        Err(OpenError::Missing) => return Ok(None),
        other => other.with_context(|| name.to_owned())?,
    };
    let bytes = read_bounded(file, MAX_FILE_BYTES).with_context(|| name.to_owned())?;
    let bytes = bytes.ok_or_else(|| anyhow!("{name} is larger than {MAX_FILE_BYTES} bytes"))?;
    Ok(Some(serde_json::from_slice(&bytes).with_context(|| name.to_owned())?))
}

fn read_lines(dir: &OwnedDir, uid: u32, name: &str, shown: &mut StoredTrace) -> anyhow::Result<()> {
    use crate::store::fsops::OpenError;
    let file = match dir.open_file(OsStr::new(name), false, uid) {
        Err(OpenError::Missing) => return Ok(()),
        other => other.with_context(|| name.to_owned())?,
    };
    for (line, number) in Lines::new(BufReader::new(std::fs::File::from(file))).zip(1_u64..) {
        let parsed = match line.with_context(|| name.to_owned())? {
            RawLine::Whole(line) | RawLine::Torn(line) => {
                Line::parse(&line).map_err(|error| error.to_string())
            }
            RawLine::TooLong(bytes) => Err(format!("{bytes} bytes long")),
        };
        match parsed {
            Ok(line) => shown.trace.push(line),
            Err(why) => shown.problems.add(format_args!("{name}, line {number}: {why}")),
        }
    }
    Ok(())
}

/// What `sessions prune` removed, or would remove.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PruneReport {
    /// Nothing was removed.
    pub dry_run: bool,
    /// Oldest first.
    pub removals: RetentionPlan,
}

/// Removes the finished sessions that the policy of the log does not keep. Protected sessions stay.
///
/// # Errors
/// When the log cannot be read or written.
pub fn prune(config: &LogConfig, dry_run: bool) -> anyhow::Result<PruneReport> {
    if open_log(config)?.is_none() {
        return Ok(PruneReport { dry_run, removals: RetentionPlan::default() });
    }
    let log = SessionLog::open(config)?;
    let _lock = log.lock()?;
    let now = super::clock::anchor().wall;
    let removals = if dry_run { log.plan_retention(now, 0) } else { log.retain(now) };
    Ok(PruneReport { dry_run, removals: removals.with_context(|| format!("{}", config.path.display()))? })
}

/// Hides all present sessions from listings, and removes none. Returns the time from which listings begin.
///
/// # Errors
/// When the log cannot be written.
pub fn clear(config: &LogConfig) -> anyhow::Result<String> {
    let log = SessionLog::open(config)?;
    let _lock = log.lock()?;
    let now = super::clock::anchor().wall;
    index::set_cleared_at(log.dir(), now).with_context(|| format!("{}", config.path.display()))?;
    Ok(crate::core::time::render(now))
}

/// Protects these sessions from retention, or ends that. All of them, or none when one does not exist.
///
/// # Errors
/// When a session does not exist, or the log cannot be written.
pub fn protect(config: &LogConfig, names: &[String], protected: bool) -> anyhow::Result<()> {
    if open_log(config)?.is_none() {
        bail!("no session {}: see `tracer-user sessions list`", names.first().map_or("", String::as_str));
    }
    let log = SessionLog::open(config)?;
    let _lock = log.lock()?;
    for name in names {
        if !is_session_name(name) || log.read_summary(name).is_ok_and(|summary| summary.is_none()) {
            bail!("no session {name}: see `tracer-user sessions list`");
        }
    }
    for name in names {
        log.protect(name, protected).with_context(|| format!("session {name}"))?;
    }
    Ok(())
}

/// The name is a session id, or one with the number that distinguishes sessions of the same id.
fn is_session_name(name: &str) -> bool {
    let id = name.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    SessionId::parse(id).is_ok() || SessionId::parse(name).is_ok()
}

/// The directory of the log; `None` when there is none yet.
fn open_log(config: &LogConfig) -> anyhow::Result<Option<OwnedDir>> {
    match OwnedDir::open(&config.path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("session log {}", config.path.display())),
    }
}
