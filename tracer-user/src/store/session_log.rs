//! The session log: finished sessions, each a whole directory, and their index.
//!
//! A session is staged beside the others, made durable, and appears by one rename; its row follows under the same lock
//! that retention takes. A session that is there already (its finisher died after the rename) is recognised by its
//! root's identity, gets its row if that is missing, and is not filed again.

use super::fault::point;
use super::fsops::{
    OpenError, OwnedDir, lock_within, random_name, read_bounded, try_lock, try_lock_shared, write_all,
};
use super::index;
use super::lines::RawLine;
use super::writer::kind_of;
use crate::core::summary::{IndexRow, SessionMeta, Summary};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where sessions are written before they appear, and go before they are removed.
const STAGING: &str = ".staging";
/// Labels of a session, and whether it is protected.
const META: &str = "meta.json";
/// Longest wait for the log's lock.
const LOCK_WAIT: Duration = Duration::from_secs(20);
/// From so many sessions on, the whole file system is synced once instead of every file.
const SYNC_ALL_FROM: usize = 8;
/// Sessions of the same id.
const MAX_SAME_ID: u32 = 10_000;
/// Bytes of the largest summary that is read.
const MAX_SUMMARY_BYTES: usize = 16 * 1024 * 1024;
/// Fewest bytes of a row: an index smaller than this times the limit has not reached it.
const MIN_ROW_BYTES: u64 = 200;

/// Where the log is and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The directory.
    pub path: PathBuf,
    /// Sessions kept; older ones go, protected ones never.
    pub max_sessions: usize,
}

impl LogConfig {
    /// Sessions kept when nothing else is said.
    pub const MAX_SESSIONS: usize = 2000;

    /// From the environment of this process.
    pub fn from_environment(option: Option<PathBuf>, max_sessions: usize) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { path: log_path(option, root, |name| std::env::var_os(name)), max_sessions }
    }
}

/// The log's place: what was asked for, else by the user.
pub fn log_path(option: Option<PathBuf>, root: bool, lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    option
        .or_else(|| path("TRACER_LOG_DIR"))
        .or_else(|| Some(path("XDG_STATE_HOME")?.join("tracer-user")))
        .or_else(|| root.then(|| PathBuf::from("/var/log/tracer-user")))
        .or_else(|| Some(path("HOME")?.join(".local/state/tracer-user")))
        .unwrap_or_else(|| PathBuf::from("/var/log/tracer-user"))
}

/// Why the log cannot be used, or a session not be filed.
#[derive(Debug, thiserror::Error)]
#[error("session log {path}: {what}: {error}")]
pub struct LogError {
    /// The log.
    pub path: PathBuf,
    /// What was being done.
    pub what: &'static str,
    /// What was said.
    pub error: OpenError,
}

/// The session log.
#[derive(Clone, Debug)]
pub struct SessionLog {
    path: PathBuf,
    dir: OwnedDir,
    sessions: OwnedDir,
    staging: OwnedDir,
    uid: u32,
    max_sessions: usize,
}

/// A session to file.
pub struct Filing<'a> {
    /// Its summary. `dir_name` is chosen here.
    pub summary: Summary,
    /// Its labels, and whether it is protected.
    pub meta: SessionMeta,
    /// The lines of its trace.
    pub lines: &'a mut dyn Iterator<Item = io::Result<RawLine>>,
    /// Its diagnosis.
    pub diagnosis: Option<&'a serde_json::Value>,
}

/// Where a session was filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Its directory in `sessions/`.
    pub dir_name: String,
    /// It was there before.
    pub already: bool,
}

/// A session that is written and has no name yet.
#[derive(Debug)]
pub struct Staged {
    name: OsString,
    // Its lock tells a sweep that somebody is at work on it.
    dir: OwnedDir,
    summary: Summary,
}

