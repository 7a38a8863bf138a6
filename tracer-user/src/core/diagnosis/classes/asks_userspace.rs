//! `asks-userspace`: the kernel has handed a request to a program (FUSE, seccomp notification, userfaultfd,
//! fanotify) that does not answer.

use crate::core::diagnosis::case::Case;
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::text::list;
use crate::core::waitgraph::{Liveness, Op, Service, servers};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    if case.alternative(view).op != Op::Kernel {
        return None;
    }
    let service = Service::asked_by(view.thread(case.waiter))?;
    let what = service.request();
    let mut judgement = Judgement::of(view, case, Class::AsksUserspace);
    let servers = servers(&view.graph.index, service);
    let names: Vec<String> =
        servers.iter().map(|at| format!("{} ({})", view.label(*at), view.rest(*at))).collect();
    judgement.because = Some(match names.as_slice() {
        [] => {
            format!("the kernel waits for the answer to {what}, and no program that could give it was found")
        }
        names => format!("the kernel waits for the answer to {what}, which is up to {}", list(names)),
    });
    if servers.iter().any(|at| view.graph.process(*at) == Liveness::Active) {
        judgement.note("The program that has to answer makes progress: it may yet do so.");
    }
    Some(
        judgement
            .advise(&["Let the supervisor answer every request, also while it waits for its own children, and close its fd when it gives up: the kernel then fails the requests."])
            .or_now(&["End the supervisor: its requests then fail, and the waiter goes on."]),
    )
}
