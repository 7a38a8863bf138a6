//! AutoSkillit's own files, written beside the tracer's for its own readers: `run --layout autoskillit`.
//!
//! Its trace has the snapshots of the root under its field names, with its values for what cannot be read
//! (-1, 0, ""). These files are a copy: whatever happens to them, the session is in the tracer's own files.
//!
//! Its recovery deletes a session whose sidecar and first snapshot have different names
//! (`recover_crashed_sessions` in its session_log.py). A program may be started by another, as by `env` or
//! `sh -c exec`, before the first snapshot. So the sidecar is replaced, with the name of the first snapshot,
//! before that snapshot is written.

use super::fsops::{OwnedDir, random_name, write_all};
use crate::core::autoskillit::{snapshot_json, time_text};
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{Body, Line};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use rustix::fd::{AsFd, OwnedFd};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// The schema of the sidecar that is written.
const SIDECAR_SCHEMA: u64 = 2;

/// A session's copy in AutoSkillit's format: sidecar and trace.
#[derive(Debug)]
pub struct Mirror {
    dir: OwnedDir,
    sidecar: OsString,
    trace: OsString,
    /// The open trace; `None` once a write has failed.
    file: Option<OwnedFd>,
    root: (u32, Option<u64>),
    /// The content of the sidecar.
    record: Value,
    /// The name of the held job, in whose snapshots nothing of the job is seen.
    held: Option<ByteString>,
    /// Nothing was written to the trace yet.
    empty: bool,
}

impl Mirror {
    /// Creates both files, in the directory in which its readers look. Neither may exist. `held` is the name
    /// of a root that has not executed its program; `None` when it runs already.
    ///
    /// # Errors
    /// When a file exists or cannot be written. Nothing is left then.
    pub fn create(place: &Path, enrollment: &Enrollment, held: Option<ByteString>) -> io::Result<Self> {
        let dir = OwnedDir::open(place)?;
        let sidecar = OsString::from(format!("autoskillit_enrollment_{}.json", enrollment.pid));
        let trace = OsString::from(format!("autoskillit_trace_{}.jsonl", enrollment.pid));
        let record = sidecar_of(enrollment);
        publish(&dir, &sidecar, &record, false)?;
        // A job with the name of the tracer cannot be distinguished from a held one.
        let held = held.filter(|held| Some(held) != enrollment.comm.as_ref());
        match dir.create_file(&trace) {
            Ok(file) => {
                let root = (enrollment.pid, enrollment.starttime_ticks);
                Ok(Self { dir, sidecar, trace, file: Some(file), root, record, held, empty: true })
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = dir.unlink(&sidecar);
                Err(error)
            }
        }
    }

    /// Adds the root's snapshots among these lines. A write that fails ends the copy, as it ends
    /// AutoSkillit's own trace.
    pub fn append(&mut self, lines: &[Line]) {
        for line in lines {
            let Body::Snapshot(seen) = &line.body else { continue };
            if (seen.snapshot.pid, Some(seen.snapshot.start_ticks)) != self.root {
                continue;
            }
            if self.held.is_some() && self.held == seen.snapshot.comm {
                continue;
            }
            self.held = None;
            if self.file.is_some() && self.write(&line.ts, &seen.snapshot).is_err() {
                self.file = None;
            }
        }
    }

    fn write(&mut self, ts: &str, snapshot: &ProcSnapshot) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let snapshot = snapshot_json(ts, snapshot);
        if self.empty && self.record["comm"] != snapshot["comm"] {
            self.record["comm"] = snapshot["comm"].clone();
            publish(&self.dir, &self.sidecar, &self.record, true)?;
        }
        self.empty = false;
        let mut bytes = snapshot.to_string().into_bytes();
        bytes.push(b'\n');
        write_all(file.as_fd(), &bytes)
    }

    /// Removes both files, as AutoSkillit does when a session has ended well.
    ///
    /// # Errors
    /// When a file cannot be unlinked.
    pub fn remove(self) -> io::Result<()> {
        if let Some(file) = &self.file {
            self.dir.unlink_same(&self.trace, file.as_fd())?;
        }
        self.dir.unlink(&self.sidecar)?;
        Ok(())
    }
}

/// Writes the sidecar whole, under a temporary name first.
fn publish(dir: &OwnedDir, name: &OsStr, record: &Value, replace: bool) -> io::Result<()> {
    let temporary = OsString::from(random_name(".autoskillit-")?);
    let file = dir.create_file(&temporary)?;
    let published = write_all(file.as_fd(), record.to_string().as_bytes())
        .and_then(|()| dir.rename(&temporary, name, replace));
    if published.is_err() {
        // The first error is the one to report.
        let _ = dir.unlink(&temporary);
    }
    published
}

fn sidecar_of(enrollment: &Enrollment) -> Value {
    let label = |name: &str| enrollment.labels.get(name).cloned().unwrap_or_default();
    json!({
        "schema_version": SIDECAR_SCHEMA,
        "pid": enrollment.pid,
        "boot_id": enrollment.boot_id,
        "starttime_ticks": enrollment.starttime_ticks.unwrap_or(0),
        "session_id": enrollment.session_id,
        "kitchen_id": label("kitchen_id"),
        "order_id": label("order_id"),
        "enrolled_at": time_text(&enrollment.enrolled_at),
        "comm": enrollment.comm.as_ref().map(|comm| comm.escaped()).unwrap_or_default(),
    })
}
