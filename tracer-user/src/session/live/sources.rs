//! Where the inputs of a live session come from: the kernel's programs, or polling, and samples of `/proc`.
//!
//! With kernel events the kernel decides which processes belong to the session. Without them membership is
//! polled ([`super::membership_poll`]): a process belongs to the session when its parent does, or when it was
//! reparented to the tracer, which then is a child subreaper.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::membership_poll::{MembershipChange, MembershipPoller};
use super::observer::SessionEvent;
use super::recorder::SessionRecorder;
use crate::core::event::{Event, EventBody, Exec, Exit};
use crate::core::evidence::Evidence;
use crate::core::gates::RootFate;
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::leftover::HELD_FILE;
use crate::core::record::{ExitSource, HeaderLine, LostPlace, Origin};
use crate::core::redact;
use crate::core::session_state::{Input, Join, SampleSet};
use crate::core::snapshot::ProcSnapshot;
use crate::core::summary::LeakedProcess;
use crate::core::text::ByteString;
use crate::kernel::{KernelTracer, Lost};
use crate::procfs_view::snapshot::{HeldFiles, Sampler};
use crate::procfs_view::{FileId, ProcRoot, table};
use crate::session::clock;
use crate::session::root_fate::{ProcessRef, probe};
use crate::signals::watched::watched;
use crate::store::finish::RemovePins;

/// How often the ring is drained for the forks of processes that the kernel's maps hold already.
const SETTLE_DRAINS: usize = 3;
/// Between these drains: far longer than a kernel program takes from its map to the ring.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// See the module.
pub struct SessionSources {
    root: ProcessId,
    kernel: Option<KernelTracer>,
    /// Replaces the kernel where its events are not available.
    poller: Option<MembershipPoller>,
    proc_root: ProcRoot,
    sampler: Sampler,
    held: HeldFiles,
    /// The losses that are in the trace already.
    reported_lost: Lost,
    /// Kept between drains, so that a drain allocates nothing.
    events: Vec<Event>,
    /// Processes that ended since the last sample. Most are reaped at once, so none is looked at before the
    /// next one.
    just_ended: Vec<ProcessId>,
    /// A sample was taken.
    sampled: bool,
    /// Processes that ended before the last sample, and were not reaped then.
    unreaped: BTreeSet<ProcessId>,
    /// Names in the last sample that were not those of the last exec.
    renamed: HashMap<ProcessId, ByteString>,
}

/// Ended processes that are looked for in the next sample, at most.
const MAX_JUST_ENDED: usize = 4096;

impl SessionSources {
    /// The sources of a new session.
    pub fn new(root: ProcessId, kernel: Option<KernelTracer>) -> Self {
        let proc_root = ProcRoot::system();
        Self {
            root,
            poller: kernel.is_none().then(MembershipPoller::new),
            kernel,
            sampler: Sampler::new(proc_root.clone()),
            held: HeldFiles::new(proc_root.clone()),
            proc_root,
            reported_lost: Lost::default(),
            events: Vec::new(),
            just_ended: Vec::new(),
            sampled: false,
            unreaped: BTreeSet::new(),
            renamed: HashMap::new(),
        }
    }

    /// The sources of a session whose owner died. Losses that are in its trace are not reported again.
    pub fn resume(root: ProcessId, kernel: Option<KernelTracer>, recorder: &SessionRecorder<'_>) -> Self {
        let reported = recorder.state().tracker().totals().events_lost;
        let mut sources = Self::new(root, kernel);
        if let Some(now) = sources.kernel.as_ref().map(KernelTracer::lost)
            && now.total() <= reported
        {
            sources.reported_lost = now;
        }
        sources
    }

    /// The root.
    pub fn root(&self) -> ProcessId {
        self.root
    }

