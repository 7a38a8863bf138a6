//! The graph, solved: the least fixpoint of liveness.

use super::activity::{Tick, is_own_wake_up};
use super::index::{Index, ThreadKey};
use super::model::{Alternative, Claim, Liveness, Op, Releaser, SeedReason, WaitNode, propagate};
use super::waits::{self, node};
use crate::core::evidence::{Evidence, ObjectId, Wait};
use crate::core::runtime;

/// The graph: each thread's alternatives, and its liveness.
#[derive(Debug)]
pub struct WaitGraph<'e> {
    /// Look-ups.
    pub index: Index<'e>,
    nodes: Vec<Vec<WaitNode>>,
    liveness: Vec<Vec<Liveness>>,
    processes: Vec<Liveness>,
    /// For each process, the best liveness of the threads that may release what is in its memory.
    peers: Vec<Liveness>,
    nothing: WaitNode,
}

impl<'e> WaitGraph<'e> {
    /// Builds the graph and solves it.
    pub fn build(evidence: &'e Evidence) -> Self {
        let index = Index::new(evidence);
        let nodes: Vec<Vec<WaitNode>> = (0..evidence.processes.len())
            .map(|process| {
                let threads = evidence.processes[process].threads.len();
                (0..threads).map(|thread| node(&index, ThreadKey { process, thread })).collect()
            })
            .collect();
        let liveness = nodes.iter().map(|of| vec![Liveness::Stuck; of.len()]).collect();
        let processes = vec![Liveness::Stuck; nodes.len()];
        let peers = processes.clone();
        let mut graph = Self { index, nodes, liveness, processes, peers, nothing: WaitNode::default() };
        for process in 0..evidence.processes.len() {
            graph.rests_until_a_signal(process);
        }
        graph.solve();
        graph
    }

    /// A runtime that finds by itself that all threads of its program wait for each other ends such a
    /// program. One that is there and waits for nothing but itself waits for a signal, whether its handlers
    /// show it or not.
    fn rests_until_a_signal(&mut self, process: usize) {
        let found = self.index.process(process);
        if !runtime::ends_deadlocks(found) {
            return;
        }
        let within = |alternative: &Alternative| {
            let own = |id: ObjectId| is_own_wake_up(&self.index, process, &id);
            let mut releasers = alternative.conditions.iter().flat_map(|condition| &condition.releasers);
            alternative.object.is_some_and(own)
                || alternative.object.is_none()
                    && releasers.all(|releaser| matches!(releaser, Releaser::Peers(at) if *at == process))
        };
        let alone = |node: &WaitNode| {
            let reason = node.seed.as_ref().map(|seed| &seed.reason);
            let waits = matches!(reason, None | Some(SeedReason::TimeOut(_) | SeedReason::Naps(_)));
            waits && node.alternatives.iter().all(within)
        };
        if self.nodes[process].iter().all(|node| node.dead || alone(node)) {
            for node in self.nodes[process].iter_mut().filter(|node| !node.dead) {
                node.raise(Liveness::Idle, SeedReason::Signal(found.caught));
            }
        }
    }

