//! `attach`: a tree that runs already is followed to its end, and otherwise left alone.
//!
//! Nothing that is forked meanwhile is missed: a process is put into the kernel's map first and its children are looked
//! up afterwards. A child forked before that is found by the look, one forked later follows its parent by itself; the
//! look is repeated until it finds nobody new.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context as _;

use super::driver::{DriverEvent, SessionDriver};
use super::observer::Observer;
use super::options::{AttachOptions, OnHang};
use super::recorder::SessionRecorder;
use super::start::{self, Session, StartedSession};
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, Origin};
use crate::core::summary::Summary;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::receive::Blocked;

/// What became of it.
#[derive(Debug)]
pub struct AttachEnd {
    /// The session's summary.
    pub summary: Summary,
    /// Where the session was filed; `None` when it could not be.
    pub filed: Option<PathBuf>,
}

/// Why a process cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none of that number.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It has ended already.
    #[error("process {0} has ended and waits for its parent: there is nothing to trace")]
    Zombie(u32),
    /// It is a part of the kernel.
    #[error("process {0} is a kernel thread: it runs no program and cannot be traced")]
    KernelThread(u32),
    /// Us.
    #[error("process {0} is this tracer itself")]
    Ourselves(u32),
}

/// Attaches. Call it on the main thread, before any other thread is started: signals are blocked in it.
///
/// # Errors
/// When a process cannot be attached to, or nothing can be kept of it.
pub fn attach(options: &AttachOptions, observer: &mut dyn Observer) -> anyhow::Result<AttachEnd> {
    let proc_root = ProcRoot::system();
    let roots = options.pids.iter().map(|&pid| target(&proc_root, pid)).collect::<Result<Vec<_>, _>>()?;
    let blocked = Blocked::take().context("cannot take signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(async {
        let mut signals = blocked.listen()?;
        let session = Session {
            id: options.session_id.clone(),
            labels: options.labels.clone(),
            places: &options.places,
            watch: &options.watch,
            timeout: None,
            command: None,
        };
        let root = roots[0];
        let StartedSession { mut recorder, log } = start::begin(&session, root, Origin::Found, observer)?;
        join_tree(&mut recorder, &roots, &proc_root, observer);
        let mut driver = SessionDriver::new(recorder, &options.watch, None)?;
        driver.watch_root(observer);
        let reason = loop {
            if driver.recorder.alive().is_empty() {
                break EndReason::RootEnded;
            }
            tokio::select! {
                biased;
                received = signals.next() => {
                    if received.context("cannot take signals")?.asks_to_end() {
                        break EndReason::Detached;
                    }
                }
                event = driver.step(observer) => {
                    if let DriverEvent::Looked(_, Some(diagnosis)) = event
                        && diagnosis.verdict.is_hang()
                        && options.watch.on_hang == OnHang::Relieve
                    {
                        driver.relieve(&diagnosis, observer);
                    }
                }
            }
        };
        driver.recorder.settle(observer);
        let (summary, filed) = start::finish(driver.recorder, reason, &log, observer);
        Ok(AttachEnd { summary, filed })
    })
}

fn target(proc_root: &ProcRoot, pid: u32) -> Result<ProcessId, AttachError> {
    if pid == std::process::id() {
        return Err(AttachError::Ourselves(pid));
    }
    let found = table::row(proc_root, pid).ok().flatten().ok_or(AttachError::NoProcess(pid))?;
    if found.zombie {
        return Err(AttachError::Zombie(pid));
    }
    // kthreadd is 2, and every other kernel thread its child.
    if pid == 2 || found.ppid == 2 {
        return Err(AttachError::KernelThread(pid));
    }
    Ok(found.process)
}

/// Enrols the roots and all that descends from them, until nobody new is found.
fn join_tree(
    recorder: &mut SessionRecorder,
    roots: &[ProcessId],
    proc_root: &ProcRoot,
    observer: &mut dyn Observer,
) {
    let me = std::process::id();
    let mut members: HashSet<u32> = HashSet::new();
    members.insert(recorder.root().tgid);
    for &root in roots {
        if members.insert(root.tgid) {
            recorder.enroll(root, Origin::Found, observer);
        }
    }
    loop {
        // ProcessKey was forked by a member since it became one is one by itself, and known by its event.
        recorder.catch_up(observer);
        members.extend(recorder.alive().iter().map(|process| process.tgid));
        let Ok(all) = table::all(proc_root) else { return };
        let new: Vec<ProcessId> = all
            .iter()
            .filter(|kin| {
                !kin.zombie
                    && kin.process.tgid != me
                    && members.contains(&kin.ppid)
                    && !members.contains(&kin.process.tgid)
            })
            .map(|kin| kin.process)
            .collect();
        if new.is_empty() {
            return;
        }
        for process in new {
            members.insert(process.tgid);
            recorder.enroll(process, Origin::Found, observer);
        }
    }
}
