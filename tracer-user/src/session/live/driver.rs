//! Drives a live session: what is due when, for `run`, `attach` and an adopted session alike.
//!
//! [`SessionDriver::step`] does one thing that is due and returns. It can be dropped at any await without
//! losing anything, so it fits into a `select!` beside other sources. Evidence for a diagnosis is collected
//! in a thread of its own, so that the kernel's ring is drained meanwhile. What is done about a hang comes
//! after the observers have the diagnosis, which makes it durable.

use std::cell::RefCell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::observer::{DiagnosisTrigger, SessionEvent};
use super::recorder::SessionRecorder;
use super::relieve;
use super::sources::{self, SessionSources};
use super::terminate;
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::escalation::Termination;
use crate::core::evidence::Evidence;
use crate::core::hang_watch::HangWatch;
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::record::Origin;
use crate::core::summary::LeakedProcess;
use crate::procfs_view::{Ask, CollectError, FileId, ProcRoot, Request, table};
use crate::session::clock;
use crate::session::look;
use crate::session::options::{TimeLimits, Watch};
use crate::signals::pidfd::{PidFd, PidFdError};
use crate::signals::watched::watched;

/// How often the kernel's ring is drained when nothing wakes the driver. The ring holds more than that time
/// fills.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How often blocked writes are looked for, at most.
const STALLS_EVERY: Duration = Duration::from_millis(250);
/// How often the status is reported.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// A session without progress for this long is idle: it is examined less often, and its next event is seen a
/// moment later.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// By how much less often.
const IDLE_FACTOR: u32 = 4;
/// Between the two readings of a diagnosis.
const QUIET_WINDOW: Duration = Duration::from_millis(400);
/// How long the evidence of a diagnosis may take while a signal waits to be passed on.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take while nothing waits for it. A loaded machine needs the time.
const EVIDENCE_AT_LEISURE_WITHIN: Duration = Duration::from_secs(20);
/// A sample is never taken sooner than this after the last one.
const SAMPLES_APART: Duration = Duration::from_millis(50);
/// How long the stacks of a diagnosis may take.
const STACKS_WITHIN: Duration = Duration::from_millis(800);
/// How long the session's processes may take to end after the root before they count as leaked.
const SETTLE_WITHIN: Duration = Duration::from_millis(200);
/// Between two checks whether they have ended.
const SETTLE_EVERY: Duration = Duration::from_millis(5);

/// The result of a step, where a caller has to decide.
pub enum DriverEvent {
    /// Nothing to decide.
    Nothing,
    /// The job has reached its time limit.
    TimeLimit,
    /// Nothing in the job has made progress for as long as is allowed.
    IdleLimit,
    /// A diagnosis was made, and is durable; `None` when no evidence was available in time.
    Diagnosis(DiagnosisTrigger, Option<Box<Diagnosis>>),
    /// The escalation has ended.
    Termination(Vec<Termination>),
}

/// Evidence that is being collected.
struct PendingEvidence {
    trigger: DiagnosisTrigger,
    deadline: Instant,
    evidence: JoinHandle<Result<Evidence, CollectError>>,
    /// That of a shorter look, to be judged if this one is not available in time.
    fallback: Option<Box<Evidence>>,
}

type Escalation = Pin<Box<dyn Future<Output = Vec<Termination>>>>;

/// See the module.
pub struct SessionDriver<'o> {
    recorder: SessionRecorder<'o>,
    sources: SessionSources,
    ring: Option<AsyncFd<OwnedFd>>,
    drain: Interval,
    stalls: Interval,
    sample: Interval,
    status: Interval,
    hang: HangWatch,
    time_limit_at: Option<Instant>,
    max_idle: Option<Duration>,
    /// When the session had last worked, as of the last time that the limit was reached.
    idle_since_boot_ns: Option<u64>,
    evidence: Option<PendingEvidence>,
    stacks: bool,
    escalation: Option<Escalation>,
    /// The living processes, for the escalation.
    living: Rc<RefCell<Vec<ProcessId>>>,
    grace: Duration,
    /// Readable when the root has ended; see [`Self::watch_root`].
    root: Option<AsyncFd<OwnedFd>>,
}

