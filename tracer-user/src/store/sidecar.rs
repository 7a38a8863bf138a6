//! The sidecar of a session: it appears whole and locked, is claimed by its lock, and is removed last.
//!
//! Why no live owner loses its session, and no session is filed twice: the owner takes the lock before the
//! file has a name, on the very inode that gets the name. A claimer opens the name, takes the lock of what it
//! opened without waiting, and then checks that the name still is that file. If another claimer finished the
//! session in between, the name is gone (or a new session's, with an owner of its own), and the claim is
//! void. Names contain start times, so they are never reused for another process of the same boot.

use super::fsops::{OpenError, OwnedDir, random_name, read_bounded, try_lock, write_all};
use crate::core::record::sidecar::{Enrollment, MAX_SIDECAR_BYTES, Sidecar, SidecarError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ffi::{OsStr, OsString};
use std::io;

/// The number of sessions that one root may have at the same time: an attach beside a run, for example.
const MAX_SAME_ROOT: u32 = 64;

/// The prefix of a sidecar that is being written, where the file system has no nameless files.
pub const TEMPORARY_PREFIX: &str = ".new-";

/// How the files of sessions are named and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The tracer's own way.
    #[default]
    Own,
    /// AutoSkillit's.
    AutoSkillit,
}

impl Layout {
    fn prefixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Own => ("enrollment_", "trace_"),
            Self::AutoSkillit => ("autoskillit_enrollment_", "autoskillit_trace_"),
        }
    }
}

/// The names of one session's files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionFiles {
    stem: String,
    sidecar: String,
    trace: String,
}

impl SessionFiles {
    /// The names with this stem.
    pub fn from_stem(layout: Layout, stem: &str) -> Self {
        let (sidecar, trace) = layout.prefixes();
        Self {
            stem: stem.to_owned(),
            sidecar: format!("{sidecar}{stem}.json"),
            trace: format!("{trace}{stem}.jsonl"),
        }
    }

    /// The names of the session of a sidecar; `None` when this is not a sidecar's name.
    pub fn of_sidecar(layout: Layout, name: &OsStr) -> Option<Self> {
        let stem = name.to_str()?.strip_prefix(layout.prefixes().0)?.strip_suffix(".json")?;
        Some(Self::from_stem(layout, stem))
    }

    /// The names of the session of a trace; `None` when this is not a trace's name.
    pub fn of_trace(layout: Layout, name: &OsStr) -> Option<Self> {
        let stem = name.to_str()?.strip_prefix(layout.prefixes().1)?.strip_suffix(".jsonl")?;
        Some(Self::from_stem(layout, stem))
    }

    fn own(enrollment: &Enrollment, attempt: u32) -> Self {
        let ticks =
            enrollment.starttime_ticks.map_or_else(|| "unknown".to_owned(), |ticks| ticks.to_string());
        let again = if attempt == 1 { String::new() } else { format!(".{attempt}") };
        Self::from_stem(Layout::Own, &format!("{}-{ticks}{again}", enrollment.pid))
    }

    /// The part of the names that identifies the session: `<root pid>-<start ticks>`, with a number where a
    /// root has several sessions.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The name of the sidecar.
    pub fn sidecar(&self) -> &OsStr {
        OsStr::new(&self.sidecar)
    }

    /// The name of the trace.
    pub fn trace(&self) -> &OsStr {
        OsStr::new(&self.trace)
    }

    /// The name of the new trace while the old one is being compacted.
    pub fn compacting(&self) -> OsString {
        OsString::from(format!(".compact-{}", self.stem))
    }
}

/// A session that this process owns: its sidecar, open and locked.
#[derive(Debug)]
pub struct Claim {
    dir: OwnedDir,
    files: SessionFiles,
    sidecar: OwnedFd,
}

