//! What every class has in common: how a case becomes a judgement.

use super::case::{Case, Shape};
use super::class::Class;
use super::model::{Confidence, Verdict};
use super::view::View;
use crate::core::signal::{Signal, SignalSet};

/// What people and supervisors send to programs that wait for it.
pub const REQUESTS: SignalSet =
    SignalSet::of(&[Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::TERM]);

/// What a class says of a case.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// Its finer name.
    pub subtype: Option<&'static str>,
    /// How it ends.
    pub verdict: Verdict,
    /// How sure.
    pub confidence: Confidence,
    /// The end of the sentence: why nobody lets the waiter go on. `None`: the common words do.
    pub because: Option<String>,
    /// Further facts.
    pub notes: Vec<String>,
    /// What to change.
    pub advice: Vec<String>,
    /// What would let this run go on now.
    pub go_on: Vec<String>,
}

impl Judgement {
    /// What follows from the graph alone.
    pub fn of(view: &View<'_>, case: &Case, class: Class) -> Self {
        let verdict = match case.shape {
            Shape::Cycle => Verdict::Deadlock,
            Shape::DeadEnd | Shape::Idle => Verdict::OrphanedWait,
            Shape::Outside => Verdict::External,
        };
        let mut judgement = Self {
            class,
            subtype: None,
            verdict,
            confidence: Confidence::Proven,
            because: None,
            notes: Vec::new(),
            advice: Vec::new(),
            go_on: Vec::new(),
        };
        judgement.weigh(view, case);
        judgement
    }

    /// Lowers the confidence for what the proof lacks.
    fn weigh(&mut self, view: &View<'_>, case: &Case) {
        let index = &view.graph.index;
        if !index.saw_every_fd() {
            self.likely(
                "Not every process of the machine could be looked into; none of this job's is missing.",
            );
        }
        if let Some(history) = &view.evidence().history
            && history.lost > 0
        {
            self.likely(&format!("{} kernel events were lost.", history.lost));
        }
        let alarmed = case
            .members
            .iter()
            .chain(&case.waiters)
            .map(|key| key.process)
            .find(|at| view.process(*at).caught.is_some_and(|set| set.contains(Signal::ALRM)));
        if let Some(at) = alarmed {
            self.likely(&format!(
                "{} handles SIGALRM: an alarm that nobody can see may still interrupt it.",
                view.label(at)
            ));
        }
        let quiet = |at: &usize| view.halted(*at).is_some();
        if case.shape == Shape::Idle && !case.holders.iter().all(quiet) {
            self.confidence = Confidence::Likely;
        }
        if case.shape == Shape::Outside {
            self.confidence = Confidence::Likely;
        }
    }

    /// Lowers the confidence and says why.
    pub fn likely(&mut self, why: &str) {
        self.confidence = Confidence::Likely;
        self.note(why);
    }

    /// Adds a fact.
    pub fn note(&mut self, fact: impl Into<String>) {
        let fact = fact.into();
        if !self.notes.contains(&fact) {
            self.notes.push(fact);
        }
    }

    /// Adds advice.
    pub fn advise(mut self, lines: &[&str]) -> Self {
        self.advice.extend(lines.iter().map(|l| (*l).to_owned()));
        self
    }

    /// Adds what would let this run go on.
    pub fn or_now(mut self, lines: &[&str]) -> Self {
        self.go_on.extend(lines.iter().map(|l| (*l).to_owned()));
        self
    }
}

/// A class as a rule: says what it makes of a case, or passes.
pub type Rule = fn(&View<'_>, &Case) -> Option<Judgement>;
