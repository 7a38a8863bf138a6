//! What is known of each object.

use crate::core::signal::SignalSet;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::fds::Opened;
use super::objects::{Holder, Holders, Survivors};
use super::process::Gather;
use super::sample::KernelReader;
use super::sockets::Sockets;
use super::{borrowed_fd, sysv};
use crate::core::evidence::{AnonKind, EpollItem, Evidence, ObjectFacts, ObjectId, PipeFacts, Wait};

/// Facts by object, as they are gathered.
pub(crate) struct Facts<'f> {
    sockets: &'f Sockets,
    holders: &'f Holders,
    watched: &'f HashMap<ObjectId, Vec<EpollItem>>,
    survivors: &'f Survivors,
    kernel: KernelReader<'f>,
    /// What is known.
    pub known: BTreeMap<ObjectId, ObjectFacts>,
    /// SO_RCVTIMEO of sockets that have one.
    pub timeouts: HashMap<ObjectId, Duration>,
}

impl<'f> Facts<'f> {
    /// Nothing known yet.
    pub(crate) fn new(
        sockets: &'f Sockets,
        holders: &'f Holders,
        watched: &'f HashMap<ObjectId, Vec<EpollItem>>,
        survivors: &'f Survivors,
        kernel: KernelReader<'f>,
    ) -> Self {
        Self {
            sockets,
            holders,
            watched,
            survivors,
            kernel,
            known: BTreeMap::new(),
            timeouts: HashMap::new(),
        }
    }

    /// Adds the object behind an fd, once.
    pub(crate) fn add(&mut self, opened: &Opened, tgid: u32) {
        let id = opened.fd.object;
        if self.known.contains_key(&id) {
            return;
        }
        let holder = (self.task(tgid), opened.fd.number);
        let facts = match id {
            ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => {
                let mut facts = self.pipe(&id);
                facts.path = opened.path.clone();
                ObjectFacts::Pipe(facts)
            }
            ObjectId::Unix { ino } => self.unix(&id, ino, opened.info.fds_in_flight),
            ObjectId::Inet { ino } => self.inet(&id, ino),
            ObjectId::Pty { .. } | ObjectId::Tty { .. } => {
                let look = borrowed_fd::terminal(&id, holder).unwrap_or_default();
                ObjectFacts::Terminal {
                    path: opened.path.clone(),
                    readable_bytes: look.readable_bytes,
                    writable: look.writable,
                    canonical: look.canonical,
                }
            }
            ObjectId::File { .. } => ObjectFacts::File {
                path: opened.path.clone(),
                deleted: opened.deleted,
                filesystem: opened.filesystem.clone(),
            },
            ObjectId::Device { .. } => ObjectFacts::Device { path: opened.path.clone() },
            ObjectId::MessageQueue { .. } => ObjectFacts::MessageQueue {
                bytes: borrowed_fd::message_queue(&id, holder).unwrap_or(None),
                path: opened.path.clone(),
            },
            ObjectId::Anon { kind, .. } => self.anonymous(kind, opened),
            _ => ObjectFacts::Nothing,
        };
        self.known.insert(id, facts);
    }

    /// Through which thread a process's fds can be borrowed.
    fn task(&self, tgid: u32) -> u32 {
        self.survivors.get(&tgid).copied().unwrap_or(tgid)
    }

    fn holders(&self, id: &ObjectId) -> &'f [Holder] {
        self.holders.get(id).map_or(&[], Vec::as_slice)
    }

    /// A pipe, through the first ends that can be borrowed.
    fn pipe(&mut self, id: &ObjectId) -> PipeFacts {
        let holders = self.holders(id);
        let ends = |wanted: fn(&Holder) -> bool| -> Vec<(u32, u32)> {
            holders.iter().filter(|h| wanted(h)).map(|h| (self.task(h.0), h.1)).take(3).collect()
        };
        let (writers, readers) = (ends(|h| h.2.writes()), ends(|h| h.2.reads()));
        let write_end =
            writers.into_iter().find_map(|end| borrowed_fd::pipe(id, end, true, self.kernel).ok());
        // The kernel is asked once.
        let asked = write_end.is_some();
        let mut facts = write_end.unwrap_or_default();
        let mut no_more = |_: BorrowedFd<'_>| None;
        let kernel: KernelReader<'_> = if asked { &mut no_more } else { self.kernel };
        let read_end = readers.into_iter().find_map(|end| borrowed_fd::pipe(id, end, false, kernel).ok());
        if let Some(seen) = read_end {
            facts.used_bytes = seen.used_bytes;
            facts.capacity_bytes = seen.capacity_bytes;
            facts.readable = seen.readable;
            if !asked {
                facts = seen;
            }
        }
        facts
    }

    fn look_socket(&mut self, id: &ObjectId) -> borrowed_fd::SocketLook {
        let tries = self.holders(id).iter().take(3);
        let seen = tries
            .filter_map(|h| borrowed_fd::socket(id, (self.task(h.0), h.1)).ok())
            .next()
            .unwrap_or_default();
        if let Some(Some(timeout)) = seen.receive_timeout {
            self.timeouts.insert(*id, timeout);
        }
        seen
    }

    fn unix(&mut self, id: &ObjectId, ino: u64, fds_in_flight: Option<u32>) -> ObjectFacts {
        let mut facts =
            self.sockets.unix.as_ref().and_then(|unix| unix.get(&ino)).cloned().unwrap_or_default();
        let seen = self.look_socket(id);
        facts.writable = seen.writable;
        facts.readable = seen.readable;
        facts.fds_in_flight = fds_in_flight;
        ObjectFacts::Unix(facts)
    }

    fn inet(&mut self, id: &ObjectId, ino: u64) -> ObjectFacts {
        let mut facts =
            self.sockets.inet.as_ref().and_then(|inet| inet.get(&ino)).cloned().unwrap_or_default();
        let seen = self.look_socket(id);
        facts.writable = seen.writable;
        facts.readable = seen.readable;
        ObjectFacts::Inet(facts)
    }

    fn anonymous(&self, kind: AnonKind, opened: &Opened) -> ObjectFacts {
        let info = &opened.info;
        let told = info.flags.is_some();
        match kind {
            AnonKind::Epoll => ObjectFacts::Epoll {
                interest: if told { self.watched.get(&opened.fd.object).cloned() } else { None },
            },
            AnonKind::EventFd => ObjectFacts::EventFd { count: info.eventfd.map(|(count, _)| count) },
            AnonKind::TimerFd => {
                ObjectFacts::TimerFd { remaining_ns: info.timer_left_ns, ticks: info.timer_ticks }
            }
            AnonKind::SignalFd => ObjectFacts::SignalFd { mask: info.signals.map(SignalSet) },
            // `Some(None)`: fdinfo says -1, which is a process that was collected.
            AnonKind::PidFd => ObjectFacts::PidFd {
                target: info.pidfd.flatten(),
                exited: (info.pidfd == Some(None)).then_some(true),
            },
            _ => ObjectFacts::Nothing,
        }
    }

    /// SysV objects, which no fd refers to.
    pub(crate) fn sysv(&mut self, evidence: &Evidence, gather: &mut Gather<'_>) {
        let waits = evidence.processes.iter().flat_map(|p| &p.threads).any(|thread| {
            matches!(
                thread.wait,
                Wait::Semaphore { .. } | Wait::MessageSend { .. } | Wait::MessageReceive { .. }
            )
        });
        if waits {
            sysv::add(gather.root, &mut gather.buffer, &mut self.known);
        }
    }
}
