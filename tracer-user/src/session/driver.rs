//! Following a session while it lives: what is due when, for `run`, `attach` and an adopted session alike.
//!
//! [`SessionDriver::step`] does one thing that is due and comes back; it can be dropped at any await without losing
//! anything, so that it fits beside other sources into a `select!`. Evidence for a diagnosis is gathered in
//! a thread of its own, so that the kernel's ring is emptied meanwhile. What is done about a hang comes
//! after the diagnosis has been handed to the observer, which makes it durable.

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

use super::clock;
use super::kernel_reader;
use super::observer::Observer;
use super::options::Watch;
use super::recorder::SessionRecorder;
use super::relieve;
use super::terminate;
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::escalation::Termination;
use crate::core::evidence::Evidence;
use crate::core::hang_watch::HangWatch;
use crate::core::identity::ProcessId;
use crate::core::summary::LeakedProcess;
use crate::procfs_view::table;
use crate::procfs_view::{self, Ask, CollectError, FileId, ProcRoot, Request};
use crate::signals::pidfd::{PidFd, Unavailable};
use crate::signals::watched::watched;

/// How often the kernel's ring is emptied when nothing wakes us; less waits there than it holds in that time.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How often blocked writes are looked for, at most.
const WALK_EVERY: Duration = Duration::from_millis(250);
/// How often the status line is told anew.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// A session in which nothing has moved for so long is looked at less often: what moves next is told a moment later.
const REST_AFTER: Duration = Duration::from_secs(5);
/// By how much less often.
const REST_FACTOR: u32 = 4;
/// Between the two readings of a diagnosis.
const QUIET_WINDOW: Duration = Duration::from_millis(400);
/// How long a diagnosis may take when something waits for it.
const LOOK_FOR: Duration = Duration::from_secs(2);
/// How long the session's processes may take to end after the root before they count as leaked.
const SETTLE: Duration = Duration::from_millis(200);

/// Why a diagnosis is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing has moved for long.
    NoProgress,
    /// The job's time is over.
    Timeout,
    /// The tracer was asked to end.
    AskedToEnd,
}

/// What a step came to, where somebody has to decide.
pub enum DriverEvent {
    /// Nothing to decide.
    Nothing,
    /// The job's time is over.
    TimeIsOver,
    /// A diagnosis is there, told and durable; `None` when nothing could be seen in time.
    Looked(Why, Option<Box<Diagnosis>>),
    /// The ladder was climbed.
    Termination(Vec<Termination>),
}

struct Look {
    why: Why,
    until: Instant,
    evidence: JoinHandle<Result<Evidence, CollectError>>,
}

/// See the module.
pub struct SessionDriver {
    /// The session.
    pub recorder: SessionRecorder,
    ring: Option<AsyncFd<OwnedFd>>,
    drain: Interval,
    walk: Interval,
    sample: Interval,
    status: Interval,
    hang: HangWatch,
    time_is_over_at: Option<Instant>,
    look: Option<Look>,
    escalate: Option<Pin<Box<dyn Future<Output = Vec<Termination>>>>>,
    /// ProcessKey lives, for the ladder.
    living: Rc<RefCell<Vec<ProcessId>>>,
    grace: Duration,
    /// Readable when the root has ended; see [`Self::watch_root`].
    root: Option<AsyncFd<OwnedFd>>,
}

impl SessionDriver {
    /// Begins to follow. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When the kernel's ring cannot be watched.
    pub fn new(recorder: SessionRecorder, watch: &Watch, timeout: Option<Duration>) -> anyhow::Result<Self> {
        let walk_every = (watch.stall_threshold / 4).clamp(Duration::from_millis(10), WALK_EVERY);
        // A hang is seen by its samples: at least four in the time that makes one.
        let sample_every = watch.interval.min(watch.hang_after / 4).max(Duration::from_millis(100));
        Ok(Self {
            ring: recorder.ring().context("cannot watch the kernel's ring")?,
            recorder,
            drain: ticker(DRAIN_EVERY),
            walk: ticker(walk_every),
            sample: ticker(sample_every),
            status: ticker(STATUS_EVERY),
            hang: HangWatch::new(u64::try_from(watch.hang_after.as_nanos()).unwrap_or(u64::MAX)),
            time_is_over_at: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            look: None,
            escalate: None,
            living: Rc::default(),
            grace: watch.grace,
            root: None,
        })
    }

