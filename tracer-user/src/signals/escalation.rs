//! The escalation over pidfds: SIGINT, wait, SIGTERM, wait, SIGKILL, wait, each wait bounded.
//!
//! The processes to end are listed again and again meanwhile, so that children that appear are included. Each
//! gets the present step at once. A process is opened once, and checked after it was opened. One whose
//! identity cannot be proven is left alone and reported.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rustix::process::Signal;
use strum::VariantArray as _;
use tokio::time::{Instant, sleep};

use super::pidfd::{PidFd, PidFdError};
use crate::core::escalation::{
    EscalationAttempt, EscalationStep, Obstacle, Termination, TerminationOutcome, obstacles,
};
use crate::core::identity::ProcessId;
use crate::core::snapshot::{ProcSnapshot, ProcState};

/// How often ended processes are looked for.
const CHECK_EVERY: Duration = Duration::from_millis(10);
/// How often the processes to end are listed.
const LIST_EVERY: Duration = Duration::from_millis(50);
/// An obstacle that may pass, and has not after this time, counts as lasting.
const PATIENCE: Duration = Duration::from_millis(500);
/// SIGKILL is waited for at least this long: a process with much memory takes a while to end.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// The processes that an escalation ends, as `/proc` shows them.
pub trait Subject {
    /// The living processes to end, in the order in which they are to be signaled.
    fn members(&mut self) -> Vec<ProcSnapshot>;

    /// Field 22 of `/proc/PID/stat`; `Ok(None)` when there is no such process.
    fn start_ticks(&mut self, tgid: u32) -> io::Result<Option<u64>>;
}

/// The progress of an escalation.
#[derive(Clone, Copy, Debug)]
pub enum EscalationEvent<'a> {
    /// This step begins, for this number of processes.
    Step(EscalationStep, usize),
    /// The result for one process.
    Done(&'a Termination),
}

/// A process that is to end.
struct Target {
    /// `None`: it could not be opened.
    process: Option<PidFd>,
    record: Termination,
    /// When the last signal was sent.
    signaled_at: Instant,
    done: bool,
}

