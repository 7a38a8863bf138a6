//! Who is at the other end of a UNIX socket where sock_diag does not tell: the kernel is asked, a socket at a time.

use super::borrowed_fd;
use super::objects::Survivors;
use super::process::Gather;
use super::sample::KernelReader;
use super::sockets::Sockets;
use crate::core::evidence::{Evidence, ObjectFacts, ObjectId, UnixFacts, UnixKind, UnixState};

/// Whether nobody has said who is at the other end, or that nobody is.
pub(crate) fn is_unknown(facts: &UnixFacts) -> bool {
    facts.peer.is_none() && facts.state != Some(UnixState::Listening)
}

/// Fills in the peers of the sockets that processes in scope hold.
pub(crate) fn ask(
    evidence: &Evidence,
    gather: &Gather<'_>,
    survivors: &Survivors,
    sockets: &mut Sockets,
    kernel: KernelReader<'_>,
) {
    let Some(unix) = &mut sockets.unix else { return };
    for process in evidence.processes.iter().filter(|process| process.in_scope) {
        let tgid = process.id.tgid;
        let task = survivors.get(&tgid).copied().unwrap_or(tgid);
        for opened in gather.opened.get(&tgid).into_iter().flatten() {
            let object = opened.fd.object;
            let ObjectId::Unix { ino } = object else { continue };
            if !unix.get(&ino).is_some_and(is_unknown) {
                continue;
            }
            let told = borrowed_fd::asked(&object, (task, opened.fd.number), kernel);
            let (Some(ObjectFacts::Unix(told)), Some(facts)) = (told, unix.get_mut(&ino)) else { continue };
            facts.peer = told.peer;
            facts.send_queue = told.send_queue;
            facts.send_buffer = told.send_buffer;
            // Ends of a connection are each other's. Datagrams may go to one who sends to another.
            let mutual = facts.kind != Some(UnixKind::Datagram);
            if let Some(peer) = told.peer.filter(|_| mutual).and_then(|peer| unix.get_mut(&peer)) {
                peer.peer = Some(ino);
            }
        }
    }
}
