//! What is known of each object: from its fd's own texts, from the socket tables, and through a borrowed fd.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use super::borrowed_fd::{self, PipeEnd, SocketState};
use super::fdinfo::PidFdTarget;
use super::fds::OpenFd;
use super::holders::{BorrowTasks, Holder, Holders, TaskFd};
use super::process::Collector;
use super::request::KernelReader;
use super::sysv;
use crate::core::evidence::{AnonKind, EpollItem, Evidence, ObjectFacts, ObjectId, PipeFacts, Wait};
use crate::core::signal::SignalSet;
use crate::procfs_view::net::sockets::Sockets;

/// Holders that are tried when an fd is to be borrowed: one that just ended is common, three in a row are
/// not.
const MAX_TRIES: usize = 3;

/// The interest set of each epoll.
pub(crate) type InterestSets = HashMap<ObjectId, Vec<EpollItem>>;

/// Collects the facts of objects.
pub(crate) struct FactsCollector<'f> {
    pub sockets: &'f Sockets,
    pub holders: &'f Holders,
    pub interest: &'f InterestSets,
    pub borrow_tasks: &'f BorrowTasks,
    pub kernel: KernelReader<'f>,
    /// What is known so far.
    pub known: BTreeMap<ObjectId, ObjectFacts>,
    /// SO_RCVTIMEO of the sockets that have one.
    pub timeouts: HashMap<ObjectId, Duration>,
}

impl FactsCollector<'_> {
    /// Adds the object behind an fd of a process, unless it is known.
    pub(crate) fn add(&mut self, opened: &OpenFd, tgid: u32) {
        let id = opened.fd.object;
        if self.known.contains_key(&id) {
            return;
        }
        let holder = self.borrow_tasks.task_fd(tgid, opened.fd.number);
        let facts = match id {
            ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => {
                ObjectFacts::Pipe(PipeFacts { path: opened.path.clone(), ..self.pipe(&id) })
            }
            ObjectId::Unix { ino } => self.unix(&id, ino, opened.info.fds_in_flight),
            ObjectId::Inet { ino } => self.inet(&id, ino),
            ObjectId::Pty { .. } | ObjectId::Tty { .. } => {
                let state = holder.and_then(|fd| borrowed_fd::terminal(&id, fd).ok()).unwrap_or_default();
                ObjectFacts::Terminal {
                    path: opened.path.clone(),
                    readable_bytes: state.readable_bytes,
                    writable: state.writable,
                    canonical: state.canonical,
                }
            }
            ObjectId::File { .. } => ObjectFacts::File {
                path: opened.path.clone(),
                deleted: opened.deleted,
                filesystem: opened.filesystem.clone(),
            },
            ObjectId::Device { .. } => ObjectFacts::Device { path: opened.path.clone() },
            ObjectId::MessageQueue { .. } => ObjectFacts::MessageQueue {
                bytes: holder.and_then(|fd| borrowed_fd::message_queue(&id, fd).ok().flatten()),
                path: opened.path.clone(),
            },
            ObjectId::Anon { kind, .. } => self.anonymous(kind, opened),
            _ => ObjectFacts::Nothing,
        };
        self.known.insert(id, facts);
    }

    /// The first holders that match, as fds to borrow.
    fn candidates(&self, id: &ObjectId, matches: fn(&Holder) -> bool) -> Vec<TaskFd> {
        let holders = self.holders.get(id).into_iter().flatten().filter(|holder| matches(holder));
        holders
            .filter_map(|holder| self.borrow_tasks.task_fd(holder.tgid, holder.fd))
            .take(MAX_TRIES)
            .collect()
    }

    /// A pipe, through both ends where both can be borrowed. The kernel is asked once.
    fn pipe(&mut self, id: &ObjectId) -> PipeFacts {
        let writers = self.candidates(id, |holder| holder.access.writes());
        let written = first_ok(writers, |fd| borrowed_fd::pipe(id, fd, PipeEnd::Write, Some(self.kernel)));
        let readers = self.candidates(id, |holder| holder.access.reads());
        let read = first_ok(readers, |fd| {
            let kernel: Option<KernelReader<'_>> = if written.is_none() { Some(self.kernel) } else { None };
            borrowed_fd::pipe(id, fd, PipeEnd::Read, kernel)
        });
        match (written, read) {
            (Some(written), Some(read)) => PipeFacts {
                used_bytes: read.used_bytes,
                capacity_bytes: read.capacity_bytes,
                readable: read.readable,
                ..written
            },
            (written, read) => written.or(read).unwrap_or_default(),
        }
    }

    fn socket_state(&mut self, id: &ObjectId) -> SocketState {
        let state = first_ok(self.candidates(id, |_| true), |fd| borrowed_fd::socket(id, fd));
        let state = state.unwrap_or_default();
        if let Some(Some(timeout)) = state.receive_timeout {
            self.timeouts.insert(*id, timeout);
        }
        state
    }

    fn unix(&mut self, id: &ObjectId, ino: u64, fds_in_flight: Option<u32>) -> ObjectFacts {
        let mut facts =
            self.sockets.unix.as_ref().and_then(|unix| unix.get(&ino)).cloned().unwrap_or_default();
        let state = self.socket_state(id);
        facts.writable = state.writable;
        facts.readable = state.readable;
        facts.fds_in_flight = fds_in_flight;
        ObjectFacts::Unix(facts)
    }

    fn inet(&mut self, id: &ObjectId, ino: u64) -> ObjectFacts {
        let mut facts =
            self.sockets.inet.as_ref().and_then(|inet| inet.get(&ino)).cloned().unwrap_or_default();
        let state = self.socket_state(id);
        facts.writable = state.writable;
        facts.readable = state.readable;
        ObjectFacts::Inet(facts)
    }

    fn anonymous(&self, kind: AnonKind, opened: &OpenFd) -> ObjectFacts {
        let info = &opened.info;
        match kind {
            // Without fdinfo the set is unknown, and not empty.
            AnonKind::Epoll => {
                let interest = info.flags.and_then(|_| self.interest.get(&opened.fd.object).cloned());
                ObjectFacts::Epoll { interest }
            }
            AnonKind::EventFd => ObjectFacts::EventFd { count: info.eventfd.map(|eventfd| eventfd.count) },
            AnonKind::TimerFd => {
                ObjectFacts::TimerFd { remaining_ns: info.timer_left_ns, ticks: info.timer_ticks }
            }
            AnonKind::SignalFd => ObjectFacts::SignalFd { mask: info.signals.map(SignalSet) },
            AnonKind::PidFd => ObjectFacts::PidFd {
                target: info.pidfd.and_then(PidFdTarget::tgid),
                exited: (info.pidfd == Some(PidFdTarget::Gone)).then_some(true),
            },
            _ => ObjectFacts::Nothing,
        }
    }

    /// Adds the SysV objects, where a thread waits for one: no fd refers to them.
    pub(crate) fn add_sysv(&mut self, evidence: &Evidence, collector: &mut Collector<'_>) {
        let waits = evidence.processes.iter().flat_map(|process| &process.threads).any(|thread| {
            matches!(
                thread.wait,
                Wait::Semaphore { .. } | Wait::MessageSend { .. } | Wait::MessageReceive { .. }
            )
        });
        if waits {
            self.known.extend(sysv::objects(collector.root, &mut collector.buffer));
        }
    }
}

fn first_ok<T>(fds: Vec<TaskFd>, mut look: impl FnMut(TaskFd) -> io::Result<T>) -> Option<T> {
    fds.into_iter().find_map(|fd| look(fd).ok())
}
