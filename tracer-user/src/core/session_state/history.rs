//! The latest kernel events of a session, bounded: the history that a diagnosis may need.

use std::collections::VecDeque;

use crate::core::event::{Event, EventBody, ResourceKind, Stall};
use crate::core::evidence::{
    BlockedWrite, Evidence, ExitSeen, ForkSeen, History, ObjectFacts, ObjectId, PipeFacts, SignalSeen,
};
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

/// The number of events of each kind that are kept.
const KEPT: usize = 4096;

/// The latest events of a session.
#[derive(Clone, Debug, Default)]
pub struct EventHistory {
    exits: VecDeque<ExitSeen>,
    forks: VecDeque<ForkSeen>,
    signals: VecDeque<SignalSeen>,
    /// Writes that are blocked now.
    blocked: Vec<Stall>,
    /// From here on every event is kept; moves when old events are dropped.
    since_boot_ns: Option<u64>,
}

impl EventHistory {
    /// Adds an event.
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

    /// When the process was first sent this signal by this sender after a time, CLOCK_BOOTTIME nanoseconds.
    pub fn sent(&self, process: ProcessId, signal: u32, sender_tgid: u32, after_boot_ns: u64) -> Option<u64> {
        let matches = |seen: &&SignalSeen| {
            let sender = seen.sender.map(|sender| sender.tgid);
            (seen.target, seen.signal, sender) == (process, signal, Some(sender_tgid))
        };
        let later = self.signals.iter().rev().take_while(|seen| seen.at_boot_ns > after_boot_ns);
        later.filter(matches).last().map(|seen| seen.at_boot_ns)
    }

    /// Adds to evidence what the kernel reported of the session. `lost` is the number of events that were
    /// lost.
    pub fn merge_into(&self, evidence: &mut Evidence, lost: u64) {
        evidence.kernel_events = true;
        evidence.history = Some(self.evidence(lost));
        for stall in self.blocked.iter().filter(|stall| stall.kind == ResourceKind::Pipe) {
            let Some(id) = stall.inode.map(|ino| ObjectId::Pipe { ino }) else { continue };
            let Some(object) = evidence.objects.iter_mut().find(|object| object.id == id) else { continue };
            let ObjectFacts::Pipe(facts) = &mut object.facts else { continue };
            let reported = pipe_facts(stall);
            facts.slots_used = facts.slots_used.or(reported.slots_used);
            facts.slots = facts.slots.or(reported.slots);
            facts.readers = facts.readers.or(reported.readers);
            facts.writers = facts.writers.or(reported.writers);
        }
    }

    fn evidence(&self, lost: u64) -> History {
        History {
            since_boot_ns: self.since_boot_ns,
            lost,
            exits: self.exits.iter().cloned().collect(),
            forks: self.forks.iter().cloned().collect(),
            signals: self.signals.iter().cloned().collect(),
            blocked_writes: self.blocked.iter().map(blocked_write).collect(),
        }
    }
}

/// What the kernel reports of a pipe that is written to.
pub fn pipe_facts(stall: &Stall) -> PipeFacts {
    let (slots_used, slots) = stall.slots.unzip();
    let (readers, writers) = stall.ends.unzip();
    PipeFacts {
        used_bytes: stall.used_bytes,
        capacity_bytes: stall.capacity_bytes,
        slots_used,
        slots,
        readers,
        writers,
        ..PipeFacts::default()
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

    fn exit(tgid: u32, boot_ns: u64) -> Event {
        let exit = Exit::of(ProcessId { tgid, start_ticks: 1 }, None);
        Event { boot_ns, body: EventBody::Exit(exit) }
    }

    #[test]
    fn dropped_events_move_the_beginning_of_the_history() {
        let mut history = EventHistory::default();
        for n in 0..KEPT as u64 {
            history.note(&exit(1, n));
        }
        assert_eq!(history.evidence(0).since_boot_ns, Some(0));
        history.note(&exit(1, 9_999));
        let evidence = history.evidence(3);
        assert_eq!((evidence.exits.len(), evidence.since_boot_ns, evidence.lost), (KEPT, Some(9_999), 3));
    }
}
