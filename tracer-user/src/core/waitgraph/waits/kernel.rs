//! Waits in the kernel for an answer of a disk, a file server or a supervisor.

use crate::core::evidence::{AnonKind, ObjectFacts, ObjectId, Thread, Wait};
use crate::core::waitgraph::index::{Index, ThreadKey};
use crate::core::waitgraph::model::{
    Liveness, Op, Outside, Releaser, SeedReason, WaitNode, alternative, by_process,
};

/// A program that answers requests of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A listener for seccomp notifications.
    Seccomp,
    /// A handler of user faults.
    UserFault,
    /// A listener for fanotify permission events.
    Fanotify,
    /// The server of a FUSE mount.
    Fuse,
}

/// Kernel functions that wait for a program's answer: a part of their name, and the kind of program. The
/// server's own rest (`fuse_dev_do_read`) is excluded.
const REQUESTS: &[(&str, Service)] = &[
    ("seccomp_do_user_notification", Service::Seccomp),
    ("handle_userfault", Service::UserFault),
    ("fanotify_get_response", Service::Fanotify),
    ("fanotify_handle_event", Service::Fanotify),
    ("request_wait_answer", Service::Fuse),
    ("fuse_simple_request", Service::Fuse),
    ("fuse_get_req", Service::Fuse),
];

impl Service {
    /// What it is asked for, as a part of a sentence.
    pub fn request(self) -> &'static str {
        match self {
            Self::Seccomp => "a seccomp notification",
            Self::UserFault => "a page fault left to userfaultfd",
            Self::Fanotify => "a fanotify permission event",
            Self::Fuse => "a FUSE request",
        }
    }

    /// The service whose answer a thread waits for in the kernel.
    pub fn asked_by(thread: &Thread) -> Option<Self> {
        let frames = thread.wchan.iter().chain(thread.stack.iter().flatten());
        frames
            .flat_map(|frame| REQUESTS.iter().filter(move |(part, _)| frame.contains(part)))
            .map(|(_, service)| *service)
            .next()
    }

    fn serves_through(self, index: &Index<'_>, id: &ObjectId) -> bool {
        let kind = match self {
            Self::Seccomp => AnonKind::SeccompNotify,
            Self::UserFault => AnonKind::UserFault,
            Self::Fanotify => AnonKind::Fanotify,
            Self::Fuse => return is_fuse_device(index, id),
        };
        matches!(id, ObjectId::Anon { kind: k, .. } if *k == kind)
    }
}

/// `/dev/fuse`, through which a file system's server takes requests.
pub(super) fn is_fuse_device(index: &Index<'_>, id: &ObjectId) -> bool {
    let fuse = |path: &crate::core::evidence::ByteString| path.as_bytes() == b"/dev/fuse";
    matches!(id, ObjectId::Device { .. })
        && matches!(index.facts(id), ObjectFacts::Device { path: Some(path) } if fuse(path))
}

/// The processes that could answer, by position.
pub fn servers(index: &Index<'_>, service: Service) -> Vec<usize> {
    (0..index.evidence().processes.len())
        .filter(|at| {
            let fds = index.process(*at).fds.as_deref().unwrap_or_default();
            fds.iter().any(|fd| service.serves_through(index, &fd.object))
        })
        .collect()
}

/// A wait for a program's answer to the kernel. `None`: it is another wait, or the program was not found.
pub(super) fn request(index: &Index<'_>, key: ThreadKey) -> Option<WaitNode> {
    let service = Service::asked_by(index.thread(key))?;
    let servers = servers(index, service);
    let releasers: Vec<Releaser> = servers.iter().flat_map(|at| answering(index, *at, service)).collect();
    (!releasers.is_empty()).then(|| WaitNode::one(alternative(Op::Kernel, None, None, releasers)))
}

/// The threads of a server that can answer a request that it has taken: those that do not wait for the next
/// one. All of them, as one party, when every thread waits.
fn answering(index: &Index<'_>, server: usize, service: Service) -> Vec<Releaser> {
    let process = index.process(server);
    let takes_next = |thread: &Thread| match thread.wait {
        Wait::Read { fd, .. } => process.fd(fd).is_some_and(|fd| service.serves_through(index, &fd.object)),
        _ => false,
    };
    let busy: Vec<Releaser> = process
        .threads
        .iter()
        .enumerate()
        .filter(|(_, thread)| !takes_next(thread))
        .map(|(thread, _)| Releaser::Thread(ThreadKey { process: server, thread }))
        .collect();
    if busy.is_empty() { vec![by_process(server)] } else { busy }
}

/// A sleep that no signal ends, for an unknown reason.
pub(super) fn uninterruptible(thread: &Thread) -> WaitNode {
    let what = match thread.wchan.as_deref() {
        Some(wchan) if !wchan.is_empty() && wchan != "0" => format!("the kernel ({wchan})"),
        _ => "the kernel".to_owned(),
    };
    let device = vec![Releaser::Outside(Outside::Device(what))];
    let mut node = WaitNode::one(alternative(Op::Kernel, None, None, device));
    node.raise(Liveness::External, SeedReason::Uninterruptible);
    node
}
