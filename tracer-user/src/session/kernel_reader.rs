//! What the kernel itself knows of pipes and UNIX sockets, for a look at the machine: programs loaded for it, once one is
//! met that they are asked about.

use std::os::fd::BorrowedFd;

use crate::core::event::ResourceKind;
use crate::core::evidence::{ObjectFacts, PipeFacts, UnixFacts};
use crate::kernel::Inspector;

/// Answers for one look. Where kernel events are not wanted, without privileges, or on a kernel that does not take the
/// programs, it knows nothing.
pub fn reader(wanted: bool) -> impl FnMut(BorrowedFd<'_>) -> Option<ObjectFacts> {
    // `Some(None)`: there is none, and none is to be tried for.
    let mut inspector: Option<Option<Inspector>> = (!wanted).then_some(None);
    move |fd| {
        let told = inspector.get_or_insert_with(|| Inspector::load().ok()).as_ref()?.own_fd(fd)?;
        let stall = told.stall;
        match stall.kind {
            ResourceKind::Pipe | ResourceKind::Fifo => Some(ObjectFacts::Pipe(PipeFacts {
                slots_used: stall.slots.map(|(used, _)| used),
                slots: stall.slots.map(|(_, all)| all),
                readers: stall.ends.map(|(readers, _)| readers),
                writers: stall.ends.map(|(_, writers)| writers),
                ..PipeFacts::default()
            })),
            ResourceKind::UnixSocket => Some(ObjectFacts::Unix(UnixFacts {
                peer: told.unix_peer,
                send_queue: stall.used_bytes,
                send_buffer: stall.capacity_bytes,
                ..UnixFacts::default()
            })),
            _ => None,
        }
    }
}
