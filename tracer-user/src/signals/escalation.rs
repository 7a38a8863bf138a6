//! Climbing the ladder over pidfds: SIGINT, wait, SIGTERM, wait, SIGKILL, wait, each wait bounded.
//!
//! Who is meant is asked again and again while it is climbed, so that children that appear meanwhile are
//! included; each gets at once the rung that all are on. A process is opened once and checked after it was
//! opened; whoever cannot be proved to be meant is left alone and reported.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::pidfd::{PidFd, Unavailable};
use crate::core::escalation::{EscalationStep, Obstacle, Outcome, Termination, Tried, obstacles};
use crate::core::identity::ProcessId;
use crate::core::snapshot::{ProcSnapshot, ProcState};

/// How often it is looked who has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How often it is asked who is meant.
const ASK: Duration = Duration::from_millis(50);
/// What may pass and has not after so long stands.
const PATIENCE: Duration = Duration::from_millis(500);
/// SIGKILL is given at least so long: a process with much memory takes a while to go.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Whom the ladder ends, and what `/proc` says of them.
pub trait Subject {
    /// The processes meant that live now, in the order in which they are to be signalled.
    fn members(&mut self) -> Vec<ProcSnapshot>;

    /// Field 22 of `/proc/PID/stat`; `Ok(None)` when there is no such process.
    fn start_ticks(&mut self, tgid: u32) -> io::Result<Option<u64>>;
}

/// Something that happens on the way.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// These processes are sent this signal now.
    EscalationStep(EscalationStep, usize),
    /// This one is done with.
    Done(&'a Termination),
}

struct Ascent {
    /// `None`: it could not be had.
    process: Option<PidFd>,
    record: Termination,
    /// When the last signal was sent.
    raised_at: Instant,
    done: bool,
}

/// Ends the processes of `subject`, waiting at most `grace` after each rung. Gives every process that was
/// seen, in order of appearance, with what ended it.
pub async fn escalate(
    subject: &mut dyn Subject,
    grace: Duration,
    mut tell: impl FnMut(Step<'_>),
) -> Vec<Termination> {
    let mut ascents: BTreeMap<ProcessId, Ascent> = BTreeMap::new();
    let mut order = Vec::new();
    let mut open = |subject: &mut dyn Subject, ascents: &mut BTreeMap<_, _>| {
        let members = subject.members();
        for member in &members {
            let id = member.process();
            if !ascents.contains_key(&id) && !is_untouchable(id.tgid) {
                ascents.insert(id, Ascent::open(member, subject));
                order.push(id);
            }
        }
        members
    };
    for step in EscalationStep::ALL {
        let members = open(subject, &mut ascents);
        look(&mut ascents, &mut tell);
        let left = ascents.values().filter(|ascent| !ascent.done).count();
        if left == 0 {
            break;
        }
        tell(Step::EscalationStep(step, left));
        raise(&mut ascents, &members, step);
        let deadline =
            Instant::now() + if step == EscalationStep::Kill { grace.max(KILL_GRACE) } else { grace };
        let mut ask_at = Instant::now() + ASK;
        loop {
            look(&mut ascents, &mut tell);
            let now = Instant::now();
            if now >= ask_at {
                let members = open(subject, &mut ascents);
                look_again(&mut ascents, &members);
                // Whoever is new gets the rung that all are on.
                raise(&mut ascents, &members, step);
                ask_at = now + ASK;
            }
            let worth_waiting = ascents.values().any(|ascent| !ascent.done && ascent.may_end_by(step));
            if now >= deadline || !worth_waiting {
                break;
            }
            sleep(LOOK.min(deadline - now)).await;
        }
    }
    let members = open(subject, &mut ascents);
    look(&mut ascents, &mut tell);
    for ascent in ascents.values_mut().filter(|ascent| !ascent.done) {
        let seen = members.iter().find(|member| member.process() == ascent.record.process());
        let obstacles = seen.map_or_else(Vec::new, |member| obstacles(EscalationStep::Kill, member));
        ascent.record.outcome = Outcome::Survived { obstacles };
        tell(Step::Done(&ascent.record));
    }
    order.iter().filter_map(|id| ascents.remove(id)).map(|ascent| ascent.record).collect()
}

/// Ourselves, and init: whatever the subject says.
fn is_untouchable(tgid: u32) -> bool {
    tgid <= 1 || tgid == std::process::id()
}

impl Ascent {
    fn open(member: &ProcSnapshot, subject: &mut dyn Subject) -> Self {
        let id = member.process();
        let mut record = Termination {
            pid: id.tgid,
            start_ticks: id.start_ticks,
            comm: member.comm.clone(),
            tried: Vec::new(),
            continued: false,
            outcome: Outcome::Survived { obstacles: Vec::new() },
        };
        let raised_at = Instant::now();
        match PidFd::open(id, |tgid| subject.start_ticks(tgid)) {
            Ok(process) => return Self { process: Some(process), record, raised_at, done: false },
            Err(Unavailable::Gone) => record.outcome = Outcome::WasGone,
            Err(why) => record.outcome = Outcome::Refused { why: why.to_string() },
        }
        Self { process: None, record, raised_at, done: true }
    }

    /// Sends the rung's signal, and SIGCONT to a stopped process, which would not act on it otherwise.
    fn raise(&mut self, step: EscalationStep, seen: Option<&ProcSnapshot>) {
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
            // It ended on its own, or by the rung before: the look says which.
            Ok(false) => return,
            Err(error) => {
                self.record.outcome = Outcome::Refused { why: error.to_string() };
                self.done = true;
                return;
            }
        }
        if stopped && step != EscalationStep::Kill && !obstacles.contains(&Obstacle::Ignored) {
            self.record.continued |= process.send(Signal::CONT).unwrap_or(false);
        }
        self.raised_at = Instant::now();
        self.record.tried.push(Tried { step, obstacles });
    }

    /// Whether it is worth waiting for.
    fn may_end_by(&self, step: EscalationStep) -> bool {
        let lasting = self.raised_at.elapsed() >= PATIENCE;
        let stands = |obstacle: &Obstacle| obstacle.is_final() || lasting && obstacle.may_pass();
        self.record
            .tried
            .last()
            .is_some_and(|tried| tried.step == step && !tried.obstacles.iter().any(stands))
    }
}

