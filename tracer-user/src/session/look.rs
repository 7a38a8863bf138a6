//! A look at processes: evidence is collected from `/proc` and from the kernel's programs.
//!
//! A look is some tenths of a second of work, and what it sees is worth little when its readings are far
//! apart. So the thread that takes it has a higher priority meanwhile, where that is allowed: on a machine
//! with twenty runnable tasks a look would otherwise take seconds.

use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};

use crate::core::diagnosis::{self, Diagnosis};
use crate::core::evidence::Evidence;
use crate::kernel;
use crate::procfs_view::{self, CollectError, ProcRoot, Request};

/// The nice value of a look.
const NICE: i32 = -15;

/// Collects evidence. Takes the quiet window, and the time of the readings.
///
/// # Errors
/// When the processes in question cannot be found.
pub fn collect(request: &Request, with_kernel: bool) -> Result<Evidence, CollectError> {
    let _raised = RaisedPriority::of_this_thread();
    procfs_view::collect(
        &ProcRoot::system(),
        request,
        &mut kernel::object_facts(with_kernel),
        &mut kernel::CallCounter::new(
            with_kernel.then(|| procfs_view::table::own_namespaces(&ProcRoot::system())),
        ),
    )
}

/// Adds the stacks of the threads that a first diagnosis of this evidence names.
pub fn add_stacks(evidence: &mut Evidence, first: &Diagnosis, within: Duration) {
    let named = diagnosis::named_threads(evidence, first);
    procfs_view::add_stacks(evidence, &ProcRoot::system(), &named, within);
}

/// Gives the thread its own priority back when it is dropped.
struct RaisedPriority(Option<i32>);

impl RaisedPriority {
    /// On Linux a nice value belongs to a thread, and 0 is the calling one (`setpriority(2)`, "C
    /// library/kernel differences"). Without the right to it, everything stays as it is.
    fn of_this_thread() -> Self {
        let own = getpriority_process(None).ok();
        Self(own.filter(|own| *own > NICE && setpriority_process(None, NICE).is_ok()))
    }
}

impl Drop for RaisedPriority {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            let _ = setpriority_process(None, own);
        }
    }
}