impl<'o> SessionDriver<'o> {
    /// Begins to drive a session. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When the kernel's ring cannot be watched.
    pub fn new(
        recorder: SessionRecorder<'o>,
        sources: SessionSources,
        watch: &Watch,
        limits: TimeLimits,
    ) -> anyhow::Result<Self> {
        let stalls_every = (watch.stall_threshold / 4).clamp(Duration::from_millis(10), STALLS_EVERY);
        // Samples show a hang: at least eight in the time that makes one.
        let shortest = limits.max_idle.map_or(watch.hang_after, |limit| limit.min(watch.hang_after));
        let sample_every = watch.interval.min(shortest / 8).max(Duration::from_millis(100));
        Ok(Self {
            ring: sources.ring().context("cannot watch the kernel's ring")?,
            recorder,
            sources,
            drain: ticker(DRAIN_EVERY),
            stalls: ticker(stalls_every),
            sample: ticker(sample_every),
            status: ticker(STATUS_EVERY),
            hang: HangWatch::new(u64::try_from(watch.hang_after.as_nanos()).unwrap_or(u64::MAX)),
            time_limit_at: limits.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            max_idle: limits.max_idle,
            idle_since_boot_ns: None,
            evidence: None,
            stacks: watch.stacks,
            escalation: None,
            living: Rc::default(),
            grace: watch.grace,
            root: None,
        })
    }

