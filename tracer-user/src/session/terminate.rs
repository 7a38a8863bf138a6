//! SessionEnding processes: the ladder of `signals`, told by `procfs_view` what can work.

use std::io;
use std::time::Duration;

use super::clock;
use crate::core::escalation::Termination;
use crate::core::identity::ProcessId;
use crate::core::snapshot::ProcSnapshot;
use crate::procfs_view::snapshot::Sampler;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::escalation::{Subject, escalate};

pub use crate::signals::escalation::Step;

/// Ends the processes that `meant` gives, in its order; it is asked again while that goes on, so that children
/// that appear meanwhile are included. Waits at most `grace` after each of SIGINT and SIGTERM. Others may run
/// on the same thread while this waits.
pub async fn end(
    meant: impl FnMut() -> Vec<ProcessId>,
    grace: Duration,
    tell: impl FnMut(Step<'_>),
) -> Vec<Termination> {
    let root = ProcRoot::system();
    let mut meant = Meant { sampler: Sampler::new(root.clone()), root, meant };
    escalate(&mut meant, grace, tell).await
}

struct Meant<F> {
    root: ProcRoot,
    sampler: Sampler,
    meant: F,
}

impl<F: FnMut() -> Vec<ProcessId>> Subject for Meant<F> {
    fn members(&mut self) -> Vec<ProcSnapshot> {
        self.sampler.sample((self.meant)(), clock::boot_ns())
    }

    fn start_ticks(&mut self, tgid: u32) -> io::Result<Option<u64>> {
        table::start_ticks(&self.root, tgid)
    }
}
