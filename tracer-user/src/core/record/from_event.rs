//! The lines of kernel events.

use super::*;
use crate::core::event::{Event, EventBody, Exit, Fork, ResourceKind, Stall};
use crate::core::signal::Signal;
use crate::core::text::ByteString;

/// An empty name in an event is an unknown one.
fn name(bytes: &[u8]) -> Option<ByteString> {
    (!bytes.is_empty()).then(|| ByteString::from(bytes))
}

impl Body {
    /// The line of a kernel event.
    pub fn from_event(event: &Event) -> Self {
        match &event.body {
            EventBody::Fork(fork) => Self::Fork(Box::new(fork.into())),
            EventBody::Exec(exec) => Self::Exec(ExecLine {
                process: exec.process.into(),
                by_thread: exec.by_thread,
                comm: exec.comm.clone().into(),
                filename: exec.filename.clone().map(ByteString),
            }),
            EventBody::Exit(exit) => Self::Exit(Box::new(ExitLine::from_exit(exit, ExitSource::Kernel))),
            EventBody::Signal(signal) => Self::Signal(SignalLine {
                process: signal.target.into(),
                signal: Signal(signal.signal).name(),
                sender: signal.sender.map(ProcessKey::from),
                sender_comm: name(&signal.sender_comm),
                code: signal.code,
                delivered: signal.delivered,
                group: signal.group,
            }),
            EventBody::StallOpen(stall) => {
                Self::Stall(Box::new(StallLine::from_stall(stall, StallPhase::Open, event.boot_ns)))
            }
            EventBody::StallClosed(stall) => {
                Self::Stall(Box::new(StallLine::from_stall(stall, StallPhase::Close, event.boot_ns)))
            }
        }
    }
}

impl From<&Fork> for ForkLine {
    fn from(fork: &Fork) -> Self {
        Self {
            process: fork.child.into(),
            origin: Origin::Fork,
            parent: Some(fork.parent.into()),
            parent_tid: fork.parent_tid,
            start_boottime_ns: fork.extras.start_boottime_ns,
            pidns_ino: fork.extras.pidns_ino,
            ns_pid: fork.extras.ns_pid,
            pidfd_ino: fork.extras.pidfd_ino,
            comm: name(&fork.comm),
        }
    }
}

impl ExitLine {
    /// The line of an end.
    pub fn from_exit(exit: &Exit, source: ExitSource) -> Self {
        Self {
            process: exit.process.into(),
            status: exit.status,
            exit_code: exit.status.and_then(|status| status.exit_code()),
            signal: exit.status.and_then(|status| status.signal()).map(|n| Signal(n.into()).name()),
            core_dumped: exit.status.map(|status| status.core_dumped()),
            parent: exit.parent.map(ProcessKey::from),
            reaper_pid: exit.reaper_tgid,
            killer: exit.killer.as_ref().map(|killer| KillerLine {
                pid: killer.tgid,
                comm: killer.comm.clone().into(),
                signal: Signal(killer.signal).name(),
            }),
            oom_victim: exit.oom_victim,
            cpu_ns: exit.cpu_ns,
            comm: name(&exit.comm),
            seen_late: exit.seen_late,
            source,
        }
    }
}

impl StallLine {
    fn from_stall(stall: &Stall, phase: StallPhase, boot_ns: u64) -> Self {
        Self {
            process: stall.process.into(),
            phase,
            tid: stall.tid,
            comm: stall.comm.clone().into(),
            since_boot_ns: stall.since_boot_ns,
            length_ns: boot_ns.saturating_sub(stall.since_boot_ns),
            fd: stall.fd,
            syscall: stall.syscall,
            resource: resource_name(stall.kind).map(str::to_owned),
            inode: stall.inode,
            device: stall.device,
            socket_family: stall.socket.map(|(family, _)| family),
            socket_type: stall.socket.map(|(_, kind)| kind),
            slots_used: stall.slots.map(|(used, _)| used),
            slots: stall.slots.map(|(_, slots)| slots),
            used_bytes: stall.used_bytes,
            capacity_bytes: stall.capacity_bytes,
            readers: stall.ends.map(|(readers, _)| readers),
            writers: stall.ends.map(|(_, writers)| writers),
            end_seen: stall.end_seen,
        }
    }
}

/// The name of a kind of resource in lines; `None` when it is unknown.
pub fn resource_name(kind: ResourceKind) -> Option<&'static str> {
    match kind {
        ResourceKind::Pipe => Some("pipe"),
        ResourceKind::Fifo => Some("fifo"),
        ResourceKind::UnixSocket => Some("unix_socket"),
        ResourceKind::Socket => Some("socket"),
        ResourceKind::Tty => Some("tty"),
        ResourceKind::Other => Some("other"),
        ResourceKind::Unknown => None,
    }
}
