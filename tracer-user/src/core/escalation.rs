//! The escalation that ends processes: SIGINT, a wait, SIGTERM, a wait, SIGKILL, a wait. The snapshot of a
//! process shows which steps can work on it before they are tried.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::identity::ProcessId;
use super::signal::{Signal, SignalSet};
use super::snapshot::{ProcSnapshot, ProcState};
use super::text::ByteString;

/// A step of the escalation. The variants are in the order in which they are taken.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, VariantArray,
)]
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
    /// The signal that is sent.
    pub fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// What prevents a signal from ending a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The process ignores it.
    Ignored,
    /// Its main thread blocks it, so it takes effect only if another thread does not.
    Blocked,
    /// It is stopped: it acts on the signal once it is continued. SIGKILL does not wait for that.
    Stopped,
    /// A debugger holds it, and decides about the signal. Not about SIGKILL.
    Traced,
    /// It sleeps uninterruptibly (D): no signal ends it before what it waits for happens.
    Uninterruptible,
    /// It has ended already, and its parent has not reaped it: no signal has an effect.
    Zombie,
}

impl Obstacle {
    /// In words, to follow "pid 7".
    pub fn words(self) -> &'static str {
        match self {
            Self::Ignored => "ignores it",
            Self::Blocked => "blocks it",
            Self::Stopped => "is stopped",
            Self::Traced => "is held by a debugger",
            Self::Uninterruptible => "sleeps uninterruptibly (D)",
            Self::Zombie => "is a zombie that its parent has not reaped",
        }
    }
}

/// Everything that prevents a step from ending this process; empty when nothing is known to. A value that
/// could not be read is no obstacle.
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
        // `/proc` shows the same for a main thread that ended before the other threads.
        Some(ProcState::Zombie) if process.threads.is_none_or(|threads| threads <= 1) => {
            found.push(Obstacle::Zombie);
        }
        _ => {}
    }
    found
}

impl Obstacle {
    /// It does not pass: the signal was discarded when it was sent.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ignored | Self::Zombie)
    }

    /// It may be momentary, and the signal stays pending until it has passed: a shell blocks signals while it
    /// starts a program, and sleeps uninterruptibly until that program runs.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Blocked | Self::Traced | Self::Uninterruptible)
    }
}

/// The outcome of an escalation for one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TerminationOutcome {
    /// It ended after this step, and before the next.
    Ended {
        /// The step.
        by: EscalationStep,
    },
    /// It ended before a signal was sent.
    WasGone,
    /// It survived every step.
    Survived {
        /// What prevented its end, as last seen.
        obstacles: Vec<Obstacle>,
    },
    /// It could not be opened or signaled.
    Refused {
        /// The cause.
        why: String,
    },
}

/// A process that an escalation was to end, and the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Termination {
    /// Process id.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// Its name; null when unknown.
    pub comm: Option<ByteString>,
    /// The steps that were tried, each with its obstacles.
    pub tried: Vec<EscalationAttempt>,
    /// It was stopped and was continued, so that it could act on a signal.
    pub continued: bool,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: TerminationOutcome,
}

/// A step that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EscalationAttempt {
    /// The step.
    pub step: EscalationStep,
    /// What prevented it from having an effect.
    pub obstacles: Vec<Obstacle>,
}

impl Termination {
    /// The process.
    pub fn process(&self) -> ProcessId {
        ProcessId { tgid: self.pid, start_ticks: self.start_ticks }
    }

    /// It is gone.
    pub fn is_gone(&self) -> bool {
        matches!(self.outcome, TerminationOutcome::Ended { .. } | TerminationOutcome::WasGone)
    }

    /// The outcome in one line.
    pub fn sentence(&self) -> String {
        let name = self.comm.as_ref().map_or_else(|| "?".to_owned(), ByteString::escaped);
        let what = match &self.outcome {
            TerminationOutcome::Ended { by } => format!("ended by {}", by.signal().name()),
            TerminationOutcome::WasGone => "was gone".to_owned(),
            TerminationOutcome::Refused { why } => format!("could not be signaled: {why}"),
            TerminationOutcome::Survived { obstacles } if obstacles.is_empty() => {
                "survived SIGKILL".to_owned()
            }
            TerminationOutcome::Survived { obstacles } => {
                let words: Vec<_> = obstacles.iter().map(|o| o.words()).collect();
                format!("survived: it {}", words.join(" and "))
            }
        };
        let without_effect: Vec<_> = self
            .tried
            .iter()
            .filter(|tried| tried.obstacles.iter().any(|o| o.is_final() || o.may_pass()))
            .map(|tried| {
                let words: Vec<_> = tried.obstacles.iter().map(|o| o.words()).collect();
                format!("{} had no effect: it {}", tried.step.signal().name(), words.join(" and "))
            })
            .collect();
        let continued = if self.continued { "; it was stopped and was continued" } else { "" };
        let without_effect = match without_effect.as_slice() {
            [] => String::new(),
            attempts => format!(" ({})", attempts.join("; ")),
        };
        format!("{name} (pid {}) {what}{continued}{without_effect}", self.pid)
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
    fn only_d_and_z_are_obstacles_to_sigkill() {
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
    fn an_unknown_value_is_no_obstacle() {
        for step in EscalationStep::VARIANTS.iter().copied() {
            assert_eq!(obstacles(step, &process()), []);
        }
    }

    #[test]
    fn the_sentence_reports_the_steps_without_effect() {
        let it = Termination {
            pid: 7,
            start_ticks: 1,
            comm: Some(ByteString(b"wor\x1bker".to_vec())),
            tried: vec![
                EscalationAttempt { step: EscalationStep::Interrupt, obstacles: vec![Obstacle::Ignored] },
                EscalationAttempt { step: EscalationStep::Terminate, obstacles: vec![] },
            ],
            continued: false,
            outcome: TerminationOutcome::Ended { by: EscalationStep::Terminate },
        };
        assert_eq!(
            it.sentence(),
            "wor\\x1bker (pid 7) ended by SIGTERM (SIGINT had no effect: it ignores it)"
        );
    }
}
