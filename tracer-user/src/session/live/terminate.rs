//! Ends processes by the escalation of `signals`, with `procfs_view` to observe them.

use std::io;
use std::time::Duration;

use crate::core::escalation::Termination;
use crate::core::identity::ProcessId;
use crate::core::snapshot::ProcSnapshot;
use crate::procfs_view::snapshot::Sampler;
use crate::procfs_view::{ProcRoot, table};
use crate::session::clock;
use crate::signals::escalation::{Subject, escalate};

pub use crate::signals::escalation::EscalationEvent;

/// Ends the processes that `members` returns, in its order. It is called again meanwhile, so that children
/// which appear are included. Waits at most `grace` after each of SIGINT and SIGTERM. Other tasks of the
/// thread may run while this waits.
pub async fn end(
    members: impl FnMut() -> Vec<ProcessId>,
    grace: Duration,
    report: impl FnMut(EscalationEvent<'_>),
) -> Vec<Termination> {
    let root = ProcRoot::system();
    let mut processes = Processes { sampler: Sampler::new(root.clone()), root, members };
    escalate(&mut processes, grace, report).await
}

struct Processes<F> {
    root: ProcRoot,
    sampler: Sampler,
    members: F,
}

impl<F: FnMut() -> Vec<ProcessId>> Subject for Processes<F> {
    fn members(&mut self) -> Vec<ProcSnapshot> {
        self.sampler.sample((self.members)(), clock::boot_ns())
    }

    fn start_ticks(&mut self, tgid: u32) -> io::Result<Option<u64>> {
        table::start_ticks(&self.root, tgid)
    }
}
