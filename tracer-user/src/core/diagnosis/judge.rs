//! The common part of all classes: how a case becomes a judgement, and what a proof requires.

use std::collections::BTreeSet;

use super::case::{Case, Shape, is_worker_at_rest};
use super::class::Class;
use super::model::{Confidence, Verdict};
use super::view::View;
use crate::core::evidence::Wait;
use crate::core::runtime;
use crate::core::signal::{Signal, SignalSet};
use crate::core::text::duration;
use crate::core::waitgraph::{Op, Releaser, ThreadKey, backend_state};

/// The judgement of a class about a case.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// Its subtype.
    pub subtype: Option<&'static str>,
    /// The verdict.
    pub verdict: Verdict,
    /// The confidence.
    pub confidence: Confidence,
    /// The end of the sentence: why no party lets the waiter continue. `None`: the default words are used.
    pub because: Option<String>,
    /// Further facts.
    pub notes: Vec<String>,
    /// Changes that cure it.
    pub advice: Vec<String>,
    /// Actions that let this run continue now.
    pub go_on: Vec<String>,
}

impl Judgement {
    /// The judgement that follows from the graph alone.
    pub fn of(view: &View<'_>, case: &Case, class: Class) -> Self {
        let node = view.graph.node(case.waiter);
        // It sleeps, looks and sleeps again: it moves, and nothing can come of it.
        let polls = node.tick.is_some() && matches!(view.thread(case.waiter).wait, Wait::Sleep { .. });
        let verdict = match case.shape {
            Shape::Cycle | Shape::DeadEnd | Shape::Idle if polls => Verdict::Livelock,
            Shape::Cycle => Verdict::Deadlock,
            Shape::DeadEnd | Shape::Idle => Verdict::OrphanedWait,
            Shape::Outside if is_unread(view, case) => Verdict::Unknown,
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

    /// Lowers the confidence when the proof has a gap. A proof enumerates every event that could end the wait
    /// of every stuck thread: the ends of files, children, time-outs, and the signals that the program chose
    /// to handle.
    fn weigh(&mut self, view: &View<'_>, case: &Case) {
        let index = &view.graph.index;
        if !index.saw_every_fd() {
            self.likely("The fds of some processes outside this job could not be read.");
        }
        if let Some(history) = &view.evidence().history
            && history.lost > 0
        {
            self.likely(&format!("{} kernel events were lost.", history.lost));
        }
        if matches!(case.shape, Shape::Idle) && !case.holders.iter().all(|at| view.halted(*at).is_some()) {
            self.confidence = Confidence::Likely;
        }
        if case.shape == Shape::Outside {
            self.confidence = Confidence::Likely;
        }
        let stuck: BTreeSet<ThreadKey> = case.members.iter().chain(&case.waiters).copied().collect();
        let parties: BTreeSet<usize> =
            stuck.iter().map(|key| key.process).chain(case.holders.iter().copied()).collect();
        for at in &parties {
            self.doubt_ticks(view, *at);
        }
        for at in stuck.iter().map(|key| key.process).collect::<BTreeSet<_>>() {
            self.doubt_signals(view, at);
            if backend_state(view.process(at)).is_some() {
                self.likely("What a database backend waits for is taken from what it says in its title.");
            }
        }
        if let Some(ns) = stuck.iter().filter_map(|key| view.graph.node(*key).ends_in_ns).min() {
            self.likely(&format!(
                "A wait in this chain has a time-out: it ends by itself in {}.",
                duration(ns)
            ));
        }
    }

    /// A party that wakes by its time-out and goes back to sleep might act at its next wake-up.
    fn doubt_ticks(&mut self, view: &View<'_>, at: usize) {
        let Some((_, tick)) = view.graph.ticks(at) else { return };
        let every = match tick.period_ns {
            Some(ns) => format!("wakes every {}", duration(ns)),
            None => "wakes now and then".to_owned(),
        };
        self.likely(&format!("{} {every} and goes back to sleep.", view.label(at)));
    }

    fn doubt_signals(&mut self, view: &View<'_>, at: usize) {
        let process = view.process(at);
        if process.caught.is_some_and(|set| set.contains(Signal::ALRM))
            && runtime::of(process) != runtime::Runtime::Go
        {
            self.likely(&format!(
                "{} handles SIGALRM: an alarm that cannot be seen may still interrupt it.",
                view.label(at)
            ));
        }
        match runtime::chosen_signals(process) {
            Some(chosen) if chosen.is_empty() => {}
            Some(chosen) => self.likely(&format!(
                "{} handles {}: a signal may still end its wait.",
                view.label(at),
                signal_names(chosen)
            )),
            None => self.confidence = Confidence::Likely,
        }
    }

    /// Lowers the confidence and records why.
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

    /// Adds what would let this run continue.
    pub fn or_now(mut self, lines: &[&str]) -> Self {
        self.go_on.extend(lines.iter().map(|l| (*l).to_owned()));
        self
    }
}

/// A class as a rule: its judgement of a case, or `None` when it does not apply.
pub type Rule = fn(&View<'_>, &Case) -> Option<Judgement>;

/// The deciding evidence could not be read because a privilege was missing: a look with it would show it.
fn is_unread(view: &View<'_>, case: &Case) -> bool {
    let index = &view.graph.index;
    let unseen = case
        .alternative(view)
        .conditions
        .iter()
        .flat_map(|condition| &condition.releasers)
        .any(|releaser| matches!(releaser, Releaser::Unseen(_)));
    unseen && (index.relevant_unread(case.waiter.process).is_some() || !view.evidence().reach.whole_machine)
}

/// `SIGTERM`, `SIGHUP and SIGTERM`.
pub fn signal_names(set: SignalSet) -> String {
    let names: Vec<String> = set.iter().map(Signal::name).collect();
    crate::core::text::list(&names)
}

/// The process whose signal handlers make the case a service at rest, and those signals: no act is owed in
/// the cycle, and only that process and its workers wait in it.
pub fn service_at_rest(view: &View<'_>, case: &Case) -> Option<(usize, SignalSet)> {
    if case.shape != Shape::Cycle || case.members.iter().any(|key| owes(view, *key)) {
        return None;
    }
    let processes: BTreeSet<usize> = case.members.iter().map(|key| key.process).collect();
    processes.iter().find_map(|at| {
        let chosen = runtime::chosen_signals(view.process(*at)).filter(|set| !set.is_empty())?;
        let rests = |key: &&ThreadKey| {
            key.process == *at
                || view.graph.index.is_ancestor(*at, key.process)
                    && (view.graph.node(**key).alternatives.iter())
                        .any(|a| is_worker_at_rest(view, **key, a) || matches!(a.op, Op::Futex | Op::Exit))
        };
        case.members.iter().all(|key| rests(&key)).then_some((*at, chosen))
    })
}

fn owes(view: &View<'_>, key: ThreadKey) -> bool {
    view.graph.node(key).alternatives.iter().any(|alternative| alternative.op.is_owed())
        || view.thread(key).wait == Wait::Read { fd: 0, timeout: crate::core::evidence::Timeout::Never }
}
