//! Adds sessions to the log.
//!
//! A session is staged beside the others, made durable, and appears by one rename. Its row follows under the
//! lock that retention takes, too. A session that is there already (its finisher died after the rename) is
//! recognized by the identity of its root, gets its row if that is missing, and is not filed again.

use super::fault::point;
use super::fsops::{OwnedDir, lock_within, random_name, try_lock, try_lock_shared};
use super::index;
use super::lines::RawLine;
use super::session_files::{DIAGNOSIS, META, SUMMARY, write_json, write_lines};
use super::session_log::{LOCK_WAIT, LogError, STAGING, SessionLog};
use crate::core::retention::RetentionPlan;
use crate::core::summary::{IndexRow, SessionMeta, Summary};
use jiff::Timestamp;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;

/// From this number of sessions on, the whole file system is synced once instead of every file.
const SYNC_ALL_FROM: usize = 8;
/// The number of sessions that may have the same id.
const MAX_SAME_ID: u32 = 10_000;

/// A session that is to be filed.
pub struct Filing<'a> {
    /// Its summary. The log chooses `dir_name`.
    pub summary: Summary,
    /// Its labels, and whether it is protected.
    pub meta: SessionMeta,
    /// The lines of its trace.
    pub lines: &'a mut dyn Iterator<Item = io::Result<RawLine>>,
    /// Its last diagnosis.
    pub diagnosis: Option<&'a serde_json::Value>,
}

/// Where a session was filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Its directory in `sessions/`.
    pub dir_name: String,
    /// It was there before, and was not filed again.
    pub already: bool,
}

/// A session that is written, and has no name yet.
#[derive(Debug)]
pub struct Staged {
    name: OsString,
    // Its lock protects it from a sweep of the staging directory.
    dir: OwnedDir,
    summary: Summary,
}

impl SessionLog {
    /// Files one session, durably.
    ///
    /// # Errors
    /// When it cannot be written. The session is not in the log then, or is there whole.
    pub fn file(&self, filing: Filing<'_>) -> Result<Filed, LogError> {
        let staged = self.stage(filing)?;
        let (mut filed, _) = self.commit(vec![staged])?;
        filed.pop().ok_or_else(|| self.nothing_filed())
    }

    /// Writes a session beside the others.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is left then.
    pub fn stage(&self, filing: Filing<'_>) -> Result<Staged, LogError> {
        let name = OsString::from(random_name("new-").map_err(|e| self.fail("staging")(e.into()))?);
        let mut stage = || -> io::Result<OwnedDir> {
            let dir = {
                // No sweep may come between the creation and the lock.
                let staging = self.dir().open_dir(OsStr::new(STAGING))?;
                lock_within(staging.fd(), try_lock_shared, LOCK_WAIT)?;
                let dir = self.staging().make_dir(&name)?;
                try_lock(dir.fd())?;
                dir
            };
            write_lines(&dir, filing.lines)?;
            if let Some(diagnosis) = filing.diagnosis {
                write_json(&dir, DIAGNOSIS, diagnosis)?;
            }
            write_json(&dir, META, &filing.meta)?;
            // Last: it is written again when the directory gets another name.
            write_json(&dir, SUMMARY, &filing.summary)?;
            Ok(dir)
        };
        match stage() {
            Ok(dir) => {
                point("log.staged");
                Ok(Staged { name, dir, summary: filing.summary })
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.staging().remove_flat_dir(&name);
                Err(self.fail("a session cannot be written")(error.into()))
            }
        }
    }

    /// Lets staged sessions appear, durably, with their rows, and removes what retention does not keep. The
    /// result has the order of `staged`.
    ///
    /// # Errors
    /// When the log cannot be written. Sessions that had appeared stay, and are recognized when they are
    /// filed again.
    pub fn commit(&self, staged: Vec<Staged>) -> Result<(Vec<Filed>, RetentionPlan), LogError> {
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
        self.sessions().sync().map_err(io("sessions/ cannot be made durable"))?;
        point("log.renamed");
        if !rows.is_empty() {
            index::append(self.dir(), self.uid(), &rows).map_err(self.fail("the index cannot be written"))?;
            self.dir().sync().map_err(io("the index cannot be made durable"))?;
        }
        point("log.indexed");
        let retention = self.retain(Timestamp::now());
        Ok((filed, retention.map_err(self.fail("old sessions cannot be removed"))?))
    }

    fn make_durable(&self, staged: &[Staged]) -> io::Result<()> {
        if staged.len() >= SYNC_ALL_FROM {
            return self.staging().sync_file_system();
        }
        for session in staged {
            for name in session.dir.list()? {
                let file = session.dir.open_file(&name, false, self.uid()).map_err(io::Error::other)?;
                rustix::fs::fsync(&file)?;
            }
            session.dir.sync()?;
        }
        Ok(())
    }

    /// Gives a staged session its name, or finds the session in the log.
    fn name(&self, mut staged: Staged) -> io::Result<(Filed, IndexRow)> {
        let id = staged.summary.session_id.clone();
        for attempt in 1..=MAX_SAME_ID {
            let dir_name = if attempt == 1 { id.clone() } else { format!("{id}.{attempt}") };
            if let Some(there) = self.read_summary(&dir_name)? {
                if is_same_session(&there, &staged.summary) {
                    self.staging().remove_flat_dir(&staged.name)?;
                    return Ok((Filed { dir_name, already: true }, there.index_row()));
                }
                continue;
            }
            if staged.summary.dir_name != dir_name {
                staged.summary.dir_name = dir_name.clone();
                staged.dir.unlink(OsStr::new(SUMMARY))?;
                let file = write_json(&staged.dir, SUMMARY, &staged.summary)?;
                rustix::fs::fsync(&file)?;
                staged.dir.sync()?;
            }
            match self.staging().rename_to(&staged.name, self.sessions(), OsStr::new(&dir_name)) {
                Ok(()) => return Ok((Filed { dir_name, already: false }, staged.summary.index_row())),
                // A directory without a summary has the name: it is no session.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many sessions of this id"))
    }

    /// Removes what dead finishers left in the staging directory. The lock has to be held.
    fn sweep_staging(&self) {
        let Ok(staging) = self.dir().open_dir(OsStr::new(STAGING)) else { return };
        if !try_lock(staging.fd()).unwrap_or(false) {
            return;
        }
        for name in self.staging().list().unwrap_or_default() {
            // The writer of a stage holds its lock. One that cannot be opened now is tried next time.
            if let Ok(dir) = self.staging().open_dir(&name)
                && try_lock(dir.fd()).unwrap_or(false)
            {
                let _ = self.staging().remove_flat_dir(&name);
            }
        }
    }
}

fn is_same_session(there: &Summary, ours: &Summary) -> bool {
    (&there.session_id, there.pid, there.starttime_ticks, &there.boot_id, &there.start_ts)
        == (&ours.session_id, ours.pid, ours.starttime_ticks, &ours.boot_id, &ours.start_ts)
}
