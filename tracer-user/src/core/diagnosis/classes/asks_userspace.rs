//! `asks-userspace`: the kernel has handed a request to a program (FUSE, seccomp notification, userfaultfd, fanotify) that does not answer.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::sentence::list;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{AnonKind, ObjectFacts, ObjectId};
use crate::core::waitgraph::{Liveness, Op};

/// Kernel functions that wait for a program's answer: a part of their name, what it is, and who answers.
const ASKING: &[(&str, &str, Server)] = &[
    ("seccomp_do_user_notification", "a seccomp notification", Server::Anon(AnonKind::SeccompNotify)),
    ("handle_userfault", "a page fault left to userfaultfd", Server::Anon(AnonKind::UserFault)),
    ("fanotify_get_response", "a fanotify permission event", Server::Anon(AnonKind::Fanotify)),
    ("fanotify_handle_event", "a fanotify permission event", Server::Anon(AnonKind::Fanotify)),
    ("request_wait_answer", "a FUSE request", Server::Fuse),
    ("fuse_", "a FUSE request", Server::Fuse),
];

#[derive(Clone, Copy)]
enum Server {
    Anon(AnonKind),
    Fuse,
}

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    if case.shape != Shape::Outside || case.alternative(view).op != Op::Kernel {
        return None;
    }
    let thread = view.thread(case.waiter);
    let frames = thread.wchan.iter().chain(thread.stack.iter().flatten());
    let (_, what, server) =
        frames.flat_map(|f| ASKING.iter().filter(move |(part, ..)| f.contains(part))).next()?;
    let mut judgement = Judgement::of(view, case, Class::AsksUserspace);
    let servers = servers(view, *server);
    let names: Vec<String> =
        servers.iter().map(|at| format!("{} ({})", view.label(*at), view.rest(*at))).collect();
    judgement.because = Some(match names.as_slice() {
        [] => {
            format!("the kernel waits for the answer to {what}, and no program that could give it was found")
        }
        names => format!("the kernel waits for the answer to {what}, which is up to {}", list(names)),
    });
    if servers.iter().any(|at| view.graph.process(*at) == Liveness::Active) {
        judgement.note("Whoever has to answer moves: it may yet do so.");
    }
    Some(
        judgement
            .advise(&["Let the supervisor answer every request, also while it waits for its own children, and close its fd when it gives up: the kernel then fails the requests."])
            .or_now(&["End the supervisor: its requests then fail, and the waiter goes on."]),
    )
}

fn servers(view: &View<'_>, server: Server) -> Vec<usize> {
    let serves = |id: &ObjectId| match (server, id) {
        (Server::Anon(wanted), ObjectId::Anon { kind, .. }) => *kind == wanted,
        (Server::Fuse, ObjectId::Device { .. }) => {
            matches!(view.facts(id), ObjectFacts::Device { path: Some(p) } if p.as_bytes() == b"/dev/fuse")
        }
        _ => false,
    };
    (0..view.evidence().processes.len())
        .filter(|at| view.process(*at).fds.iter().flatten().any(|fd| serves(&fd.object)))
        .collect()
}
