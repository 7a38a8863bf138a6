//! The files of a finished session.

use super::fsops::{OwnedDir, random_name, read_bounded, write_all};
use super::lines::RawLine;
use super::session_log::SessionLog;
use super::writer::kind_of;
use crate::core::summary::{SessionMeta, Summary};
use rustix::fd::{AsFd, OwnedFd};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};

/// The session in one record. It is written last: a directory without it is no session.
pub const SUMMARY: &str = "summary.json";
/// Its labels, and whether it is protected.
pub const META: &str = "meta.json";
/// Its last diagnosis, when there was one.
pub const DIAGNOSIS: &str = "diagnosis.json";
/// The life of the session: every line that is in neither of the next two.
pub const EVENTS: &str = "events.jsonl";
/// Its anomalies.
pub const ANOMALIES: &str = "anomalies.jsonl";
/// Its snapshots.
pub const SNAPSHOTS: &str = "proc_trace.jsonl";

/// The names of the tracer's own files of a session. Everything else in its directory was attached.
const OWN: [&str; 6] = [SUMMARY, META, DIAGNOSIS, EVENTS, ANOMALIES, SNAPSHOTS];

/// The largest file that is attached, bytes.
pub const MAX_ATTACHED_BYTES: u64 = 256 * 1024 * 1024;

/// The largest summary that is read, bytes.
const MAX_SUMMARY_BYTES: usize = 16 * 1024 * 1024;

/// Writes a value as a file that was not there.
pub(super) fn write_json(dir: &OwnedDir, name: &str, value: &impl serde::Serialize) -> io::Result<OwnedFd> {
    let file = dir.create_file(OsStr::new(name))?;
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_all(file.as_fd(), &bytes)?;
    Ok(file)
}

/// Sorts the lines of a trace into the files of a session. A file that would be empty is not created.
pub(super) fn write_lines(
    dir: &OwnedDir,
    lines: &mut dyn Iterator<Item = io::Result<RawLine>>,
) -> io::Result<()> {
    let mut files = [SNAPSHOTS, ANOMALIES, EVENTS].map(|name| (name, None::<BufWriter<std::fs::File>>));
    for line in lines {
        // A torn or overlong line is no line. The recoverer reports it.
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
    files.iter_mut().filter_map(|(_, file)| file.as_mut()).try_for_each(BufWriter::flush)
}

/// A file of this name may be attached to a session.
pub fn may_be_attached(name: &OsStr) -> bool {
    !name.as_encoded_bytes().starts_with(b".") && OWN.iter().all(|own| *own != name)
}

/// The names of the files that were attached to a session.
///
/// # Errors
/// When its directory cannot be read.
pub fn attached(dir: &OwnedDir) -> io::Result<Vec<OsString>> {
    Ok(dir.list()?.into_iter().filter(|name| may_be_attached(name)).collect())
}

impl SessionLog {
    /// The summary of a session; `None` when there is none that can be read.
    ///
    /// # Errors
    /// When its directory cannot be opened or read.
    pub fn read_summary(&self, dir_name: &str) -> io::Result<Option<Summary>> {
        let dir = match self.sessions().open_dir(OsStr::new(dir_name)) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(file) = dir.open_file(OsStr::new(SUMMARY), false, self.uid()) else { return Ok(None) };
        let bytes = read_bounded(file, MAX_SUMMARY_BYTES)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Attaches a file to a session, durably. It appears whole, under its name. Returns its size, bytes. The
    /// lock has to be held.
    ///
    /// # Errors
    /// When the name is taken or not allowed, or the file cannot be written. The session is unchanged then.
    pub fn attach(&self, dir_name: &str, name: &OsStr, content: impl io::Read) -> io::Result<u64> {
        let dir = self.sessions().open_dir(OsStr::new(dir_name))?;
        if !may_be_attached(name) {
            let why = "the name of a file of the session's own, or one that begins with a dot";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let fresh = OsString::from(random_name(".attach-")?);
        let file = std::fs::File::from(dir.create_file(&fresh)?);
        let written = io::copy(&mut content.take(MAX_ATTACHED_BYTES + 1), &mut &file).and_then(|bytes| {
            if bytes > MAX_ATTACHED_BYTES {
                return Err(io::Error::other(format!("it is larger than {MAX_ATTACHED_BYTES} bytes")));
            }
            rustix::fs::fsync(&file)?;
            dir.rename(&fresh, name, false)?;
            dir.sync()?;
            Ok(bytes)
        });
        if written.is_err() {
            // The first error is the one to report.
            let _ = dir.unlink(&fresh);
        }
        written
    }

    pub(super) fn is_protected(&self, dir_name: &str) -> bool {
        self.read_meta(dir_name).is_some_and(|(_, meta)| meta.protected)
    }

    fn read_meta(&self, dir_name: &str) -> Option<(OwnedDir, SessionMeta)> {
        let dir = self.sessions().open_dir(OsStr::new(dir_name)).ok()?;
        let file = dir.open_file(OsStr::new(META), false, self.uid()).ok()?;
        let meta = serde_json::from_slice(&read_bounded(file, MAX_SUMMARY_BYTES).ok()??).ok()?;
        Some((dir, meta))
    }

    /// Protects a session from retention, or lets retention remove it again. The lock has to be held.
    ///
    /// # Errors
    /// When the file system refuses. The session is unchanged then.
    pub fn protect(&self, dir_name: &str, protected: bool) -> io::Result<()> {
        let (dir, meta) = self.read_meta(dir_name).ok_or(io::ErrorKind::NotFound)?;
        let fresh = random_name(".meta-")?;
        let written = write_json(&dir, &fresh, &SessionMeta { protected, ..meta })
            .and_then(|file| Ok(rustix::fs::fsync(&file)?))
            .and_then(|()| dir.rename(OsStr::new(&fresh), OsStr::new(META), true));
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = dir.unlink(OsStr::new(&fresh));
            return Err(error);
        }
        dir.sync()
    }
}