/// Keeps of the obstacles that may pass those that were there all the time.
fn look_again(ascents: &mut BTreeMap<ProcessId, Ascent>, members: &[ProcSnapshot]) {
    for member in members {
        let ascent = ascents.get_mut(&member.process()).filter(|ascent| !ascent.done);
        if let Some(tried) = ascent.and_then(|ascent| ascent.record.tried.last_mut()) {
            let now = obstacles(tried.step, member);
            tried.obstacles.retain(|obstacle| !obstacle.may_pass() || now.contains(obstacle));
        }
    }
}

/// Takes note of those that have ended.
fn look(ascents: &mut BTreeMap<ProcessId, Ascent>, tell: &mut impl FnMut(Step<'_>)) {
    for ascent in ascents.values_mut().filter(|ascent| !ascent.done) {
        let ended = ascent.process.as_ref().is_some_and(|process| process.has_ended().unwrap_or(false));
        if ended {
            let by = ascent.record.tried.last().map(|tried| tried.step);
            ascent.record.outcome = by.map_or(Outcome::WasGone, |by| Outcome::Ended { by });
            if let Some(last) = ascent.record.tried.last_mut() {
                last.obstacles.retain(|obstacle| !obstacle.may_pass());
            }
            ascent.done = true;
            tell(Step::Done(&ascent.record));
        }
    }
}

/// Sends the rung's signal to everybody who has not had it, in the order in which they are given.
fn raise(ascents: &mut BTreeMap<ProcessId, Ascent>, members: &[ProcSnapshot], step: EscalationStep) {
    let not_yet =
        |ascent: &Ascent| !ascent.done && ascent.record.tried.last().is_none_or(|tried| tried.step != step);
    for member in members {
        if let Some(ascent) = ascents.get_mut(&member.process()).filter(|ascent| not_yet(ascent)) {
            ascent.raise(step, Some(member));
        }
    }
    // Those that are not shown any more may live all the same: their pidfds know.
    for ascent in ascents.values_mut().filter(|ascent| not_yet(ascent)) {
        ascent.raise(step, None);
    }
}
