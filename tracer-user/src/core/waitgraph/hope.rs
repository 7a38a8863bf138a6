//! How good the reasons are to expect that a thread goes on, and their spreading over the graph.

use super::index::{Index, ThreadKey};
use super::ways::{Actor, Op, Standing, Way, standing};
use crate::core::evidence::Evidence;

/// Reasons to expect that a thread goes on, from none to the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hope {
    /// None: proved that nobody who could let it go on can go on without it, or that there is nobody.
    #[default]
    Stuck,
    /// Somebody could, who has no reason to: stopped, asleep, or an heir of an end that it never used.
    Orphaned,
    /// Idle, as things at rest are: a long sleep, a server without a request, a wait for somebody idle who may well have a reason.
    Waiting,
    /// The next step is somebody's who cannot be seen from here.
    External,
    /// It goes on within seconds by itself.
    Soon,
    /// It moved during the quiet window, or runs.
    Active,
}

/// What a waiter may hope for that waits, in this way, for a party with this hope.
///
/// Monotone in `hope` for each `op`: the fixpoint needs that.
pub fn passes(op: Op, no_reason: bool, hope: Hope) -> Hope {
    match (op, hope) {
        (_, Hope::Waiting) if no_reason => Hope::Orphaned,
        // Whoever holds the lock, or the only end that can make room, owes something; at rest it does not pay.
        (Op::Write | Op::Lock | Op::OpenFifo | Op::Connect | Op::Semaphore | Op::Trace, Hope::Waiting) => {
            Hope::Orphaned
        }
        // Behind a terminal sits somebody; programs at rest between them and the reader pass the keys on.
        (Op::ReadTerminal, Hope::Waiting) => Hope::External,
        (_, hope) => hope,
    }
}

/// The graph: each thread's ways out, and the hope in each thread.
#[derive(Debug)]
pub struct WaitGraph<'e> {
    /// Look-ups.
    pub index: Index<'e>,
    standings: Vec<Vec<Standing>>,
    hopes: Vec<Vec<Hope>>,
    processes: Vec<Hope>,
    nothing: Standing,
}

impl<'e> WaitGraph<'e> {
    /// Builds the graph and solves it.
    pub fn build(evidence: &'e Evidence) -> Self {
        let index = Index::new(evidence);
        let standings: Vec<Vec<Standing>> = (0..evidence.processes.len())
            .map(|process| {
                let threads = evidence.processes[process].threads.len();
                (0..threads).map(|thread| standing(&index, ThreadKey { process, thread })).collect()
            })
            .collect();
        let hopes = standings.iter().map(|of| vec![Hope::Stuck; of.len()]).collect();
        let processes = vec![Hope::Stuck; standings.len()];
        let mut graph = Self { index, standings, hopes, processes, nothing: Standing::default() };
        graph.solve();
        graph
    }

    fn solve(&mut self) {
        loop {
            let mut changed = false;
            for process in 0..self.standings.len() {
                for thread in 0..self.standings[process].len() {
                    let key = ThreadKey { process, thread };
                    let hope = self.evaluate(key);
                    if hope > self.hopes[process][thread] {
                        self.hopes[process][thread] = hope;
                        self.processes[process] = self.processes[process].max(hope);
                        changed = true;
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn evaluate(&self, key: ThreadKey) -> Hope {
        let standing = self.standing(key);
        let seed = standing.seed.as_ref().map_or(Hope::Stuck, |s| s.hope);
        standing.ways.iter().map(|way| self.way(way)).fold(seed, Hope::max)
    }

    /// What a waiter may hope for from this way.
    pub fn way(&self, way: &Way) -> Hope {
        way.all
            .iter()
            .map(|requirement| {
                requirement.any.iter().map(|actor| self.through(way.op, actor)).max().unwrap_or_default()
            })
            .min()
            .unwrap_or_default()
    }

    /// What a waiter may hope for from this actor.
    pub fn through(&self, op: Op, actor: &Actor) -> Hope {
        let no_reason = matches!(actor, Actor::Process { no_reason: true, .. });
        passes(op, no_reason, self.actor(actor))
    }

    /// The hope in an actor itself.
    pub fn actor(&self, actor: &Actor) -> Hope {
        match actor {
            Actor::Process { process, .. } => self.process(*process),
            Actor::Thread(key) => self.thread(*key),
            Actor::Outside(_) | Actor::Unseen(_) => Hope::External,
            Actor::Anyone(_) => Hope::Waiting,
        }
    }

    /// A thread's ways out; none for a thread that the evidence does not have.
    pub fn standing(&self, key: ThreadKey) -> &Standing {
        self.standings.get(key.process).and_then(|of| of.get(key.thread)).unwrap_or(&self.nothing)
    }

    /// The hope in a thread; [`Hope::External`] for one that the evidence does not have.
    pub fn thread(&self, key: ThreadKey) -> Hope {
        self.hopes.get(key.process).and_then(|of| of.get(key.thread)).copied().unwrap_or(Hope::External)
    }

    /// The hope in a process: its most hopeful thread's.
    pub fn process(&self, process: usize) -> Hope {
        if self.standings[process].is_empty() && !self.index.process(process).zombie {
            return Hope::External;
        }
        self.processes[process]
    }

    /// The live threads that could meet some requirement of some way of `key`, each once.
    ///
    /// Whoever might open the other end of a FIFO is not among them: anybody of the job might, which is hope, but nobody owes it, which makes no link of a cycle.
    pub fn successors(&self, key: ThreadKey) -> Vec<ThreadKey> {
        let mut out: Vec<ThreadKey> = self
            .standing(key)
            .ways
            .iter()
            .filter(|way| way.op != Op::OpenFifo)
            .flat_map(|way| &way.all)
            .flat_map(|requirement| &requirement.any)
            .flat_map(|actor| self.threads_of(actor))
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The live threads that an actor stands for.
    pub fn threads_of(&self, actor: &Actor) -> Vec<ThreadKey> {
        match actor {
            Actor::Process { process, .. } => (0..self.standings[*process].len())
                .map(|thread| ThreadKey { process: *process, thread })
                .filter(|key| !self.standing(*key).dead)
                .collect(),
            Actor::Thread(key) => vec![*key],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPES: [Hope; 6] =
        [Hope::Stuck, Hope::Orphaned, Hope::Waiting, Hope::External, Hope::Soon, Hope::Active];

    #[test]
    fn hope_passes_monotonously() {
        for op in Op::ALL {
            for no_reason in [false, true] {
                for pair in HOPES.windows(2) {
                    let (less, more) = (passes(op, no_reason, pair[0]), passes(op, no_reason, pair[1]));
                    assert!(less <= more, "{op:?} {no_reason} {pair:?} gives {less:?} > {more:?}");
                }
            }
        }
    }

    #[test]
    fn who_can_act_releases_whatever_it_holds() {
        for op in Op::ALL {
            assert_eq!(passes(op, true, Hope::Active), Hope::Active);
            assert_eq!(passes(op, true, Hope::Soon), Hope::Soon);
        }
    }
}
