//! The peers of UNIX sockets where sock_diag does not show them: the kernel is asked about one socket at a
//! time.

use super::borrowed_fd;
use super::holders::BorrowTasks;
use super::process::Collector;
use super::request::KernelReader;
use crate::core::evidence::{Evidence, ObjectFacts, ObjectId, UnixFacts, UnixKind, UnixState};
use crate::procfs_view::net::sockets::Sockets;

/// Whether it is unknown which socket is the peer, or that there is none.
pub(crate) fn is_unknown(facts: &UnixFacts) -> bool {
    facts.peer.is_none() && facts.state != Some(UnixState::Listening)
}

/// Fills in the peers of the sockets that processes in scope hold.
pub(crate) fn fill_in(
    evidence: &Evidence,
    collector: &Collector<'_>,
    borrow_tasks: &BorrowTasks,
    sockets: &mut Sockets,
    kernel: KernelReader<'_>,
) {
    let Some(unix) = &mut sockets.unix else { return };
    for process in evidence.processes.iter().filter(|process| process.in_scope) {
        let tgid = process.id.tgid;
        for opened in collector.opened.get(&tgid).into_iter().flatten() {
            let object = opened.fd.object;
            let ObjectId::Unix { ino } = object else { continue };
            if !unix.get(&ino).is_some_and(is_unknown) {
                continue;
            }
            let Some(holder) = borrow_tasks.task_fd(tgid, opened.fd.number) else { continue };
            let Some(ObjectFacts::Unix(known)) = borrowed_fd::kernel_facts(&object, holder, kernel) else {
                continue;
            };
            let Some(facts) = unix.get_mut(&ino) else { continue };
            facts.peer = known.peer;
            facts.send_queue = known.send_queue;
            facts.send_buffer = known.send_buffer;
            // The ends of a connection are each other's peers. A datagram socket may send to one that sends
            // elsewhere.
            let mutual = facts.kind != Some(UnixKind::Datagram);
            if let Some(peer) = known.peer.filter(|_| mutual).and_then(|peer| unix.get_mut(&peer)) {
                peer.peer = Some(ino);
            }
        }
    }
}