impl SessionLog {
    /// Opens it, making it where it is not there.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn open(config: &LogConfig) -> Result<Self, LogError> {
        let fail = |what| {
            let path = config.path.clone();
            move |error: io::Error| LogError { path, what, error: error.into() }
        };
        make_path(&config.path).map_err(fail("cannot be made"))?;
        let dir = OwnedDir::open(&config.path).map_err(fail("cannot be opened"))?;
        let sessions = dir.make_dir(OsStr::new("sessions")).map_err(fail("sessions/ cannot be opened"))?;
        let staging = dir.make_dir(OsStr::new(STAGING)).map_err(fail(".staging/ cannot be opened"))?;
        Ok(Self {
            path: config.path.clone(),
            dir,
            sessions,
            staging,
            uid: rustix::process::geteuid().as_raw(),
            max_sessions: config.max_sessions.max(1),
        })
    }

    /// Its place, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its open directory.
    pub fn dir(&self) -> &OwnedDir {
        &self.dir
    }

    /// The directory of the sessions.
    pub fn sessions(&self) -> &OwnedDir {
        &self.sessions
    }

    /// Whose files are believed.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn nothing_filed(&self) -> LogError {
        self.fail("nothing was filed")(OpenError::Missing)
    }

    pub(crate) fn unreadable(&self, error: io::Error) -> LogError {
        self.fail("the trace cannot be read")(error.into())
    }

    fn fail(&self, what: &'static str) -> impl FnOnce(OpenError) -> LogError + use<> {
        let path = self.path.clone();
        move |error| LogError { path, what, error }
    }

    /// Files one session, durably.
    ///
    /// # Errors
    /// Says what went wrong; the session is not in the log then, or is there whole.
    pub fn file(&self, filing: Filing<'_>) -> Result<Filed, LogError> {
        let staged = self.stage(filing)?;
        let mut filed = self.commit(vec![staged])?;
        filed.pop().ok_or_else(|| self.nothing_filed())
    }

    /// Writes a session beside the others.
    ///
    /// # Errors
    /// Says what went wrong; nothing is left then.
    pub fn stage(&self, filing: Filing<'_>) -> Result<Staged, LogError> {
        let name = OsString::from(random_name("new-").map_err(|e| self.fail("staging")(e.into()))?);
        let mut stage = || -> io::Result<OwnedDir> {
            let dir = {
                // No sweep between making it and locking it.
                let staging = self.dir.open_dir(OsStr::new(STAGING))?;
                lock_within(staging.fd(), try_lock_shared, LOCK_WAIT)?;
                let dir = self.staging.make_dir(&name)?;
                try_lock(dir.fd())?;
                dir
            };
            write_session(&dir, filing.lines, filing.diagnosis)?;
            write_json(&dir, META, &filing.meta)?;
            // Last, because its directory name is written again should it change.
            write_json(&dir, "summary.json", &filing.summary)?;
            Ok(dir)
        };
        match stage() {
            Ok(dir) => {
                point("log.staged");
                Ok(Staged { name, dir, summary: filing.summary })
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = self.staging.remove_flat_dir(&name);
                Err(self.fail("a session cannot be written")(error.into()))
            }
        }
    }

    /// Lets staged sessions appear, durably, with their rows. In the order given.
    ///
    /// # Errors
    /// Says what went wrong. Those that had appeared stay; they are recognised when they are filed again.
    pub fn commit(&self, staged: Vec<Staged>) -> Result<Vec<Filed>, LogError> {
        let io = |what| {
            let fail = self.fail(what);
            move |error: io::Error| fail(error.into())
        };
        self.make_durable(&staged).map_err(io("sessions cannot be made durable"))?;
        point("log.synced");
        let _lock = self.lock()?;
        self.sweep_staging();
        let mut rows = Vec::with_capacity(staged.len());
        let mut filed = Vec::with_capacity(staged.len());
        let mut known = None;
        for session in staged {
            let named = self.name(session).map_err(io("a session cannot be named"))?;
            if named.0.already {
                let known: &HashSet<String> = match &mut known {
                    Some(known) => known,
                    none => none.insert(self.row_names()?),
                };
                if known.contains(&named.0.dir_name) {
                    filed.push(named.0);
                    continue;
                }
            }
            rows.push(named.1);
            filed.push(named.0);
        }
        self.sessions.sync().map_err(io("sessions/ cannot be made durable"))?;
        point("log.renamed");
        if !rows.is_empty() {
            index::append(&self.dir, self.uid, &rows).map_err(self.fail("the index cannot be written"))?;
            self.dir.sync().map_err(io("the index cannot be made durable"))?;
        }
        point("log.indexed");
        self.retain().map_err(self.fail("old sessions cannot be removed"))?;
        Ok(filed)
    }

    fn make_durable(&self, staged: &[Staged]) -> io::Result<()> {
        if staged.len() >= SYNC_ALL_FROM {
            return self.staging.sync_file_system();
        }
        for session in staged {
            for name in session.dir.list()? {
                let file = session.dir.open_file(&name, false, self.uid).map_err(io::Error::other)?;
                rustix::fs::fsync(&file)?;
            }
            session.dir.sync()?;
        }
        Ok(())
    }

    /// Takes the log's lock, for as long as what it gives lives.
    ///
    /// # Errors
    /// When it is not to be had in [`LOCK_WAIT`].
    pub fn lock(&self) -> Result<OwnedFd, LogError> {
        let name = OsStr::new("sessions.lock");
        let file = match self.dir.open_file(name, true, self.uid) {
            Err(OpenError::Missing) => match self.dir.create_file(name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.dir.open_file(name, true, self.uid)
                }
                other => other.map_err(OpenError::from),
            },
            other => other,
        };
        let file = file.map_err(self.fail("its lock cannot be opened"))?;
        lock_within(file.as_fd(), try_lock, LOCK_WAIT).map_err(|e| self.fail("its lock")(e.into()))?;
        Ok(file)
    }

    /// Gives a staged session its name, or finds it there.
    fn name(&self, mut staged: Staged) -> io::Result<(Filed, IndexRow)> {
        let id = staged.summary.session_id.clone();
        for attempt in 1..=MAX_SAME_ID {
            let dir_name = if attempt == 1 { id.clone() } else { format!("{id}.{attempt}") };
            if let Some(there) = self.read_summary(&dir_name)? {
                if is_same_session(&there, &staged.summary) {
                    self.staging.remove_flat_dir(&staged.name)?;
                    return Ok((Filed { dir_name, already: true }, there.index_row()));
                }
                continue;
            }
            if staged.summary.dir_name != dir_name {
                staged.summary.dir_name = dir_name.clone();
                staged.dir.unlink(OsStr::new("summary.json"))?;
                let file = write_json(&staged.dir, "summary.json", &staged.summary)?;
                rustix::fs::fsync(&file)?;
                staged.dir.sync()?;
            }
            match self.staging.rename_to(&staged.name, &self.sessions, OsStr::new(&dir_name)) {
                Ok(()) => return Ok((Filed { dir_name, already: false }, staged.summary.index_row())),
                // Something without a summary is in the way: no session of ours.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many sessions of this id"))
    }

    /// The summary of a session; `None` when there is none that can be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_summary(&self, dir_name: &str) -> io::Result<Option<Summary>> {
        let dir = match self.sessions.open_dir(OsStr::new(dir_name)) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(file) = dir.open_file(OsStr::new("summary.json"), false, self.uid) else { return Ok(None) };
        let bytes = read_bounded(file, MAX_SUMMARY_BYTES)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok())
    }

    fn row_names(&self) -> Result<HashSet<String>, LogError> {
        let Some(file) = index::open(&self.dir, self.uid).map_err(self.fail("the index"))? else {
            return Ok(HashSet::new());
        };
        let rows = index::rows(file)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|e| self.fail("the index")(e.into()))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match row {
                index::Row::Good(row) => Some(row.dir_name),
                index::Row::Bad(..) => None,
            })
            .collect())
    }

    /// Removes what dead finishers left half done. The lock has to be held.
    fn sweep_staging(&self) {
        let Ok(staging) = self.dir.open_dir(OsStr::new(STAGING)) else { return };
        if !try_lock(staging.fd()).unwrap_or(false) {
            return;
        }
        for name in self.staging.list().unwrap_or_default() {
            // A stage is locked by who writes it; whatever cannot be looked at now is looked at next time.
            if let Ok(dir) = self.staging.open_dir(&name)
                && try_lock(dir.fd()).unwrap_or(false)
            {
                let _ = self.staging.remove_flat_dir(&name);
            }
        }
    }

    /// Removes the oldest sessions past the limit. The lock has to be held.
    fn retain(&self) -> Result<(), OpenError> {
        let Some(file) = index::open(&self.dir, self.uid)? else { return Ok(()) };
        let size = u64::try_from(rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size).unwrap_or(0);
        if size / MIN_ROW_BYTES <= self.max_sessions as u64 {
            return Ok(());
        }
        let rows = index::rows(file).collect::<io::Result<Vec<_>>>()?;
        let Some(mut excess) = rows.len().checked_sub(self.max_sessions).filter(|excess| *excess > 0) else {
            return Ok(());
        };
        let mut gone = HashSet::new();
        for row in &rows {
            let index::Row::Good(row) = row else { continue };
            if excess == 0 {
                break;
            }
            if !self.is_protected(&row.dir_name) {
                gone.insert(row.dir_name.clone());
                excess -= 1;
            }
        }
        self.remove(&gone)
    }

    /// Removes sessions, directories and rows. The lock has to be held.
    ///
    /// # Errors
    /// What the system says. A row without its directory is what a crash can leave, never the other way round.
    pub fn remove(&self, dir_names: &HashSet<String>) -> Result<(), OpenError> {
        for dir_name in dir_names {
            let aside = OsString::from(random_name("gone-")?);
            match self.sessions.rename_to(OsStr::new(dir_name), &self.staging, &aside) {
                Ok(()) => self.staging.remove_flat_dir(&aside)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        index::rewrite(&self.dir, self.uid, |row| !dir_names.contains(&row.dir_name))
    }

    fn is_protected(&self, dir_name: &str) -> bool {
        self.read_meta(dir_name).is_some_and(|(_, meta)| meta.protected)
    }

    fn read_meta(&self, dir_name: &str) -> Option<(OwnedDir, SessionMeta)> {
        let dir = self.sessions.open_dir(OsStr::new(dir_name)).ok()?;
        let file = dir.open_file(OsStr::new(META), false, self.uid).ok()?;
        let meta = serde_json::from_slice(&read_bounded(file, MAX_SUMMARY_BYTES).ok()??).ok()?;
        Some((dir, meta))
    }

    /// Says whether retention may take a session. The lock has to be held.
    ///
    /// # Errors
    /// What the system says; it is as it was then.
    pub fn protect(&self, dir_name: &str, protected: bool) -> io::Result<()> {
        let (dir, meta) = self.read_meta(dir_name).ok_or(io::ErrorKind::NotFound)?;
        let fresh = random_name(".meta-")?;
        let written = write_json(&dir, &fresh, &SessionMeta { protected, ..meta })
            .and_then(|file| Ok(rustix::fs::fsync(&file)?))
            .and_then(|()| dir.rename(OsStr::new(&fresh), OsStr::new(META), true));
        if let Err(error) = written {
            // The first error is the one to tell.
            let _ = dir.unlink(OsStr::new(&fresh));
            return Err(error);
        }
        dir.sync()
    }
}

fn is_same_session(there: &Summary, ours: &Summary) -> bool {
    (&there.session_id, there.pid, there.starttime_ticks, &there.boot_id, &there.start_ts)
        == (&ours.session_id, ours.pid, ours.starttime_ticks, &ours.boot_id, &ours.start_ts)
}

fn write_json(dir: &OwnedDir, name: &str, value: &impl serde::Serialize) -> io::Result<OwnedFd> {
    let file = dir.create_file(OsStr::new(name))?;
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_all(file.as_fd(), &bytes)?;
    Ok(file)
}

/// Sorts the lines of a trace into the files of a session.
fn write_session(
    dir: &OwnedDir,
    lines: &mut dyn Iterator<Item = io::Result<RawLine>>,
    diagnosis: Option<&serde_json::Value>,
) -> io::Result<()> {
    // A file that would be empty is not made.
    let mut files: [(&str, Option<BufWriter<std::fs::File>>); 3] =
        [("proc_trace.jsonl", None), ("anomalies.jsonl", None), ("events.jsonl", None)];
    for line in lines {
        // What is torn or too long is no line; who recovers says so.
        let RawLine::Whole(line) = line? else { continue };
        let which = match kind_of(&line).as_deref() {
            Some("snapshot" | "sample") => 0,
            Some("anomaly") => 1,
            Some(_) => 2,
            None => continue,
        };
        let Some((name, file)) = files.get_mut(which) else { continue };
        let out = match file {
            Some(out) => out,
            none => {
                let fresh = dir.create_file(OsStr::new(name))?.into();
                none.insert(BufWriter::with_capacity(64 * 1024, fresh))
            }
        };
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    for out in files.iter_mut().filter_map(|(_, file)| file.as_mut()) {
        out.flush()?;
    }
    if let Some(diagnosis) = diagnosis {
        write_json(dir, "diagnosis.json", diagnosis)?;
    }
    Ok(())
}

/// Makes a directory and what leads to it, for this user alone.
fn make_path(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
