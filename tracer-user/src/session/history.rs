//! What of a session's events a diagnosis may need: the last of them, bounded.

use std::collections::VecDeque;

use crate::core::event::{Event, EventBody, ResourceKind, Stall};
use crate::core::evidence::{
    BlockedWrite, ByteString, ExitSeen, ForkSeen, History, ObjectId, PipeFacts, SignalSeen,
};
use crate::core::identity::ProcessId;

/// Events of each kind that are kept.
const KEPT: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct Recent {
    exits: VecDeque<ExitSeen>,
    forks: VecDeque<ForkSeen>,
    signals: VecDeque<SignalSeen>,
    /// Open stalls.
    blocked: Vec<Stall>,
    /// Everything is known from here on; moves when old events go.
    since_boot_ns: Option<u64>,
}

impl Recent {
    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        let at_boot_ns = event.boot_ns;
        self.since_boot_ns.get_or_insert(at_boot_ns);
        match &event.body {
            EventBody::Fork(fork) => {
                let seen = ForkSeen { at_boot_ns, parent: fork.parent, child: fork.child };
                keep(&mut self.forks, seen, &mut self.since_boot_ns, at_boot_ns);
            }
            EventBody::Exit(exit) => {
                self.blocked.retain(|stall| stall.process != exit.process);
                let seen = ExitSeen {
                    at_boot_ns,
                    process: exit.process,
                    parent: exit.parent,
                    status: exit.status,
                    killer: exit.killer.as_ref().map(|killer| killer.tgid),
                    oom: exit.oom_victim,
                    comm: ByteString(exit.comm.clone()),
                };
                keep(&mut self.exits, seen, &mut self.since_boot_ns, at_boot_ns);
            }
            EventBody::Signal(signal) => {
                let seen = SignalSeen {
                    at_boot_ns,
                    target: signal.target,
                    sender: signal.sender,
                    signal: signal.signal,
                    delivered: signal.delivered,
                };
                keep(&mut self.signals, seen, &mut self.since_boot_ns, at_boot_ns);
            }
            EventBody::StallOpen(stall) => {
                self.blocked.retain(|other| other.tid != stall.tid);
                self.blocked.push(stall.clone());
            }
            EventBody::StallClosed(stall) => self.blocked.retain(|other| other.tid != stall.tid),
            EventBody::Exec(_) => {}
        }
    }

    /// When the process was first sent this signal by this sender after that time.
    pub fn sent(&self, process: ProcessId, signal: u32, sender_tgid: u32, after_boot_ns: u64) -> Option<u64> {
        let theirs = |seen: &&SignalSeen| {
            let sender = seen.sender.map(|sender| sender.tgid);
            (seen.target, seen.signal, sender) == (process, signal, Some(sender_tgid))
        };
        let late = self.signals.iter().rev().take_while(|seen| seen.at_boot_ns > after_boot_ns);
        late.filter(theirs).last().map(|seen| seen.at_boot_ns)
    }

    /// As evidence.
    pub fn evidence(&self, lost: u64) -> History {
        History {
            since_boot_ns: self.since_boot_ns,
            lost,
            exits: self.exits.iter().cloned().collect(),
            forks: self.forks.iter().cloned().collect(),
            signals: self.signals.iter().cloned().collect(),
            blocked_writes: self.blocked.iter().map(blocked_write).collect(),
        }
    }

    /// What the kernel told of the pipes that are written to in vain, by inode.
    pub fn pipes(&self) -> impl Iterator<Item = (u64, PipeFacts)> + '_ {
        self.blocked.iter().filter(|stall| stall.kind == ResourceKind::Pipe).filter_map(|stall| {
            let (slots_used, slots) = stall.slots.unzip();
            let (readers, writers) = stall.ends.unzip();
            let facts = PipeFacts {
                used_bytes: stall.used_bytes,
                capacity_bytes: stall.capacity_bytes,
                slots_used,
                slots,
                readers,
                writers,
                ..PipeFacts::default()
            };
            Some((stall.inode?, facts))
        })
    }
}

fn keep<T>(kept: &mut VecDeque<T>, seen: T, since_boot_ns: &mut Option<u64>, at_boot_ns: u64) {
    if kept.len() == KEPT {
        kept.pop_front();
        *since_boot_ns = Some(at_boot_ns);
    }
    kept.push_back(seen);
}

fn blocked_write(stall: &Stall) -> BlockedWrite {
    let object = match (stall.kind, stall.inode) {
        (ResourceKind::Pipe, Some(ino)) => Some(ObjectId::Pipe { ino }),
        (ResourceKind::UnixSocket, Some(ino)) => Some(ObjectId::Unix { ino }),
        _ => None,
    };
    BlockedWrite {
        process: stall.process,
        tid: stall.tid,
        since_boot_ns: stall.since_boot_ns,
        fd: stall.fd,
        object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Exit;
    use crate::core::identity::ProcessId;

    fn exit(tgid: u32, boot_ns: u64) -> Event {
        let process = ProcessId { tgid, start_ticks: 1 };
        let body = EventBody::Exit(Exit {
            process,
            status: None,
            parent: None,
            reaper_tgid: None,
            killer: None,
            oom_victim: None,
            seen_late: false,
            cpu_ns: None,
            comm: Vec::new(),
        });
        Event { boot_ns, body }
    }

    #[test]
    fn old_events_go_and_what_is_known_begins_later() {
        let mut recent = Recent::default();
        for n in 0..KEPT as u64 {
            recent.note(&exit(1, n));
        }
        assert_eq!(recent.evidence(0).since_boot_ns, Some(0));
        recent.note(&exit(1, 9_999));
        let history = recent.evidence(3);
        assert_eq!((history.exits.len(), history.since_boot_ns, history.lost), (KEPT, Some(9_999), 3));
    }
}
