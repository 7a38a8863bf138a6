//! The functions of the library: from a question to evidence, and from evidence to a diagnosis.

use crate::core::diagnosis::{self, Diagnosis};
use crate::core::evidence::Evidence;
use crate::procfs_view::{self, CollectError, ProcRoot, Request};

/// Reads the state of this machine's processes, as evidence for [`diagnose`]. Takes the quiet window, and as
/// much longer as reading takes. It changes nothing and sends no signal.
///
/// Without root it sees the processes of its own user. With the feature `bpf` and enough privileges the
/// kernel's own knowledge of pipes and UNIX sockets is part of the evidence. What could not be read is in
/// [`Evidence::problems`].
///
/// # Errors
/// When `/proc` cannot be read, or the requested process does not exist.
pub fn collect(request: &Request) -> Result<Evidence, CollectError> {
    #[cfg(feature = "bpf")]
    let (mut object_facts, mut calls) = (
        crate::kernel::object_facts(true),
        crate::kernel::CallCounter::new(Some(procfs_view::table::own_namespaces(&ProcRoot::system()))),
    );
    #[cfg(not(feature = "bpf"))]
    let (mut object_facts, mut calls) =
        (|_: std::os::fd::BorrowedFd<'_>| None, crate::core::evidence::NoCallWindow);
    procfs_view::collect(&ProcRoot::system(), request, &mut object_facts, &mut calls)
}

/// Explains what hangs in the evidence's scope. A pure function: the same evidence gives the same diagnosis.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    diagnosis::diagnose(evidence)
}
