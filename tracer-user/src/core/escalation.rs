//! The ladder that ends processes: SIGINT, a wait, SIGTERM, a wait, SIGKILL, a wait. Which rungs can work on a
//! process is read off its snapshot before they are tried.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::ProcessId;
use super::signal::{Signal, SignalSet};
use super::snapshot::{ProcSnapshot, ProcState};
use super::text::ByteString;

/// A rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EscalationStep {
    /// SIGINT, as Ctrl-C would.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl EscalationStep {
    /// All, in the order they are climbed.
    pub const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::Kill];

    /// The signal that is sent.
    pub fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// What is in the way of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The process ignores it.
    Ignored,
    /// Its main thread blocks it, so it takes effect only if another thread does not.
    Blocked,
    /// It is stopped: it acts on the signal once it is continued. SIGKILL does not wait for that.
    Stopped,
    /// A debugger holds it: the debugger decides. SIGKILL does not ask.
    Traced,
    /// It sleeps without listening to signals (D): until what it waits for happens, none may end it.
    Uninterruptible,
    /// It has ended already, and its parent has not collected it: no signal does anything to it.
    Zombie,
}

impl Obstacle {
    /// In words, for after "pid 7".
    pub fn words(self) -> &'static str {
        match self {
            Self::Ignored => "ignores it",
            Self::Blocked => "blocks it",
            Self::Stopped => "is stopped",
            Self::Traced => "is held by a debugger",
            Self::Uninterruptible => "sleeps uninterruptibly (D)",
            Self::Zombie => "is a zombie that its parent has not collected",
        }
    }
}

/// Everything that is in the way of `rung` ending this process; empty when nothing is seen to be. What could
/// not be read is no obstacle.
pub fn obstacles(step: EscalationStep, process: &ProcSnapshot) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let has = |set: Option<SignalSet>| set.is_some_and(|set| set.contains(step.signal()));
    if step != EscalationStep::Kill {
        if has(process.sig_ign) {
            found.push(Obstacle::Ignored);
        }
        if has(process.sig_blk) {
            found.push(Obstacle::Blocked);
        }
    }
    match process.state {
        Some(ProcState::Stopped) if step != EscalationStep::Kill => found.push(Obstacle::Stopped),
        Some(ProcState::TracingStop) if step != EscalationStep::Kill => found.push(Obstacle::Traced),
        Some(ProcState::DiskSleep) => found.push(Obstacle::Uninterruptible),
        // Of a main thread that ended before its siblings `/proc` says the same.
        Some(ProcState::Zombie) if process.threads.is_none_or(|threads| threads <= 1) => {
            found.push(Obstacle::Zombie);
        }
        _ => {}
    }
    found
}

impl Obstacle {
    /// It stands for good: the signal was thrown away when it was sent.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ignored | Self::Zombie)
    }

    /// It may have been there for an instant only, and the signal waits until it is gone: a shell blocks signals
    /// while it starts a program, and sleeps uninterruptibly until that program runs.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Blocked | Self::Traced | Self::Uninterruptible)
    }
}

/// What became of a process on the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It ended after this rung, and before the next.
    Ended {
        /// The rung.
        by: EscalationStep,
    },
    /// It ended before anything was sent.
    WasGone,
    /// It outlived them all.
    Survived {
        /// What was seen to be in the way at last.
        obstacles: Vec<Obstacle>,
    },
    /// The system did not let us.
    Refused {
        /// What it said.
        why: String,
    },
}

/// A process on the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Termination {
    /// Its number.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// Its name.
    pub comm: Option<ByteString>,
    /// The rungs that were tried on it, each with what was seen in its way.
    pub tried: Vec<Tried>,
    /// It was stopped and was continued, so that it could act on a signal.
    pub continued: bool,
    /// How it ended, or not.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A rung that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The rung.
    pub step: EscalationStep,
    /// What was seen in its way.
    pub obstacles: Vec<Obstacle>,
}