    /// The root is no child of ours, so nobody hands us its end: a pidfd tells of it, and the kernel's record or
    /// `/proc` how it was.
    pub fn watch_root(&mut self, observer: &mut dyn Observer) {
        let proc_root = ProcRoot::system();
        let root = PidFd::open(self.recorder.root(), |tgid| table::start_ticks(&proc_root, tgid));
        match root.and_then(|root| Ok(watched(root.into_fd())?)) {
            Ok(root) => self.root = Some(root),
            Err(Unavailable::Gone) => self.recorder.root_ended(observer),
            Err(error) => observer.notice(&format!("the root's end may not be seen: {error}")),
        }
    }

    /// Enlarges the full pipes of a hang, and notes what was done.
    pub fn relieve(&mut self, diagnosis: &Diagnosis, observer: &mut dyn Observer) {
        for text in relieve::relieve(diagnosis) {
            observer.notice(&text);
            self.recorder.note("relieved", text, observer);
        }
    }

    /// Goes on until what was about to end with the root has ended; gives who is still alive then, and which of
    /// these files each has open.
    pub async fn settle(&mut self, output: &[FileId], observer: &mut dyn Observer) -> Vec<LeakedProcess> {
        let deadline = Instant::now() + SETTLE;
        loop {
            self.recorder.settle(observer);
            let leaked = self.recorder.leaked(output);
            if leaked.is_empty() || Instant::now() >= deadline {
                return leaked;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Does the next thing that is due.
    pub async fn step(&mut self, observer: &mut dyn Observer) -> DriverEvent {
        tokio::select! {
            biased;
            () = ready(self.ring.as_ref()) => self.recorder.catch_up(observer),
            _ = self.drain.tick() => {
                self.recorder.catch_up(observer);
                if self.rests() {
                    self.drain.reset_after(DRAIN_EVERY * REST_FACTOR);
                }
            }
            terminations = terminations(self.escalate.as_mut()) => {
                self.escalate = None;
                return DriverEvent::Termination(terminations);
            }
            () = root_ended(self.root.as_ref()) => {
                self.root = None;
                self.recorder.root_ended(observer);
            }
            evidence = looked(self.look.as_mut()) => return self.judge(evidence, observer),
            () = over(self.time_is_over_at) => {
                self.time_is_over_at = None;
                return DriverEvent::TimeIsOver;
            }
            _ = self.walk.tick() => {
                // First who is new, so that a new process's write is not a stranger's.
                self.recorder.catch_up(observer);
                self.recorder.look_for_stalls(observer);
                if self.rests() {
                    self.walk.reset_after(self.walk.period() * REST_FACTOR);
                }
            }
            _ = self.sample.tick() => {
                self.recorder.sample(observer);
                let progress = self.recorder.live().state().tracker().last_work_boot_ns();
                if self.look.is_none() && self.escalate.is_none() && self.hang.is_due(clock::boot_ns(), progress) {
                    self.diagnose(Why::NoProgress);
                }
            }
            _ = self.status.tick() => {
                observer.status(&self.recorder.status());
                if self.rests() {
                    self.status.reset_after(STATUS_EVERY * REST_FACTOR);
                }
            }
        }
        if self.escalate.is_some() {
            *self.living.borrow_mut() = self.recorder.alive();
        }
        DriverEvent::Nothing
    }

    /// Nothing has moved for a while, nor is anybody waiting for an answer. Never without kernel events: who is born and gone
    /// between two looks at `/proc` would be missed.
    fn rests(&self) -> bool {
        if self.recorder.kernel().is_none() {
            return false;
        }
        let moved = self.recorder.live().state().tracker().last_progress_boot_ns();
        let still = Duration::from_nanos(clock::boot_ns().saturating_sub(moved));
        still > REST_AFTER && self.look.is_none() && self.escalate.is_none()
    }

    /// Begins a diagnosis. One that goes on already is taken for this one.
    pub fn diagnose(&mut self, why: Why) {
        let until = Instant::now() + LOOK_FOR;
        if let Some(look) = &mut self.look {
            look.why = why;
            look.until = until;
            return;
        }
        let id = self.recorder.live().id().to_string();
        let request =
            Request { ask: Ask::Session { id, members: self.recorder.alive() }, quiet_window: QUIET_WINDOW };
        // What the kernel told of pipes whose fds cannot be borrowed is added when the evidence is there.
        let with_kernel = self.recorder.kernel().is_some();
        let evidence = tokio::task::spawn_blocking(move || {
            procfs_view::collect(&ProcRoot::system(), &request, &mut kernel_reader::reader(with_kernel))
        });
        self.look = Some(Look { why, until, evidence });
    }

    /// The job and we were stopped for so long: that was not its time.
    pub fn put_off(&mut self, length: Duration) {
        self.time_is_over_at = self.time_is_over_at.and_then(|at| at.checked_add(length));
    }

    /// Begins to end the session's processes: SIGINT, SIGTERM, SIGKILL, each waited for.
    pub fn end(&mut self, processes: Vec<ProcessId>) {
        if self.escalate.is_some() {
            return;
        }
        *self.living.borrow_mut() = processes;
        let living = Rc::clone(&self.living);
        let grace = self.grace;
        self.escalate =
            Some(Box::pin(
                async move { terminate::end(move || living.borrow().clone(), grace, |_| {}).await },
            ));
    }

    fn judge(&mut self, evidence: Option<Evidence>, observer: &mut dyn Observer) -> DriverEvent {
        let why = self.look.take().map_or(Why::NoProgress, |look| look.why);
        let Some(mut evidence) = evidence else {
            observer.notice("what hangs could not be looked at in time");
            return DriverEvent::Looked(why, None);
        };
        self.recorder.catch_up(observer);
        self.recorder.add_history(&mut evidence);
        let diagnosis = diagnosis::diagnose(&evidence);
        self.recorder.diagnosed(serde_json::to_value(&diagnosis).unwrap_or_default(), observer);
        observer.diagnosed(&diagnosis, why);
        DriverEvent::Looked(why, Some(Box::new(diagnosis)))
    }
}

/// The evidence, once it is there; `None` when its time was over first. For ever, when none is gathered.
async fn looked(look: Option<&mut Look>) -> Option<Evidence> {
    let Some(look) = look else { return std::future::pending().await };
    tokio::select! {
        evidence = &mut look.evidence => evidence.ok()?.ok(),
        () = sleep_until(look.until) => None,
    }
}

async fn terminations(
    escalate: Option<&mut Pin<Box<dyn Future<Output = Vec<Termination>>>>>,
) -> Vec<Termination> {
    match escalate {
        Some(escalate) => escalate.await,
        None => std::future::pending().await,
    }
}

/// The root's end; never without somebody who watches it.
async fn root_ended(root: Option<&AsyncFd<OwnedFd>>) {
    match root {
        // It stays readable: whoever waits here looks once.
        Some(root) if root.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

async fn over(at: Option<Instant>) {
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

/// Ready when the kernel's ring has much to tell; never without one.
async fn ready(ring: Option<&AsyncFd<OwnedFd>>) {
    match ring {
        // An error would come again at once; the timer empties the ring all the same.
        Some(ring) => match ring.ready(Interest::READABLE).await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
