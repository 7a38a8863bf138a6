//! The owner of a session's state: whatever is learnt goes through here, in order, into the fold and the trace.
//!
//! With kernel events the kernel says who belongs to the session. Without them it is looked up in `/proc`: whose
//! parent is a member, and who was given to us because its parent ended (then the tracer is a child subreaper).

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::clock;
use super::membership_poll::{Found, MembershipPoller};
use super::observer::{Observer, Status};
use super::recover::{ProcessRef, probe};
use crate::core::event::{Event, EventBody, Exec, Exit};
use crate::core::evidence::Evidence;
use crate::core::gates::RootFate;
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::record::{EndReason, ExitSource, HeaderLine, LostPlace, Origin};
use crate::core::redact;
use crate::core::session_state::{EventHistory, Input, Join, SampleSet};
use crate::core::summary::{LeakedProcess, OwnerFate, SessionEnding};
use crate::kernel::{KernelTracer, Lost};
use crate::procfs_view::snapshot::Sampler;
use crate::procfs_view::table;
use crate::procfs_view::{FileId, ProcRoot};
use crate::signals::receive::Received;
use crate::signals::watched::watched;
use crate::store::live::{Finish, FinishError, Finished, LiveSession};
use crate::store::log::SessionLog;

/// How often the ring is looked into for the births of processes that the kernel's maps hold.
const SETTLE_LOOKS: usize = 3;
/// Between these looks: far longer than a kernel program takes from its map to the ring.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// See the module.
pub struct SessionRecorder {
    live: LiveSession,
    kernel: Option<KernelTracer>,
    /// What stands in for the kernel side where there is none.
    poller: Option<MembershipPoller>,
    proc_root: ProcRoot,
    sampler: Sampler,
    root: ProcessId,
    began_boot_ns: u64,
    told_lost: Lost,
    /// What a diagnosis may need of the past.
    recent: EventHistory,
    /// By signal, when the last was sent that [`Self::root_had`].
    answered_boot_ns: HashMap<u32, u64>,
    /// Those that outlived the root, as they were last seen.
    leaked: Vec<LeakedProcess>,
    /// Kept so that a drain needs no allocation.
    events: Vec<Event>,
}

impl SessionRecorder {
    /// Begins to keep a session that has just been created.
    pub fn new(live: LiveSession, kernel: Option<KernelTracer>, root: ProcessId) -> Self {
        let proc_root = ProcRoot::system();
        Self {
            live,
            poller: kernel.is_none().then(MembershipPoller::new),
            kernel,
            sampler: Sampler::new(proc_root.clone()),
            proc_root,
            root,
            began_boot_ns: clock::boot_ns(),
            told_lost: Lost::default(),
            recent: EventHistory::default(),
            answered_boot_ns: HashMap::new(),
            leaked: Vec::new(),
            events: Vec::new(),
        }
    }

    /// From now on AutoSkillit's own files are written too; see [`LiveSession::mirror_to`].
    ///
    /// # Errors
    /// What the system says; the session is as it was then.
    pub fn mirror_to(&mut self, place: &std::path::Path) -> std::io::Result<()> {
        self.live.mirror_to(place)
    }

