//! AutoSkillit's session log: sessions are added to it, and read from it.
//!
//! It belongs to another program. Nothing is ever removed here, by its retention or by this tracer's, which
//! would take the other's sessions for its own: a log holds sessions of one layout, and writing into one of
//! the other is refused. Its writers take no lock. A session appears whole, by a rename, and its row is one
//! appended line.

use super::fsops::{OpenError, OwnedDir, random_name, read_bounded, write_all};
use super::index;
use super::lines::{Lines, RawLine};
use super::session_files::{ANOMALIES, META, SNAPSHOTS, SUMMARY};
use super::session_log::{STAGING, make_path};
use super::sidecar::Layout;
use crate::core::autoskillit::{self, LoggedSession, SessionDocuments};
use crate::core::summary::IndexRow;
use rustix::fd::{AsFd, OwnedFd};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// The largest file of a session that is read, bytes.
const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// Its log.
#[derive(Clone, Debug)]
pub struct AutoskillitLog {
    dir: OwnedDir,
    uid: u32,
}

/// Where a session was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedSession {
    /// Its directory in `sessions/`.
    pub dir_name: String,
    /// It was there before, and was not added again.
    pub already: bool,
}

/// Its default place: under `$XDG_DATA_HOME`, else in the home directory; `None` without either.
pub fn default_path(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = path("XDG_DATA_HOME").or_else(|| Some(path("HOME")?.join(".local/share")))?;
    Some(data.join("autoskillit/logs"))
}

