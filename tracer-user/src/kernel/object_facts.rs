//! What the kernel itself knows of pipes and UNIX sockets. Its programs are loaded once the first such object
//! is met.

use std::os::fd::BorrowedFd;

use super::inspect::Inspector;
use crate::core::event::ResourceKind;
use crate::core::evidence::{ObjectFacts, UnixFacts};
use crate::core::session_state::pipe_facts;

/// A reader for one collection of evidence. It returns `None` where kernel events are not `wanted`, without
/// privileges, and on a kernel that does not accept the programs.
pub fn object_facts(wanted: bool) -> impl FnMut(BorrowedFd<'_>) -> Option<ObjectFacts> {
    // `Some(None)`: the programs are unavailable, and loading them is not tried again.
    let mut inspector: Option<Option<Inspector>> = (!wanted).then_some(None);
    move |fd| {
        let inspection = inspector.get_or_insert_with(|| Inspector::load().ok()).as_ref()?.own_fd(fd)?;
        let stall = inspection.stall;
        match stall.kind {
            ResourceKind::Pipe | ResourceKind::Fifo => Some(ObjectFacts::Pipe(pipe_facts(&stall))),
            ResourceKind::UnixSocket => Some(ObjectFacts::Unix(UnixFacts {
                peer: inspection.unix_peer,
                send_queue: stall.used_bytes,
                send_buffer: stall.capacity_bytes,
                ..UnixFacts::default()
            })),
            _ => None,
        }
    }
}