    /// The session's state and trace.
    pub fn recorder(&mut self) -> &mut SessionRecorder<'o> {
        &mut self.recorder
    }

    /// Recorder and sources, to finish the session.
    pub fn into_parts(self) -> (SessionRecorder<'o>, SessionSources) {
        (self.recorder, self.sources)
    }

    /// The root.
    pub fn root(&self) -> ProcessId {
        self.sources.root()
    }

    /// Takes everything that has happened until now.
    pub fn catch_up(&mut self) {
        self.sources.catch_up(&mut self.recorder);
    }

    /// Makes a living process a member. False when it is gone.
    pub fn enroll(&mut self, process: ProcessId, origin: Origin) -> bool {
        self.sources.enroll(&mut self.recorder, process, origin)
    }

    /// Takes the ends that no event reported. After this, every process that counts as alive is alive.
    pub fn settle(&mut self) {
        self.sources.settle(&mut self.recorder);
    }

    /// Records an end by its wait status.
    pub fn ended(&mut self, process: ProcessId, status: WaitStatus) {
        sources::ended(&mut self.recorder, process, Some(status));
    }

    /// Watches a root that is not a child of the tracer: a pidfd reports its end, and the kernel's record or
    /// `/proc` its status.
    pub fn watch_root(&mut self) {
        let proc_root = ProcRoot::system();
        let root = PidFd::open(self.root(), |tgid| table::start_ticks(&proc_root, tgid));
        match root.and_then(|root| Ok(watched(root.into_fd())?)) {
            Ok(root) => self.root = Some(root),
            Err(PidFdError::Gone) => self.sources.root_ended(&mut self.recorder),
            Err(error) => self.recorder.notice(&format!("the root's end may not be seen: {error}")),
        }
    }

    /// Enlarges the full pipes of a hang, and records what was done.
    pub fn relieve(&mut self, diagnosis: &Diagnosis) {
        for text in relieve::relieve(diagnosis) {
            self.recorder.notice(&text);
            self.recorder.note("relieved", text);
        }
    }

    /// Waits for the processes that end with the root. Returns those that are still alive then, and which of
    /// these files each has open.
    pub async fn settle_leaked(&mut self, output: &[FileId]) -> Vec<LeakedProcess> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        loop {
            self.settle();
            let leaked = self.sources.leaked(&self.recorder, output);
            if leaked.is_empty() || Instant::now() >= deadline {
                return leaked;
            }
            tokio::time::sleep(SETTLE_EVERY).await;
        }
    }

    /// Does the next thing that is due.
    pub async fn step(&mut self) -> DriverEvent {
        tokio::select! {
            biased;
            () = readable(self.ring.as_ref()) => self.catch_up(),
            _ = self.drain.tick() => {
                self.catch_up();
                if self.is_idle() {
                    self.drain.reset_after(DRAIN_EVERY * IDLE_FACTOR);
                }
            }
            terminations = terminations(self.escalation.as_mut()) => {
                self.escalation = None;
                return DriverEvent::Termination(terminations);
            }
            () = root_ended(self.root.as_ref()) => {
                self.root = None;
                self.sources.root_ended(&mut self.recorder);
            }
            evidence = collected(self.evidence.as_mut()) => return self.judge(evidence),
            () = reached(self.time_limit_at) => {
                self.time_limit_at = None;
                return DriverEvent::TimeLimit;
            }
            _ = self.stalls.tick() => {
                // New processes first, so that the write of one is not a stranger's.
                self.catch_up();
                self.sources.find_stalls(&mut self.recorder);
                if self.is_idle() {
                    self.stalls.reset_after(self.stalls.period() * IDLE_FACTOR);
                }
            }
            _ = self.sample.tick() => {
                self.sources.sample(&mut self.recorder);
                return self.watch();
            }
            _ = self.status.tick() => {
                let status = self.recorder.status();
                self.recorder.emit(SessionEvent::Status(&status));
                if self.is_idle() {
                    self.status.reset_after(STATUS_EVERY * IDLE_FACTOR);
                }
            }
        }
        if self.escalation.is_some() {
            *self.living.borrow_mut() = self.recorder.alive();
        }
        DriverEvent::Nothing
    }

    /// Decides after a sample whether something has waited for too long.
    fn watch(&mut self) -> DriverEvent {
        let worked = self.recorder.state().tracker().last_work_boot_ns();
        if self.is_past_idle_limit() && self.escalation.is_none() && self.idle_since_boot_ns != Some(worked) {
            self.idle_since_boot_ns = Some(worked);
            return DriverEvent::IdleLimit;
        }
        let waiting = self.recorder.state().tracker().waiting();
        let now = clock::boot_ns();
        if !self.is_busy() && self.hang.is_due(now, waiting.iter().copied()) {
            self.diagnose(DiagnosisTrigger::NoProgress);
        }
        // Not a whole period late for the next one.
        if let Some(due_in_ns) = self.hang.next_due_in_ns(now, waiting) {
            let due_in = Duration::from_nanos(due_in_ns);
            if due_in < self.sample.period() {
                self.sample.reset_after(due_in.max(SAMPLES_APART));
            }
        }
        DriverEvent::Nothing
    }

    /// Nothing in the job has made progress for as long as is allowed.
    pub fn is_past_idle_limit(&self) -> bool {
        let worked = self.recorder.state().tracker().last_work_boot_ns();
        let idle = Duration::from_nanos(clock::boot_ns().saturating_sub(worked));
        self.max_idle.is_some_and(|limit| idle >= limit)
    }

    /// A diagnosis or an escalation is under way.
    fn is_busy(&self) -> bool {
        self.evidence.is_some() || self.escalation.is_some()
    }

    /// Nothing has moved for a while, and nothing waits for a result. Never without kernel events: a process
    /// that is born and gone between two polls of `/proc` would be missed.
    fn is_idle(&self) -> bool {
        if !self.sources.has_kernel() || self.is_busy() {
            return false;
        }
        let moved = self.recorder.state().tracker().last_progress_boot_ns();
        Duration::from_nanos(clock::boot_ns().saturating_sub(moved)) > IDLE_AFTER
    }

    /// Begins a diagnosis. One that is under way serves this trigger, too.
    pub fn diagnose(&mut self, trigger: DiagnosisTrigger) {
        let within = match trigger {
            DiagnosisTrigger::NoProgress | DiagnosisTrigger::IdleLimit => EVIDENCE_AT_LEISURE_WITHIN,
            DiagnosisTrigger::TimeLimit | DiagnosisTrigger::EndRequest => EVIDENCE_WITHIN,
        };
        let deadline = Instant::now() + within;
        if let Some(pending) = &mut self.evidence {
            pending.trigger = trigger;
            pending.deadline = deadline;
            return;
        }
        self.collect(trigger, deadline, QUIET_WINDOW, None);
    }

    fn collect(
        &mut self,
        trigger: DiagnosisTrigger,
        deadline: Instant,
        quiet_window: Duration,
        fallback: Option<Box<Evidence>>,
    ) {
        let id = self.recorder.id().to_string();
        let request = Request { ask: Ask::Session { id, members: self.recorder.alive() }, quiet_window };
        // What the kernel reported of pipes whose fds cannot be borrowed is added to the evidence afterwards.
        let (with_kernel, stacks) = (self.sources.has_kernel(), self.stacks);
        let evidence = tokio::task::spawn_blocking(move || {
            let mut evidence = look::collect(&request, with_kernel)?;
            if stacks {
                let first = diagnosis::diagnose(&evidence);
                look::add_stacks(&mut evidence, &first, STACKS_WITHIN);
            }
            Ok(evidence)
        });
        self.evidence = Some(PendingEvidence { trigger, deadline, evidence, fallback });
    }

    /// Moves the time limit: the job was stopped together with the tracer for this long.
    pub fn postpone_time_limit(&mut self, length: Duration) {
        self.time_limit_at = self.time_limit_at.and_then(|at| at.checked_add(length));
    }

    /// Begins to end these processes of the session: SIGINT, SIGTERM, SIGKILL, each waited for.
    pub fn terminate(&mut self, processes: Vec<ProcessId>) {
        if self.escalation.is_some() {
            return;
        }
        *self.living.borrow_mut() = processes;
        let living = Rc::clone(&self.living);
        let grace = self.grace;
        self.escalation =
            Some(Box::pin(
                async move { terminate::end(move || living.borrow().clone(), grace, |_| {}).await },
            ));
    }

    fn judge(&mut self, evidence: Option<Evidence>) -> DriverEvent {
        let Some(pending) = self.evidence.take() else { return DriverEvent::Nothing };
        let trigger = pending.trigger;
        let is_first = pending.fallback.is_none();
        let Some(mut evidence) = evidence.or(pending.fallback.map(|evidence| *evidence)) else {
            self.recorder.notice("no diagnosis: the evidence could not be collected in time");
            return DriverEvent::Diagnosis(trigger, None);
        };
        self.catch_up();
        self.sources.add_history(&self.recorder, &mut evidence);
        // What a thread does when its time-out comes may decide: then the look lasts until it has come.
        let can_wait = matches!(trigger, DiagnosisTrigger::NoProgress | DiagnosisTrigger::IdleLimit);
        if is_first
            && can_wait
            && let Some(ns) = diagnosis::decided_after(&evidence)
        {
            let window = Duration::from_nanos(ns) + QUIET_WINDOW;
            let deadline = Instant::now() + window + EVIDENCE_AT_LEISURE_WITHIN;
            self.collect(trigger, deadline, window, Some(Box::new(evidence)));
            return DriverEvent::Nothing;
        }
        let diagnosis = diagnosis::diagnose(&evidence);
        self.recorder.diagnosed(&diagnosis, trigger);
        DriverEvent::Diagnosis(trigger, Some(Box::new(diagnosis)))
    }
}

/// The evidence, once it is collected; `None` when its deadline was first. Never, when none is being
/// collected.
async fn collected(pending: Option<&mut PendingEvidence>) -> Option<Evidence> {
    let Some(pending) = pending else { return std::future::pending().await };
    tokio::select! {
        evidence = &mut pending.evidence => evidence.ok()?.ok(),
        () = sleep_until(pending.deadline) => None,
    }
}

async fn terminations(escalation: Option<&mut Escalation>) -> Vec<Termination> {
    match escalation {
        Some(escalation) => escalation.await,
        None => std::future::pending().await,
    }
}

/// The end of the root. Never, when it is not watched.
async fn root_ended(root: Option<&AsyncFd<OwnedFd>>) {
    match root {
        // It stays readable, so the caller must wait for it only once.
        Some(root) if root.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn ticker(every: Duration) -> Interval {
    let mut ticker = interval(every);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Ready when much is in the kernel's ring. Never, without one.
async fn readable(ring: Option<&AsyncFd<OwnedFd>>) {
    match ring {
        // An error would return at once and again; the timer drains the ring anyway.
        Some(ring) => match ring.ready(Interest::READABLE).await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
