//! The graph, solved: the least fixpoint of liveness.

use super::index::{Index, ThreadKey};
use super::model::{Alternative, Liveness, Op, Releaser, WaitNode, propagate};
use super::waits::node;
use crate::core::evidence::Evidence;

/// The graph: each thread's ways out, and the hope in each thread.
#[derive(Debug)]
pub struct WaitGraph<'e> {
    /// Look-ups.
    pub index: Index<'e>,
    nodes: Vec<Vec<WaitNode>>,
    liveness: Vec<Vec<Liveness>>,
    processes: Vec<Liveness>,
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
        let mut graph = Self { index, nodes, liveness, processes, nothing: WaitNode::default() };
        graph.solve();
        graph
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
                        self.processes[process] = self.processes[process].max(liveness);
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

    /// What a waiter may hope for from this way.
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

    /// What a waiter may hope for from this actor.
    pub fn through(&self, op: Op, releaser: &Releaser) -> Liveness {
        let accidental = matches!(releaser, Releaser::Process { accidental: true, .. });
        propagate(op, accidental, self.releaser(releaser))
    }

    /// The hope in an actor itself.
    pub fn releaser(&self, releaser: &Releaser) -> Liveness {
        match releaser {
            Releaser::Process { process, .. } => self.process(*process),
            Releaser::Thread(key) => self.thread(*key),
            Releaser::Outside(_) | Releaser::Unseen(_) => Liveness::External,
            Releaser::Anyone(_) => Liveness::Idle,
        }
    }

    /// A thread's ways out; none for a thread that the evidence does not have.
    pub fn node(&self, key: ThreadKey) -> &WaitNode {
        self.nodes.get(key.process).and_then(|of| of.get(key.thread)).unwrap_or(&self.nothing)
    }

    /// The hope in a thread; [`Liveness::External`] for one that the evidence does not have.
    pub fn thread(&self, key: ThreadKey) -> Liveness {
        self.liveness
            .get(key.process)
            .and_then(|of| of.get(key.thread))
            .copied()
            .unwrap_or(Liveness::External)
    }

    /// The hope in a process: its most hopeful thread's.
    pub fn process(&self, process: usize) -> Liveness {
        if self.nodes[process].is_empty() && !self.index.process(process).zombie {
            return Liveness::External;
        }
        self.processes[process]
    }

    /// The live threads that could meet some requirement of some way of `key`, each once.
    ///
    /// Whoever might open the other end of a FIFO is not among them: anybody of the job might, which is hope, but nobody owes it, which makes no link of a cycle.
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

    /// The live threads that an actor stands for.
    pub fn threads_of(&self, releaser: &Releaser) -> Vec<ThreadKey> {
        match releaser {
            Releaser::Process { process, .. } => (0..self.nodes[*process].len())
                .map(|thread| ThreadKey { process: *process, thread })
                .filter(|key| !self.node(*key).dead)
                .collect(),
            Releaser::Thread(key) => vec![*key],
            _ => Vec::new(),
        }
    }
}