impl AutoskillitLog {
    /// Opens it for reading; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or is a log of this tracer.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let dir = match OwnedDir::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let log = Self { dir, uid: rustix::process::geteuid().as_raw() };
        let has_own = log.dir.stat_name(OsStr::new(STAGING))?.is_some();
        let rows = index::layout(&log.dir, log.uid, Layout::AutoSkillit).map_err(io::Error::other)?;
        if has_own || rows == Some(Layout::Own) {
            return Err(io::Error::other("sessions of this tracer are in it: name another directory"));
        }
        Ok(Some(log))
    }

    /// Opens it, and creates it where it does not exist.
    ///
    /// # Errors
    /// When it cannot be created or opened, or is a log of this tracer.
    pub fn create(path: &Path) -> io::Result<Self> {
        make_path(path)?;
        Self::open(path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Adds a session, with files that are attached to it.
    ///
    /// # Errors
    /// When it cannot be written, or another session has its name. The session is not there then.
    pub fn add(
        &self,
        session: &SessionDocuments,
        attached: Vec<(OsString, OwnedFd)>,
    ) -> io::Result<AddedSession> {
        let sessions = self.dir.make_dir(OsStr::new("sessions"))?;
        let name = OsStr::new(&session.dir_name);
        let added = |already| AddedSession { dir_name: session.dir_name.clone(), already };
        if let Ok(there) = sessions.open_dir(name) {
            return match self.json(&there, SUMMARY)? {
                Some(there) if is_same(&there, &session.summary) => {
                    if !self.has_row(&session.dir_name)? {
                        self.add_row(session)?;
                    }
                    Ok(added(true))
                }
                _ => Err(io::Error::new(io::ErrorKind::AlreadyExists, "another session has its name")),
            };
        }
        // Not in `sessions/`: what is there counts as a session for its retention.
        let temporary = OsString::from(random_name(".tracer-user-")?);
        let dir = self.dir.make_dir(&temporary)?;
        let written = write_session(&dir, session, attached)
            .and_then(|()| self.dir.rename_to(&temporary, &sessions, name));
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = self.dir.remove_flat_dir(&temporary);
            return Err(error);
        }
        sessions.sync()?;
        self.add_row(session)?;
        Ok(added(false))
    }

    fn add_row(&self, session: &SessionDocuments) -> io::Result<()> {
        index::append(&self.dir, self.uid, std::slice::from_ref(&session.row)).map_err(io::Error::other)
    }

    fn has_row(&self, dir_name: &str) -> io::Result<bool> {
        Ok(self.rows()?.0.iter().any(|row| row.dir_name == dir_name))
    }

    /// The rows of its index, in order, and what is not understood.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn rows(&self) -> io::Result<(Vec<IndexRow>, Vec<String>)> {
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        let Some(file) = index::open(&self.dir, self.uid).map_err(io::Error::other)? else {
            return Ok((rows, problems));
        };
        let lines = Lines::new(BufReader::with_capacity(256 * 1024, std::fs::File::from(file)));
        for (line, number) in lines.zip(1_u64..) {
            let row = match line? {
                RawLine::Whole(line) | RawLine::Torn(line) if line.is_empty() => continue,
                RawLine::Whole(line) | RawLine::Torn(line) => {
                    autoskillit::index_row(&line).map_err(|error| error.to_string())
                }
                RawLine::TooLong(bytes) => Err(format!("{bytes} bytes long")),
            };
            match row {
                Ok(row) => rows.push(row),
                Err(why) => problems.push(format!("row {number} of the index: {why}")),
            }
        }
        Ok((rows, problems))
    }

    /// A session; `None` when there is none of this name. Its snapshots only if requested.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn session(&self, dir_name: &str, with_snapshots: bool) -> io::Result<Option<LoggedSession>> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        };
        let dir = self.dir.open_dir(OsStr::new("sessions")).and_then(|it| it.open_dir(OsStr::new(dir_name)));
        let dir = match dir {
            Ok(dir) => dir,
            Err(error) => return missing(error),
        };
        let Some(summary) = self.bytes(&dir, SUMMARY)? else { return Ok(None) };
        let mut session = LoggedSession::new(&summary)?;
        let lines = |bytes: Option<Vec<u8>>| bytes.unwrap_or_default();
        let anomalies = lines(self.bytes(&dir, ANOMALIES)?);
        session.add_anomalies(ANOMALIES, rows_of(&anomalies));
        if with_snapshots {
            let snapshots = lines(self.bytes(&dir, SNAPSHOTS)?);
            session.add_snapshots(SNAPSHOTS, rows_of(&snapshots));
        }
        session.finish();
        Ok(Some(session))
    }

    /// The time of its last clear; `None` when it was never cleared.
    ///
    /// # Errors
    /// When the file holds no time, or cannot be read.
    pub fn cleared_at(&self) -> Result<Option<jiff::Timestamp>, OpenError> {
        index::cleared_at(&self.dir, self.uid)
    }

    fn json(&self, dir: &OwnedDir, name: &str) -> io::Result<Option<Value>> {
        Ok(self.bytes(dir, name)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn bytes(&self, dir: &OwnedDir, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match dir.open_file(OsStr::new(name), false, self.uid) {
            Err(OpenError::Missing) => return Ok(None),
            other => other.map_err(|error| io::Error::other(format!("{name}: {error}")))?,
        };
        let bytes = read_bounded(file, MAX_FILE_BYTES)?;
        let too_large = || io::Error::other(format!("{name} is larger than {MAX_FILE_BYTES} bytes"));
        bytes.ok_or_else(too_large).map(Some)
    }
}

fn rows_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|row| !row.is_empty())
}

fn is_same(there: &Value, ours: &Value) -> bool {
    ["session_id", "pid", "start_ts"].iter().all(|field| there[*field] == ours[*field])
}

/// Writes the files of a session, durably, as its own writer lays them out.
fn write_session(
    dir: &OwnedDir,
    session: &SessionDocuments,
    attached: Vec<(OsString, OwnedFd)>,
) -> io::Result<()> {
    let rows = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let mut files = BTreeMap::new();
    for (name, rows) in [(SNAPSHOTS, rows(&session.snapshots)), (ANOMALIES, rows(&session.anomalies))] {
        if !rows.is_empty() {
            files.insert(name, rows);
        }
    }
    files.insert(SUMMARY, format!("{:#}\n", session.summary));
    if let Some(meta) = &session.meta {
        files.insert(META, meta.to_string());
    }
    for (name, text) in files {
        let file = dir.create_file(OsStr::new(name))?;
        write_all(file.as_fd(), text.as_bytes())?;
        rustix::fs::fsync(&file)?;
    }
    for (name, content) in attached {
        let file = std::fs::File::from(dir.create_file(&name)?);
        io::copy(&mut std::fs::File::from(content), &mut &file)?;
        rustix::fs::fsync(&file)?;
    }
    dir.sync()
}