    fn solve(&mut self) {
        loop {
            let mut changed = false;
            for process in 0..self.nodes.len() {
                for thread in 0..self.nodes[process].len() {
                    let key = ThreadKey { process, thread };
                    let liveness = self.evaluate(key);
                    if liveness > self.liveness[process][thread] {
                        self.liveness[process][thread] = liveness;
                        if !self.is_runtimes_own(key) {
                            self.processes[process] = self.processes[process].max(liveness);
                        }
                        if self.is_peer(key) {
                            self.peers[process] = self.peers[process].max(liveness);
                        }
                        changed = true;
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn evaluate(&self, key: ThreadKey) -> Liveness {
        let node = self.node(key);
        let seed = node.seed.as_ref().map_or(Liveness::Stuck, |s| s.liveness);
        node.alternatives.iter().map(|alternative| self.alternative(alternative)).fold(seed, Liveness::max)
    }

    /// The liveness that this alternative gives a waiter.
    pub fn alternative(&self, alternative: &Alternative) -> Liveness {
        alternative
            .conditions
            .iter()
            .map(|condition| {
                condition
                    .releasers
                    .iter()
                    .map(|releaser| self.through(alternative.op, releaser))
                    .max()
                    .unwrap_or_default()
            })
            .min()
            .unwrap_or_default()
    }

    /// The liveness that this releaser gives a waiter.
    pub fn through(&self, op: Op, releaser: &Releaser) -> Liveness {
        let claim = match releaser {
            Releaser::Process { claim, .. } => *claim,
            _ => Claim::Purpose,
        };
        let liveness = self.releaser(releaser);
        // A lock's holder that sleeps between two steps may be working with it. An event loop that wakes up
        // finds nothing to do.
        let may_work = liveness == Liveness::Ticking
            && claim == Claim::Purpose
            && matches!(op, Op::Lock | Op::Semaphore)
            && matches!(releaser, Releaser::Process { process, .. } if self.sleeps_between_steps(*process));
        if may_work { liveness } else { propagate(op, claim, liveness) }
    }

    /// The first thread of the process sleeps, wakes and sleeps again. Further threads do so in many servers.
    fn sleeps_between_steps(&self, process: usize) -> bool {
        let found = self.index.process(process);
        let first = found.threads.iter().position(|thread| thread.tid == found.id.tgid);
        first.is_some_and(|thread| {
            let ticks = self.node(ThreadKey { process, thread }).tick.is_some();
            ticks && matches!(found.threads[thread].wait, Wait::Sleep { .. })
        })
    }

    /// The liveness of a releaser itself.
    pub fn releaser(&self, releaser: &Releaser) -> Liveness {
        match releaser {
            Releaser::Process { process, .. } => self.process(*process),
            Releaser::Peers(process) => self.peers[*process],
            Releaser::Thread(key) => self.thread(*key),
            Releaser::Outside(_) | Releaser::Unseen(_) => Liveness::External,
            Releaser::Anyone(_) => Liveness::Idle,
        }
    }

    /// A thread's node; an empty one for a thread that is not in the evidence.
    pub fn node(&self, key: ThreadKey) -> &WaitNode {
        self.nodes.get(key.process).and_then(|of| of.get(key.thread)).unwrap_or(&self.nothing)
    }

    /// The liveness of a thread; [`Liveness::External`] for one that is not in the evidence.
    pub fn thread(&self, key: ThreadKey) -> Liveness {
        self.liveness
            .get(key.process)
            .and_then(|of| of.get(key.thread))
            .copied()
            .unwrap_or(Liveness::External)
    }

    /// The liveness of a process: that of its liveliest thread, without the housekeeping threads of a
    /// runtime.
    pub fn process(&self, process: usize) -> Liveness {
        if self.nodes[process].is_empty() && !self.index.process(process).zombie {
            return Liveness::External;
        }
        self.processes[process]
    }

    /// The live threads that could meet some condition of some alternative of `key`, each once.
    ///
    /// The processes that might open the other end of a FIFO are excluded: any process of the job might, but
    /// none owes it, so they form no link of a cycle.
    pub fn successors(&self, key: ThreadKey) -> Vec<ThreadKey> {
        let mut out: Vec<ThreadKey> = self
            .node(key)
            .alternatives
            .iter()
            .filter(|alternative| alternative.op != Op::OpenFifo)
            .flat_map(|alternative| &alternative.conditions)
            .flat_map(|condition| &condition.releasers)
            .flat_map(|releaser| self.threads_of(releaser))
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The live threads that a releaser stands for.
    pub fn threads_of(&self, releaser: &Releaser) -> Vec<ThreadKey> {
        match releaser {
            Releaser::Process { process, .. } => (0..self.nodes[*process].len())
                .map(|thread| ThreadKey { process: *process, thread })
                .filter(|key| !self.node(*key).dead)
                .collect(),
            Releaser::Peers(process) => (0..self.nodes[*process].len())
                .map(|thread| ThreadKey { process: *process, thread })
                .filter(|key| !self.node(*key).dead && self.is_peer(*key))
                .collect(),
            Releaser::Thread(key) => vec![*key],
            _ => Vec::new(),
        }
    }

    /// A housekeeping thread of a runtime while it rests or ticks: a collector, a compiler, a monitor. It
    /// acts for no other thread. At work (it compiles, or reads a file for the program) it does what the
    /// program waits for.
    fn is_runtimes_own(&self, key: ThreadKey) -> bool {
        let (process, thread) = (self.index.process(key.process), self.index.thread(key));
        let works = self.node(key).seed.as_ref().is_some_and(|seed| seed.reason == SeedReason::Progress);
        if works && runtime::is_helper(thread) {
            return false;
        }
        runtime::is_housekeeping(process, thread) || runtime::is_own_timer(process, thread)
    }

    /// Whether a thread may release what another thread of its process waits for in memory.
    ///
    /// Excluded are the housekeeping threads of a runtime, and a helper (not the first thread) that only
    /// wakes and sleeps again: a heartbeat, a progress bar's monitor. In a process that runs tests, a helper
    /// that sleeps until a date (a time-out's timer) is excluded too. Elsewhere schedulers look like that.
    fn is_peer(&self, key: ThreadKey) -> bool {
        let (process, thread) = (self.index.process(key.process), self.index.thread(key));
        if self.is_runtimes_own(key) {
            return false;
        }
        let helper = thread.tid != process.id.tgid;
        let reason = self.node(key).seed.as_ref().map(|seed| &seed.reason);
        match reason {
            Some(SeedReason::Naps(tick)) => !helper || tick.looks_outside,
            Some(SeedReason::TimeOut(_)) => !helper || !self.index.runs_tests(key.process),
            _ => true,
        }
    }

    /// Whether anything may still come over an fd that a thread reads in a loop: the liveness of the parties
    /// at its other end, without the thread itself.
    pub fn may_become_readable(&self, key: ThreadKey, fd: u32) -> Liveness {
        let node = waits::readable(&self.index, key.process, fd);
        let of = |releaser: &Releaser| match releaser {
            Releaser::Process { process, .. } if *process == key.process => {
                let others = self.threads_of(releaser).into_iter().filter(|other| *other != key);
                others.map(|other| self.thread(other)).max().unwrap_or_default()
            }
            other => self.releaser(other),
        };
        let conditions = node.alternatives.iter().flat_map(|alternative| &alternative.conditions);
        let best = conditions.flat_map(|condition| &condition.releasers).map(of).max().unwrap_or_default();
        best.max(node.seed.as_ref().map_or(Liveness::Stuck, |seed| seed.liveness))
    }

    /// Whether one of a process's own threads keeps waking: a doubt about whatever waits for it.
    pub fn ticks(&self, process: usize) -> Option<(ThreadKey, Tick)> {
        let keys = (0..self.nodes[process].len()).map(|thread| ThreadKey { process, thread });
        keys.into_iter().find_map(|key| self.node(key).tick.map(|tick| (key, tick)))
    }
}