    /// The kernel side, where there is one.
    pub fn kernel(&self) -> Option<&KernelTracer> {
        self.kernel.as_ref()
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

    /// What is known of the session.
    pub fn live(&self) -> &LiveSession {
        &self.live
    }

    /// The root.
    pub fn root(&self) -> ProcessId {
        self.root
    }

    /// The first lines: what traces what, and the root.
    pub fn begin(&mut self, header: HeaderLine, origin: Origin, observer: &mut dyn Observer) {
        self.push(Input::Header(Box::new(header)), observer);
        self.enroll(self.root, origin, observer);
    }

    /// Makes a process that lives a member, for the kernel and in the trace. False when it is gone.
    pub fn enroll(&mut self, process: ProcessId, origin: Origin, observer: &mut dyn Observer) -> bool {
        if let Some(kernel) = &mut self.kernel {
            let extras = table::extras(&self.proc_root, process.tgid);
            if let Err(error) = kernel.enroll(process, &extras) {
                observer.notice(&error.to_string());
            }
            // Only now its exit would be recorded: one that came before left nothing but a stale entry.
            if !matches!(table::start_ticks(&self.proc_root, process.tgid), Ok(Some(t)) if t == process.start_ticks)
            {
                kernel.withdraw(process);
                return false;
            }
        }
        self.join(process, origin, observer);
        true
    }

    fn join(&mut self, process: ProcessId, origin: Origin, observer: &mut dyn Observer) {
        let parent = table::row(&self.proc_root, process.tgid).ok().flatten().map(|kin| kin.ppid);
        let parent = parent.and_then(|ppid| table::row(&self.proc_root, ppid).ok().flatten());
        let join = Join {
            process,
            origin,
            parent: parent.map(|parent| parent.process),
            extras: table::extras(&self.proc_root, process.tgid),
            comm: table::comm(&self.proc_root, process.tgid),
        };
        self.push(Input::Joined(join), observer);
    }

    /// Everything the kernel has to tell by now. Without kernel events: a look at `/proc`.
    pub fn catch_up(&mut self, observer: &mut dyn Observer) {
        let Some(kernel) = &mut self.kernel else {
            self.look_out(observer);
            return;
        };
        for line in kernel.debug_lines() {
            observer.debug(&line);
        }
        let mut events = std::mem::take(&mut self.events);
        kernel.drain_keeping_fates(&mut events);
        for event in &events {
            self.learn(event.clone(), observer);
        }
        // Only now: an end that is not in the trace yet has to stay in the kernel's map, should we die here.
        if let Some(kernel) = &mut self.kernel {
            kernel.forget_ended(&events);
        }
        events.clear();
        self.events = events;
    }

    /// Writes that are blocked for longer than the threshold.
    pub fn look_for_stalls(&mut self, observer: &mut dyn Observer) {
        let mut events = Vec::new();
        if let Some(kernel) = &mut self.kernel {
            kernel.open_stalls(clock::boot_ns(), &mut events);
        }
        for event in events {
            self.learn(event, observer);
        }
    }

    /// Looks at every process of the session, and says what was lost.
    pub fn sample(&mut self, observer: &mut dyn Observer) {
        let snapshots = self.sampler.sample(self.alive(), clock::boot_ns());
        // What the snapshots show, the kernel may have told already: a new name after an exec, for example.
        self.catch_up(observer);
        self.push(Input::Sample(SampleSet { snapshots }), observer);
        self.tell_lost(observer);
    }

    /// An end that somebody else than the kernel's record told.
    pub fn ended(&mut self, process: ProcessId, status: Option<WaitStatus>, observer: &mut dyn Observer) {
        self.push(Input::Ended(Box::new(Exit::of(process, status)), ExitSource::Proc), observer);
    }

    /// A remark in the trace.
    pub fn note(&mut self, code: &str, text: String, observer: &mut dyn Observer) {
        self.push(Input::Note { code: code.to_owned(), text }, observer);
    }

    /// A diagnosis, into the trace.
    pub fn diagnosed(&mut self, diagnosis: serde_json::Value, observer: &mut dyn Observer) {
        self.push(Input::Diagnosis(diagnosis), observer);
    }

    /// The session's processes that live.
    pub fn alive(&self) -> Vec<ProcessId> {
        self.live.state().tracker().alive().collect()
    }

    /// Adds to evidence what the kernel has told of the session.
    pub fn add_history(&self, evidence: &mut Evidence) {
        let Some(kernel) = &self.kernel else { return };
        self.recent.merge_into(evidence, kernel.lost().total());
    }

    /// Whether the root was sent the same signal by the same sender, since then. One that answered this is not taken
    /// again: who signals us alone right after the group means it.
    pub fn root_had(&mut self, received: &Received, since_boot_ns: u64) -> bool {
        let signal = received.signal.unsigned_abs();
        let answered = self.answered_boot_ns.entry(signal).or_default();
        let sent = self.recent.sent(self.root, signal, received.sender, since_boot_ns.max(*answered));
        *answered = sent.unwrap_or(*answered);
        sent.is_some()
    }

    /// How it goes.
    pub fn status(&self) -> Status {
        let tracker = self.live.state().tracker();
        let totals = tracker.totals();
        Status {
            elapsed_ns: clock::boot_ns().saturating_sub(self.began_boot_ns),
            alive: tracker.alive_count(),
            forks: totals.forked + totals.found,
            exits: totals.exited,
            open_stalls: tracker.open_stalls().count(),
            lost: totals.events_lost,
        }
    }

    /// Takes the ends that the kernel's map holds and no event told: after this, who counts as alive is alive.
    /// Without kernel events: as a look at all of `/proc` shows it now.
    pub fn settle(&mut self, observer: &mut dyn Observer) {
        if let Some(poller) = &mut self.poller {
            poller.make_due();
        }
        let Some(kernel) = &self.kernel else {
            self.catch_up(observer);
            return;
        };
        let fates = kernel.fates();
        let living: HashSet<ProcessId> = kernel.living().into_iter().collect();
        // The maps are younger than what was drained: who was born meanwhile is told by the ring first. The kernel
        // writes a record there at most a moment after the maps.
        for _ in 0..SETTLE_LOOKS {
            self.catch_up(observer);
            let tracker = self.live.state().tracker();
            if fates
                .iter()
                .all(|fate| tracker.member(fate.process).is_some() || tracker.has_ended(fate.process))
            {
                break;
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
        for fate in fates {
            let process = fate.process;
            if let Some((boot_ns, exit)) = fate.ended {
                self.push(Input::Kernel(Event { boot_ns, body: EventBody::Exit(exit) }), observer);
            } else if living.contains(&process) && self.live.state().tracker().member(process).is_none() {
                // Its fork event was lost; the map has it all the same.
                self.join(process, Origin::Found, observer);
            }
        }
        self.tell_lost(observer);
    }

    /// The session's processes that live, the root left out, and which of these files each has open.
    pub fn leaked(&mut self, output: &[FileId]) -> Vec<LeakedProcess> {
        let tracker = self.live.state().tracker();
        let lives = |process: &ProcessId| {
            table::row(&self.proc_root, process.tgid)
                .is_ok_and(|kin| kin.is_some_and(|kin| kin.process == *process && !kin.zombie))
        };
        let alive = tracker.alive().filter(|process| *process != self.root && lives(process));
        self.leaked = alive
            .map(|process| {
                let words = table::arguments(&self.proc_root, process.tgid);
                LeakedProcess {
                    cmdline: redact::argv(&words),
                    output_fds: Some(table::holds(&self.proc_root, process.tgid, output)),
                    ..LeakedProcess::of(tracker, process)
                }
            })
            .collect();
        self.leaked.clone()
    }

    /// The root, which is no child of ours, has ended: how, the kernel's record tells, or `/proc` as long as nobody
    /// has reaped it.
    pub fn root_ended(&mut self, observer: &mut dyn Observer) {
        self.settle(observer);
        if self.live.state().tracker().root_exit().is_some() {
            return;
        }
        let wanted =
            ProcessRef { pidfd_ino: self.live.enrollment().pidfd_ino, ..ProcessRef::from(self.root) };
        let status = match probe(&self.proc_root, wanted) {
            RootFate::Ended { status, .. } => status,
            _ => None,
        };
        self.ended(self.root, status, observer);
    }

    /// Goes on with a session whose owner died. What it told of lost events counts as told.
    pub fn take_over(live: LiveSession, kernel: Option<KernelTracer>, root: ProcessId) -> Self {
        let told = live.state().tracker().totals().events_lost;
        let mut recorder = Self::new(live, kernel, root);
        if let Some(now) = recorder.kernel.as_ref().map(KernelTracer::lost)
            && now.total() <= told
        {
            recorder.told_lost = now;
        }
        recorder
    }

    /// Finishes the session: last line, log, and then everything else goes.
    pub fn finish(
        self,
        reason: EndReason,
        log: &SessionLog,
        observer: &mut dyn Observer,
    ) -> Result<Finished, FinishError> {
        self.finish_as(OwnerFate::Finished, reason, Some(jiff::Timestamp::now()), log, observer)
    }

    /// Finishes a session that was [taken over](Self::take_over); `end` is when its root ended.
    pub fn finish_adopted(
        self,
        reason: EndReason,
        end: Option<jiff::Timestamp>,
        log: &SessionLog,
        observer: &mut dyn Observer,
    ) -> Result<Finished, FinishError> {
        self.finish_as(OwnerFate::Adopted, reason, end, log, observer)
    }

    fn finish_as(
        mut self,
        owner_fate: OwnerFate,
        reason: EndReason,
        end: Option<jiff::Timestamp>,
        log: &SessionLog,
        observer: &mut dyn Observer,
    ) -> Result<Finished, FinishError> {
        self.push(Input::End(reason), observer);
        let leaked = std::mem::take(&mut self.leaked);
        let ending = SessionEnding {
            owner_fate,
            degraded: false,
            end,
            tracer_version: env!("CARGO_PKG_VERSION"),
            leaked: &leaked,
        };
        let finish = Finish { ending, protected: false };
        let kernel = self.kernel;
        self.live.finish(log, &finish, || match kernel {
            Some(kernel) => kernel.finish().map_err(std::io::Error::other),
            None => Ok(()),
        })
    }

    /// Lets go of the session as a tracer that is killed would: all of it stays for a recovery.
    pub fn abandon(self) {}

    fn tell_lost(&mut self, observer: &mut dyn Observer) {
        let Some(now) = self.kernel.as_ref().map(KernelTracer::lost) else { return };
        let before = std::mem::replace(&mut self.told_lost, now);
        for (now, before, place) in [
            (now.ring + now.members, before.ring + before.members, LostPlace::Ring),
            (now.stalls, before.stalls, LostPlace::StallLog),
            (now.undecodable, before.undecodable, LostPlace::Decode),
        ] {
            if now > before {
                self.push(Input::Lost { count: now - before, place }, observer);
            }
        }
    }

    /// ProcessKey joined and who is gone, without kernel events.
    fn look_out(&mut self, observer: &mut dyn Observer) {
        let Some(mut poller) = self.poller.take() else { return };
        let members = self.alive();
        for found in poller.look(&self.proc_root, self.root, &members) {
            match found {
                Found::Joined(process) => self.join(process, Origin::Found, observer),
                Found::Executed(process) => {
                    // Gone already: there is nothing left to tell of what it executed.
                    let Some(comm) = table::comm(&self.proc_root, process.tgid) else { continue };
                    let exec = Exec { process, by_thread: None, comm: comm.0, filename: None };
                    self.push(
                        Input::Kernel(Event { boot_ns: clock::boot_ns(), body: EventBody::Exec(exec) }),
                        observer,
                    );
                }
                Found::Ended(process, status) => self.ended(process, status, observer),
                Found::Lost(count) => {
                    self.push(Input::Lost { count, place: LostPlace::Ring }, observer);
                }
            }
        }
        self.poller = Some(poller);
    }

    fn learn(&mut self, event: Event, observer: &mut dyn Observer) {
        self.recent.note(&event);
        self.push(Input::Kernel(event), observer);
    }

    fn push(&mut self, input: Input, observer: &mut dyn Observer) {
        let pushed = self.live.push(&clock::anchor(), clock::boot_ns(), input);
        for notice in &pushed.notices {
            observer.notice(&notice.0);
        }
        observer.lines(&pushed.lines);
    }
}