impl Termination {
    /// Which process.
    pub fn process(&self) -> ProcessId {
        ProcessId { tgid: self.pid, start_ticks: self.start_ticks }
    }

    /// It is not there any more.
    pub fn is_gone(&self) -> bool {
        matches!(self.outcome, Outcome::Ended { .. } | Outcome::WasGone)
    }

    /// One line about it.
    pub fn sentence(&self) -> String {
        let name = self.comm.as_ref().map_or_else(|| "?".to_owned(), ByteString::escaped);
        let what = match &self.outcome {
            Outcome::Ended { by } => format!("ended by {}", by.signal().name()),
            Outcome::WasGone => "was gone".to_owned(),
            Outcome::Refused { why } => format!("could not be signalled: {why}"),
            Outcome::Survived { obstacles } if obstacles.is_empty() => "survived SIGKILL".to_owned(),
            Outcome::Survived { obstacles } => {
                let words: Vec<_> = obstacles.iter().map(|o| o.words()).collect();
                format!("survived: it {}", words.join(" and "))
            }
        };
        let in_vain: Vec<_> = self
            .tried
            .iter()
            .filter(|tried| tried.obstacles.iter().any(|o| o.is_final() || o.may_pass()))
            .map(|tried| {
                let words: Vec<_> = tried.obstacles.iter().map(|o| o.words()).collect();
                format!("{} in vain: it {}", tried.step.signal().name(), words.join(" and "))
            })
            .collect();
        let continued = if self.continued { "; continued, being stopped" } else { "" };
        let in_vain = if in_vain.is_empty() { String::new() } else { format!(" ({})", in_vain.join("; ")) };
        format!("{name} (pid {}) {what}{continued}{in_vain}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::signal::SignalSet;

    fn process() -> ProcSnapshot {
        ProcSnapshot::unread(ProcessId { tgid: 7, start_ticks: 1 })
    }

    #[test]
    fn every_obstacle_is_given() {
        let mut it = process();
        it.sig_ign = Some(SignalSet(1 << 1));
        it.sig_blk = Some(SignalSet(1 << 1 | 1 << 14));
        it.state = Some(ProcState::Stopped);
        assert_eq!(
            obstacles(EscalationStep::Interrupt, &it),
            [Obstacle::Ignored, Obstacle::Blocked, Obstacle::Stopped]
        );
        assert_eq!(obstacles(EscalationStep::Terminate, &it), [Obstacle::Blocked, Obstacle::Stopped]);
        assert_eq!(obstacles(EscalationStep::Kill, &it), []);
    }

    #[test]
    fn only_d_and_z_stand_in_the_way_of_sigkill() {
        let mut it = process();
        it.state = Some(ProcState::DiskSleep);
        assert_eq!(obstacles(EscalationStep::Kill, &it), [Obstacle::Uninterruptible]);
        it.state = Some(ProcState::Zombie);
        assert_eq!(obstacles(EscalationStep::Kill, &it), [Obstacle::Zombie]);
        it.threads = Some(2);
        assert_eq!(obstacles(EscalationStep::Kill, &it), []);
        it.state = Some(ProcState::TracingStop);
        assert_eq!(obstacles(EscalationStep::Kill, &it), []);
    }

    #[test]
    fn what_is_unknown_is_no_obstacle() {
        for step in EscalationStep::ALL {
            assert_eq!(obstacles(step, &process()), []);
        }
    }

    #[test]
    fn the_sentence_tells_what_was_in_vain() {
        let it = Termination {
            pid: 7,
            start_ticks: 1,
            comm: Some(ByteString(b"wor\x1bker".to_vec())),
            tried: vec![
                Tried { step: EscalationStep::Interrupt, obstacles: vec![Obstacle::Ignored] },
                Tried { step: EscalationStep::Terminate, obstacles: vec![] },
            ],
            continued: false,
            outcome: Outcome::Ended { by: EscalationStep::Terminate },
        };
        assert_eq!(it.sentence(), "wor\\x1bker (pid 7) ended by SIGTERM (SIGINT in vain: it ignores it)");
    }
}
