//! What the kernel itself knows of pipes, for a look at the machine: programs loaded for it, once a pipe is met.

use std::os::fd::BorrowedFd;

use crate::core::evidence::PipeFacts;
use crate::kernel::Inspector;

/// Answers for one look. Where kernel events are not wanted, without privileges, or on a kernel that does not take the
/// programs, it knows nothing.
pub fn reader(wanted: bool) -> impl FnMut(BorrowedFd<'_>) -> Option<PipeFacts> {
    // `Some(None)`: there is none, and none is to be tried for.
    let mut inspector: Option<Option<Inspector>> = (!wanted).then_some(None);
    move |fd| {
        let inspector = inspector.get_or_insert_with(|| Inspector::load().ok()).as_ref()?;
        let stall = inspector.own_fd(fd)?.stall;
        Some(PipeFacts {
            slots_used: stall.slots.map(|(used, _)| used),
            slots: stall.slots.map(|(_, all)| all),
            readers: stall.ends.map(|(readers, _)| readers),
            writers: stall.ends.map(|(_, writers)| writers),
            ..PipeFacts::default()
        })
    }
}
