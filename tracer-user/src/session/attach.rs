//! `attach`: a process tree that runs already is traced to its end, and otherwise left alone.
//!
//! No fork is missed: a process is put into the kernel's map first, and its children are looked up
//! afterwards. A child forked before that is found by the lookup, and one forked later follows its parent by
//! itself. The lookup is repeated until it finds nothing new.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::job_members::JobMembers;
use super::live::finish::{OwnerEnding, finish};
use super::live::start::{self, SessionSetup, StartedSession};
use super::live::{DiagnosisTrigger, DriverEvent, Observer, SessionDriver};
use super::options::{AttachOptions, AttachTargets, OnHang, TimeLimits};
use super::runtime::Runtime;
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, Origin};
use crate::core::summary::Summary;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::receive::BlockedSignals;

/// How often the machine is searched for new processes of a job.
const RESCAN: Duration = Duration::from_secs(1);

/// The result of an attachment.
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
    /// No process has this pid.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It has ended already.
    #[error("process {0} has ended and waits for its parent: there is nothing to trace")]
    Zombie(u32),
    /// It is a thread of the kernel.
    #[error("process {0} is a kernel thread: it runs no program and cannot be traced")]
    KernelThread(u32),
    /// It is this process.
    #[error("process {0} is this tracer itself")]
    Ourselves(u32),
    /// No other process carries the marker of this job.
    #[error("no other process of this job runs: start the watcher from a step of the job, in the background")]
    NoJob,
}

/// Attaches. Call it on the main thread, before any other thread is started: signals are blocked in it.
///
/// # Errors
/// When a process cannot be attached to, or no session can be kept of it.
pub fn attach(options: &AttachOptions, observer: &mut dyn Observer) -> anyhow::Result<AttachEnd> {
    let proc_root = ProcRoot::system();
    let mut job = match options.targets {
        AttachTargets::Pids(_) => None,
        AttachTargets::Job => Some(JobMembers::of_this_job()?),
    };
    let roots = match (&options.targets, &mut job) {
        (AttachTargets::Pids(pids), _) => {
            pids.iter().map(|&pid| target(&proc_root, pid)).collect::<Result<Vec<_>, _>>()?
        }
        (AttachTargets::Job, Some(job)) => job.new_ones(&proc_root),
        (AttachTargets::Job, None) => Vec::new(),
    };
    let &first = roots.first().ok_or(AttachError::NoJob)?;
    let blocked = BlockedSignals::take().context("cannot take signals")?;
    Runtime::start()?.block_on(async {
        let mut signals = blocked.listen()?;
        let limits = TimeLimits { timeout: options.timeout, ..TimeLimits::default() };
        let setup = SessionSetup {
            id: options.session_id.clone(),
            labels: options.labels.clone(),
            places: &options.places,
            watch: &options.watch,
            recording: &options.recording,
            limits,
            command: None,
            in_memory: false,
        };
        let StartedSession { recorder, sources, log } = start::begin(&setup, first, Origin::Found, observer)?;
        let mut driver = SessionDriver::new(recorder, sources, &options.watch, limits)?;
        join_tree(&mut driver, &roots, &proc_root);
        driver.watch_root();
        let mut rescan = tokio::time::interval(RESCAN);
        let mut is_over = false;
        let reason = loop {
            // Between two steps of a job nothing of it may be alive.
            if job.is_none() && driver.recorder().alive().is_empty() {
                break EndReason::RootEnded;
            }
            tokio::select! {
                biased;
                received = signals.next() => {
                    // No last look: what sent the signal may wait for this tracer, and would seem to hang.
                    if received.context("cannot take signals")?.asks_to_end() {
                        break EndReason::Detached;
                    }
                }
                event = driver.step() => match event {
                    DriverEvent::TimeLimit => {
                        is_over = true;
                        driver.diagnose(DiagnosisTrigger::TimeLimit);
                    }
                    DriverEvent::Diagnosis(DiagnosisTrigger::TimeLimit, _) if is_over => {
                        break EndReason::Detached;
                    }
                    DriverEvent::Diagnosis(_, Some(diagnosis))
                        if diagnosis.verdict.is_hang() && options.watch.on_hang == OnHang::Relieve =>
                    {
                        driver.relieve(&diagnosis);
                    }
                    _ => {}
                },
                _ = rescan.tick(), if job.is_some() => {
                    let new = job.as_mut().map(|job| job.new_ones(&proc_root)).unwrap_or_default();
                    if !new.is_empty() {
                        join_tree(&mut driver, &new, &proc_root);
                    }
                }
            }
        };
        driver.settle();
        let (summary, filed) = finish(driver, &OwnerEnding::now(reason, &[]), &log);
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

/// Enrolls the roots and all their descendants, until nothing new is found.
fn join_tree(driver: &mut SessionDriver<'_>, roots: &[ProcessId], proc_root: &ProcRoot) {
    let own_pid = std::process::id();
    let mut members = HashSet::from([driver.root().tgid]);
    for &root in roots {
        if members.insert(root.tgid) {
            driver.enroll(root, Origin::Found);
        }
    }
    loop {
        // A process that a member forked since it became one is a member already, and known by its event.
        driver.catch_up();
        members.extend(driver.recorder().alive().iter().map(|process| process.tgid));
        let Ok(all) = table::all(proc_root) else { return };
        let new: Vec<ProcessId> = all
            .iter()
            .filter(|found| {
                !found.zombie
                    && found.process.tgid != own_pid
                    && members.contains(&found.ppid)
                    && !members.contains(&found.process.tgid)
            })
            .map(|found| found.process)
            .collect();
        if new.is_empty() {
            return;
        }
        for process in new {
            members.insert(process.tgid);
            driver.enroll(process, Origin::Found);
        }
    }
}
