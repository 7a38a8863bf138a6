//! Carries out the retention of finished sessions.
//!
//! Sessions are removed under the lock of the session log, so that no row and no directory of a session that
//! is being filed beside it is lost.

use super::fsops::{OpenError, random_name};
use super::index;
use super::session_log::SessionLog;
use crate::core::retention::{FileSystemSpace, RetentionPlan, StoredSession};
use jiff::Timestamp;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;

/// The shortest row of the index, bytes: a smaller index than this times the limit has not reached the limit.
const MIN_ROW_BYTES: u64 = 200;

impl SessionLog {
    /// Plans what retention removes once `newer` more sessions are filed.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn plan_retention(&self, now: Timestamp, newer: usize) -> Result<RetentionPlan, OpenError> {
        let policy = self.retention();
        let Some(file) = index::open(self.dir(), self.uid())? else { return Ok(RetentionPlan::default()) };
        let size = u64::try_from(rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size).unwrap_or(0);
        let most = size / MIN_ROW_BYTES + newer as u64;
        let count_only = policy.max_age.is_none() && !policy.has_size_limit();
        if count_only && most <= policy.max_sessions as u64 {
            return Ok(RetentionPlan::default());
        }
        let mut sessions = Vec::new();
        let mut labelled = HashSet::new();
        for row in index::rows(file) {
            let index::Row::Good(row) = row? else { continue };
            if policy.protects(&row.labels) {
                labelled.insert(row.dir_name.clone());
            }
            let bytes = if policy.has_size_limit() { self.session_bytes(&row.dir_name) } else { 0 };
            sessions.push(StoredSession { began: row.timestamp.parse().ok(), dir_name: row.dir_name, bytes });
        }
        let policy = policy.clone().within(self.space(), &sessions);
        let stored = sessions.len();
        sessions.resize(stored + newer, StoredSession { dir_name: String::new(), began: None, bytes: 0 });
        // The sessions that are about to be filed have no name yet, and count only.
        Ok(policy.plan(now, &sessions, |dir_name| {
            dir_name.is_empty() || labelled.contains(dir_name) || self.is_protected(dir_name)
        }))
    }

    /// Removes what the policy does not keep. The lock has to be held.
    ///
    /// # Errors
    /// When sessions cannot be read or removed.
    pub fn retain(&self, now: Timestamp) -> Result<RetentionPlan, OpenError> {
        let plan = self.plan_retention(now, 0)?;
        if !plan.removals.is_empty() {
            self.remove(&plan.removals.iter().map(|removal| removal.dir_name.clone()).collect())?;
        }
        Ok(plan)
    }

    /// Removes sessions, directories and rows. The lock has to be held.
    ///
    /// # Errors
    /// When the file system refuses. A crash can leave a row without its directory, never the other way
    /// round.
    pub fn remove(&self, dir_names: &HashSet<String>) -> Result<(), OpenError> {
        for dir_name in dir_names {
            let aside = OsString::from(random_name("gone-")?);
            match self.sessions().rename_to(OsStr::new(dir_name), self.staging(), &aside) {
                Ok(()) => self.staging().remove_flat_dir(&aside)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        index::rewrite(self.dir(), self.uid(), |row| !dir_names.contains(&row.dir_name))
    }

    /// The space of the log's file system; `None` when it is unknown.
    fn space(&self) -> Option<FileSystemSpace> {
        let stat = rustix::fs::fstatvfs(self.dir().fd()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some(FileSystemSpace { total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }

    /// The sizes of the files of a session, together; 0 when it is not there.
    fn session_bytes(&self, dir_name: &str) -> u64 {
        let Ok(dir) = self.sessions().open_dir(OsStr::new(dir_name)) else { return 0 };
        let names = dir.list().unwrap_or_default();
        let sizes = names.iter().filter_map(|name| dir.stat_name(name).ok().flatten());
        sizes.map(|stat| u64::try_from(stat.st_size).unwrap_or(0)).sum()
    }
}