    /// The kernel reports events of this session.
    pub fn has_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// The kernel's ring, to be waited for: readable when much is in it. `None` without kernel events.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn ring(&self) -> std::io::Result<Option<AsyncFd<OwnedFd>>> {
        let Some(kernel) = &self.kernel else { return Ok(None) };
        let fd = kernel.ring_fd().try_clone_to_owned()?;
        watched(fd).map(Some)
    }

    /// The first inputs: the header, and the root.
    pub fn begin(&mut self, recorder: &mut SessionRecorder<'_>, header: HeaderLine, origin: Origin) {
        recorder.push(Input::Header(Box::new(header)));
        self.enroll(recorder, self.root, origin);
    }

    /// Makes a living process a member, for the kernel and in the trace. False when it is gone.
    pub fn enroll(&mut self, recorder: &mut SessionRecorder<'_>, process: ProcessId, origin: Origin) -> bool {
        if let Some(kernel) = &mut self.kernel {
            let extras = table::extras(&self.proc_root, process.tgid);
            if let Err(error) = kernel.enroll(process, &extras) {
                recorder.notice(&error.to_string());
            }
            // Only from now on its exit is recorded. An exit before left nothing but a stale entry in the
            // map.
            let start_ticks = table::start_ticks(&self.proc_root, process.tgid).ok().flatten();
            if start_ticks != Some(process.start_ticks) {
                kernel.withdraw(process);
                return false;
            }
        }
        self.join(recorder, process, origin);
        true
    }

    fn join(&self, recorder: &mut SessionRecorder<'_>, process: ProcessId, origin: Origin) {
        let row = |tgid| table::row(&self.proc_root, tgid).ok().flatten();
        recorder.push(Input::Joined(Join {
            process,
            origin,
            parent: row(process.tgid).and_then(|found| row(found.ppid)).map(|parent| parent.process),
            extras: table::extras(&self.proc_root, process.tgid),
            comm: table::comm(&self.proc_root, process.tgid),
        }));
    }

    /// Takes everything that the kernel has reported until now. Without kernel events: polls `/proc`.
    pub fn catch_up(&mut self, recorder: &mut SessionRecorder<'_>) {
        let Some(kernel) = &mut self.kernel else {
            self.poll(recorder);
            return;
        };
        for line in kernel.debug_lines() {
            recorder.emit(SessionEvent::Debug(&line));
        }
        kernel.drain_keeping_fates(&mut self.events);
        let mut ended = Vec::new();
        for event in self.events.drain(..) {
            if let EventBody::Exit(exit) = &event.body {
                ended.push(exit.process);
            }
            recorder.push(Input::Kernel(event));
        }
        self.just_ended.extend(&ended);
        // Only now: an end that is not in the trace yet has to stay in the kernel's map, in case this process
        // dies.
        kernel.forget_ended(ended);
    }

    /// Takes the writes that are blocked for longer than the threshold.
    pub fn find_stalls(&mut self, recorder: &mut SessionRecorder<'_>) {
        let Some(kernel) = &mut self.kernel else { return };
        kernel.open_stalls(clock::boot_ns(), &mut self.events);
        for event in self.events.drain(..) {
            recorder.push(Input::Kernel(event));
        }
    }

    /// Samples every process of the session, and reports what was lost.
    pub fn sample(&mut self, recorder: &mut SessionRecorder<'_>) {
        if !std::mem::replace(&mut self.sampled, true) {
            self.find_zombies(recorder);
        }
        self.unreaped.extend(self.just_ended.drain(..));
        let processes = recorder.alive().into_iter().chain(self.unreaped.iter().copied());
        let mut snapshots = self.sampler.sample(processes, clock::boot_ns());
        // The kernel may have reported what the snapshots show, such as a new name after an exec.
        self.catch_up(recorder);
        self.just_ended.truncate(MAX_JUST_ENDED);
        self.check_names(recorder, &mut snapshots);
        let here: HashSet<ProcessId> = snapshots.iter().map(ProcSnapshot::process).collect();
        self.unreaped.retain(|process| here.contains(process));
        let held = self.held.look(&snapshots);
        recorder.push(Input::Sample(SampleSet { snapshots }));
        for file in held {
            recorder.note(HELD_FILE, file.to_string());
        }
        self.report_lost(recorder);
    }

    /// Adds the children of the session's processes that ended before the session began and were not reaped.
    fn find_zombies(&mut self, recorder: &SessionRecorder<'_>) {
        let tracker = recorder.state().tracker();
        let members: HashSet<u32> = tracker.alive().map(|process| process.tgid).collect();
        let rows = table::all(&self.proc_root).unwrap_or_default();
        let zombies = rows.iter().filter(|row| row.zombie && members.contains(&row.ppid));
        self.unreaped.extend(zombies.map(|row| row.process).filter(|it| tracker.member(*it).is_none()));
    }

    /// Leaves out the names of a sample that an exec at the same time explains. A program has its new name
    /// before the kernel reports the exec, and an exec that was reported by now may be younger than a
    /// snapshot. So a name that is not that of the last exec counts when two samples in a row show it.
    fn check_names(&mut self, recorder: &mut SessionRecorder<'_>, snapshots: &mut [ProcSnapshot]) {
        let sees_execs = self.poller.as_ref().is_none_or(MembershipPoller::sees_execs);
        let before = std::mem::take(&mut self.renamed);
        for snapshot in snapshots {
            let process = snapshot.process();
            let member = recorder.state().tracker().member(process);
            let Some(expected) = member.and_then(|member| member.comm().cloned()) else { continue };
            let Some(name) = snapshot.comm.clone().filter(|name| *name != expected) else { continue };
            let lasts = before.get(&process) == Some(&name);
            if lasts && !sees_execs {
                executed(recorder, process, name);
                continue;
            }
            if !lasts {
                snapshot.comm = None;
            }
            self.renamed.insert(process, name);
        }
    }

    /// Adds to evidence what the kernel reported of the session.
    pub fn add_history(&self, recorder: &SessionRecorder<'_>, evidence: &mut Evidence) {
        if let Some(kernel) = &self.kernel {
            recorder.history().merge_into(evidence, kernel.lost().total());
        }
    }

    /// Takes the ends that are in the kernel's map without an event. After this, every process that counts as
    /// alive is alive. Without kernel events: polls all of `/proc` now.
    pub fn settle(&mut self, recorder: &mut SessionRecorder<'_>) {
        if let Some(poller) = &mut self.poller {
            poller.make_due();
        }
        let Some(kernel) = &self.kernel else {
            self.catch_up(recorder);
            return;
        };
        let fates = kernel.fates();
        let living: HashSet<ProcessId> = kernel.living().into_iter().collect();
        // The maps are younger than the last drain. The fork of a process that was born since is in the ring:
        // the kernel writes it there at most a moment after the maps.
        for _ in 0..SETTLE_DRAINS {
            self.catch_up(recorder);
            let tracker = recorder.state().tracker();
            if fates.iter().all(|fate| tracker.knows(fate.process)) {
                break;
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
        for fate in fates {
            if let Some((boot_ns, exit)) = fate.ended {
                recorder.push(Input::Kernel(Event { boot_ns, body: EventBody::Exit(exit) }));
            } else if living.contains(&fate.process)
                && recorder.state().tracker().member(fate.process).is_none()
            {
                // Its fork event was lost, but the map has it.
                self.join(recorder, fate.process, Origin::Found);
            }
        }
        self.report_lost(recorder);
    }

    /// The living processes of the session without the root, and which of these files each has open.
    pub fn leaked(&self, recorder: &SessionRecorder<'_>, output: &[FileId]) -> Vec<LeakedProcess> {
        let tracker = recorder.state().tracker();
        let lives = |process: &ProcessId| {
            table::row(&self.proc_root, process.tgid)
                .is_ok_and(|row| row.is_some_and(|row| row.process == *process && !row.zombie))
        };
        let alive = tracker.alive().filter(|process| *process != self.root && lives(process));
        alive
            .map(|process| {
                let words = table::arguments(&self.proc_root, process.tgid);
                LeakedProcess {
                    cmdline: redact::argv(&words),
                    output_fds: Some(table::holds(&self.proc_root, process.tgid, output)),
                    ..LeakedProcess::of(tracker, process)
                }
            })
            .collect()
    }

    /// The root, which is not a child of the tracer, has ended. The kernel's record says how, or `/proc`
    /// until it is reaped.
    pub fn root_ended(&mut self, recorder: &mut SessionRecorder<'_>) {
        self.settle(recorder);
        if recorder.state().tracker().root_exit().is_some() {
            return;
        }
        let pidfd_ino = recorder.enrollment().pidfd_ino;
        let status = match probe(&self.proc_root, ProcessRef { pidfd_ino, ..ProcessRef::from(self.root) }) {
            RootFate::Ended { status, .. } => status,
            _ => None,
        };
        ended(recorder, self.root, status);
    }

    /// Removes the kernel's pins, once the session is filed.
    pub fn into_remove_pins(self) -> RemovePins<'static> {
        Box::new(|| match self.kernel {
            Some(kernel) => kernel.finish().map_err(std::io::Error::other),
            None => Ok(()),
        })
    }

    fn report_lost(&mut self, recorder: &mut SessionRecorder<'_>) {
        let Some(now) = self.kernel.as_ref().map(KernelTracer::lost) else { return };
        let before = std::mem::replace(&mut self.reported_lost, now);
        for (now, before, place) in [
            (now.ring + now.members, before.ring + before.members, LostPlace::Ring),
            (now.stalls, before.stalls, LostPlace::StallLog),
            (now.undecodable, before.undecodable, LostPlace::Decode),
        ] {
            if now > before {
                recorder.push(Input::Lost { count: now - before, place });
            }
        }
    }

    /// Processes that joined, executed a program or ended, without kernel events.
    fn poll(&mut self, recorder: &mut SessionRecorder<'_>) {
        let Some(poller) = &mut self.poller else { return };
        for change in poller.poll(&self.proc_root, self.root, &recorder.alive()) {
            match change {
                MembershipChange::Joined(process) => self.join(recorder, process, Origin::Found),
                MembershipChange::Executed(process) => {
                    // It is gone already when it has no name any more.
                    let Some(comm) = table::comm(&self.proc_root, process.tgid) else { continue };
                    executed(recorder, process, comm);
                }
                MembershipChange::Ended(process, status) => {
                    self.just_ended.push(process);
                    ended(recorder, process, status);
                }
                MembershipChange::Lost(count) => {
                    recorder.push(Input::Lost { count, place: LostPlace::Ring });
                }
            }
        }
    }
}

/// Records an exec that was learned from something else than the kernel's record.
fn executed(recorder: &mut SessionRecorder<'_>, process: ProcessId, comm: ByteString) {
    let exec = Exec { process, by_thread: None, comm: comm.0, filename: None };
    recorder.push(Input::Kernel(Event { boot_ns: clock::boot_ns(), body: EventBody::Exec(exec) }));
}

/// Records an end that was learned from something else than the kernel's record.
pub fn ended(recorder: &mut SessionRecorder<'_>, process: ProcessId, status: Option<WaitStatus>) {
    recorder.push(Input::Ended(Box::new(Exit::of(process, status)), ExitSource::Proc));
}