/// Why a session could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Its owner lives, or another process is finishing it.
    #[error("its lock is held: the owner lives")]
    Held,
    /// It is gone: another process finished it.
    #[error("another process finished it")]
    Gone,
    /// Its sidecar is not a regular file of this user with one name.
    #[error("its sidecar is {0}")]
    Unsafe(OpenError),
    /// The file system refused.
    #[error("its sidecar cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl Claim {
    /// Writes a sidecar. It appears whole and locked, under an unused name.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is left behind then.
    pub fn publish(dir: &OwnedDir, enrollment: &Enrollment) -> io::Result<Self> {
        let mut bytes = serde_json::to_vec_pretty(enrollment)?;
        bytes.push(b'\n');
        for attempt in 1..=MAX_SAME_ROOT {
            let files = SessionFiles::own(enrollment, attempt);
            // A trace without a sidecar has no known owner: leave it alone.
            if dir.stat_name(files.trace())?.is_some() {
                continue;
            }
            match publish_as(dir, files.sidecar(), &bytes) {
                Ok(sidecar) => return Ok(Self { dir: dir.clone(), files, sidecar }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many sessions of this process"))
    }

    /// Claims a session whose owner is gone. Never waits.
    ///
    /// # Errors
    /// When the session has an owner, is gone, or has no usable sidecar.
    pub fn take(dir: &OwnedDir, files: SessionFiles, owner_uid: u32) -> Result<Self, ClaimError> {
        let sidecar = match dir.open_file(files.sidecar(), false, owner_uid) {
            Ok(file) => file,
            Err(OpenError::Missing) => return Err(ClaimError::Gone),
            Err(OpenError::Io(error)) => return Err(ClaimError::Io(error)),
            Err(other) => return Err(ClaimError::Unsafe(other)),
        };
        if !try_lock(sidecar.as_fd())? {
            return Err(ClaimError::Held);
        }
        if !dir.names(files.sidecar(), sidecar.as_fd())? {
            return Err(ClaimError::Gone);
        }
        Ok(Self { dir: dir.clone(), files, sidecar })
    }

    /// The sidecar of a session that another process owns.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read_unclaimed(
        dir: &OwnedDir,
        files: &SessionFiles,
        owner_uid: u32,
    ) -> Result<Sidecar, ReadError> {
        let file = dir.open_file(files.sidecar(), false, owner_uid).map_err(io::Error::other)?;
        let bytes = read_bounded(file, MAX_SIDECAR_BYTES)?;
        Ok(Sidecar::parse(&bytes.ok_or(SidecarError::TooLarge)?)?)
    }

    /// The content of the sidecar.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read(&self) -> Result<Sidecar, ReadError> {
        rustix::fs::seek(&self.sidecar, rustix::fs::SeekFrom::Start(0)).map_err(io::Error::from)?;
        let bytes = read_bounded(self.sidecar.try_clone()?, MAX_SIDECAR_BYTES)?;
        Ok(Sidecar::parse(&bytes.ok_or(SidecarError::TooLarge)?)?)
    }

    /// The names of the session's files.
    pub fn files(&self) -> &SessionFiles {
        &self.files
    }

    /// The directory of the session's files.
    pub fn dir(&self) -> &OwnedDir {
        &self.dir
    }

    /// The open sidecar, which holds the lock.
    pub fn sidecar(&self) -> BorrowedFd<'_> {
        self.sidecar.as_fd()
    }

    /// Removes trace and sidecar, in this order, and releases the lock last.
    ///
    /// # Errors
    /// When a file cannot be unlinked. The sidecar stays when the trace does.
    pub fn remove(self) -> io::Result<()> {
        self.dir.unlink(&self.files.compacting())?;
        self.dir.unlink(self.files.trace())?;
        crate::store::fault::point("finish.trace-unlinked");
        self.dir.unlink_same(self.files.sidecar(), self.sidecar.as_fd())?;
        crate::store::fault::point("finish.sidecar-unlinked");
        Ok(())
    }
}

/// Why a sidecar could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It cannot be parsed.
    #[error("{0}")]
    Sidecar(#[from] SidecarError),
}

fn publish_as(dir: &OwnedDir, name: &OsStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    if let Some(file) = dir.create_nameless()? {
        lock_new(&file)?;
        write_all(file.as_fd(), bytes)?;
        crate::store::fault::point("enroll.written");
        if dir.link_nameless(file.as_fd(), name)? {
            crate::store::fault::point("enroll.visible");
            return Ok(file);
        }
    }
    // Without nameless files: under a temporary name first. The lock is taken as soon as the file exists. A
    // sweep of leftover temporary files takes the lock, too, and may win it in the moment between. Then the
    // rename fails.
    let temporary = OsString::from(random_name(TEMPORARY_PREFIX)?);
    let file = dir.create_file(&temporary)?;
    let published = lock_new(&file)
        .and_then(|()| write_all(file.as_fd(), bytes))
        .and_then(|()| dir.rename(&temporary, name, false));
    if let Err(error) = published {
        // The first error is the one to report.
        let _ = dir.unlink(&temporary);
        return Err(error);
    }
    Ok(file)
}

fn lock_new(file: &OwnedFd) -> io::Result<()> {
    if try_lock(file.as_fd())? { Ok(()) } else { Err(io::Error::other("another process locked a new file")) }
}