/// Ends the processes of `subject`, and waits at most `grace` after each step. Returns the result for every
/// process that was seen, in order of appearance.
pub async fn escalate(
    subject: &mut dyn Subject,
    grace: Duration,
    mut report: impl FnMut(EscalationEvent<'_>),
) -> Vec<Termination> {
    let mut targets: BTreeMap<ProcessId, Target> = BTreeMap::new();
    let mut order = Vec::new();
    let mut open = |subject: &mut dyn Subject, targets: &mut BTreeMap<_, _>| {
        let members = subject.members();
        for member in &members {
            let id = member.process();
            if !targets.contains_key(&id) && !is_untouchable(id.tgid) {
                targets.insert(id, Target::open(member, subject));
                order.push(id);
            }
        }
        members
    };
    for step in EscalationStep::VARIANTS.iter().copied() {
        let members = open(subject, &mut targets);
        check_ended(&mut targets, &mut report);
        let left = targets.values().filter(|target| !target.done).count();
        if left == 0 {
            break;
        }
        report(EscalationEvent::Step(step, left));
        signal_all(&mut targets, &members, step);
        let deadline =
            Instant::now() + if step == EscalationStep::Kill { grace.max(KILL_GRACE) } else { grace };
        let mut list_at = Instant::now() + LIST_EVERY;
        loop {
            check_ended(&mut targets, &mut report);
            let now = Instant::now();
            if now >= list_at {
                let members = open(subject, &mut targets);
                update_obstacles(&mut targets, &members);
                // New processes get the present step.
                signal_all(&mut targets, &members, step);
                list_at = now + LIST_EVERY;
            }
            let worth_waiting = targets.values().any(|target| !target.done && target.may_end_by(step));
            if now >= deadline || !worth_waiting {
                break;
            }
            sleep(CHECK_EVERY.min(deadline - now)).await;
        }
    }
    let members = open(subject, &mut targets);
    check_ended(&mut targets, &mut report);
    for target in targets.values_mut().filter(|target| !target.done) {
        let seen = members.iter().find(|member| member.process() == target.record.process());
        let obstacles = seen.map_or_else(Vec::new, |member| obstacles(EscalationStep::Kill, member));
        target.record.outcome = TerminationOutcome::Survived { obstacles };
        report(EscalationEvent::Done(&target.record));
    }
    order.iter().filter_map(|id| targets.remove(id)).map(|target| target.record).collect()
}

/// This process and init are never signaled, whatever the subject lists.
fn is_untouchable(tgid: u32) -> bool {
    tgid <= 1 || tgid == std::process::id()
}

impl Target {
    fn open(member: &ProcSnapshot, subject: &mut dyn Subject) -> Self {
        let id = member.process();
        let mut record = Termination {
            pid: id.tgid,
            start_ticks: id.start_ticks,
            comm: member.comm.clone(),
            tried: Vec::new(),
            continued: false,
            outcome: TerminationOutcome::Survived { obstacles: Vec::new() },
        };
        let signaled_at = Instant::now();
        match PidFd::open(id, |tgid| subject.start_ticks(tgid)) {
            Ok(process) => return Self { process: Some(process), record, signaled_at, done: false },
            Err(PidFdError::Gone) => record.outcome = TerminationOutcome::WasGone,
            Err(why) => record.outcome = TerminationOutcome::Refused { why: why.to_string() },
        }
        Self { process: None, record, signaled_at, done: true }
    }

    /// Sends the signal of a step, and SIGCONT to a stopped process, which would not act on it otherwise.
    fn signal(&mut self, step: EscalationStep, seen: Option<&ProcSnapshot>) {
        let Some(process) = &self.process else { return };
        let signal = match step {
            EscalationStep::Interrupt => Signal::INT,
            EscalationStep::Terminate => Signal::TERM,
            EscalationStep::Kill => Signal::KILL,
        };
        let obstacles = seen.map_or_else(Vec::new, |member| obstacles(step, member));
        let stopped = seen.is_some_and(|member| member.state == Some(ProcState::Stopped));
        match process.send(signal) {
            Ok(true) => {}
            // It ended by itself, or by the step before. The next check says which.
            Ok(false) => return,
            Err(error) => {
                self.record.outcome = TerminationOutcome::Refused { why: error.to_string() };
                self.done = true;
                return;
            }
        }
        if stopped && step != EscalationStep::Kill && !obstacles.contains(&Obstacle::Ignored) {
            self.record.continued |= process.send(Signal::CONT).unwrap_or(false);
        }
        self.signaled_at = Instant::now();
        self.record.tried.push(EscalationAttempt { step, obstacles });
    }

    /// It is worth waiting for.
    fn may_end_by(&self, step: EscalationStep) -> bool {
        let lasting = self.signaled_at.elapsed() >= PATIENCE;
        let prevents = |obstacle: &Obstacle| obstacle.is_final() || lasting && obstacle.may_pass();
        self.record
            .tried
            .last()
            .is_some_and(|tried| tried.step == step && !tried.obstacles.iter().any(prevents))
    }
}

/// Drops the obstacles that may pass and have passed.
fn update_obstacles(targets: &mut BTreeMap<ProcessId, Target>, members: &[ProcSnapshot]) {
    for member in members {
        let target = targets.get_mut(&member.process()).filter(|target| !target.done);
        if let Some(tried) = target.and_then(|target| target.record.tried.last_mut()) {
            let now = obstacles(tried.step, member);
            tried.obstacles.retain(|obstacle| !obstacle.may_pass() || now.contains(obstacle));
        }
    }
}

/// Records the processes that have ended.
fn check_ended(targets: &mut BTreeMap<ProcessId, Target>, report: &mut impl FnMut(EscalationEvent<'_>)) {
    for target in targets.values_mut().filter(|target| !target.done) {
        let ended = target.process.as_ref().is_some_and(|process| process.has_ended().unwrap_or(false));
        if ended {
            let by = target.record.tried.last().map(|tried| tried.step);
            target.record.outcome =
                by.map_or(TerminationOutcome::WasGone, |by| TerminationOutcome::Ended { by });
            if let Some(last) = target.record.tried.last_mut() {
                last.obstacles.retain(|obstacle| !obstacle.may_pass());
            }
            target.done = true;
            report(EscalationEvent::Done(&target.record));
        }
    }
}

/// Sends the signal of a step to every process that has not received it, in the order of `members`.
fn signal_all(targets: &mut BTreeMap<ProcessId, Target>, members: &[ProcSnapshot], step: EscalationStep) {
    let not_yet =
        |target: &Target| !target.done && target.record.tried.last().is_none_or(|tried| tried.step != step);
    for member in members {
        if let Some(target) = targets.get_mut(&member.process()).filter(|target| not_yet(target)) {
            target.signal(step, Some(member));
        }
    }
    // Processes that are not listed any more may still live; their pidfds know.
    for target in targets.values_mut().filter(|target| not_yet(target)) {
        target.signal(step, None);
    }
}
