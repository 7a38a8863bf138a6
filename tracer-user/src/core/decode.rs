//! Bytes of the kernel side's records → [`Event`]s and plain values. Total: any bytes decode or are refused.
//!
//! The layouts are those of `tracer_ebpf::wire`; what is zero there for "unknown" is `None` here.

use bytes::{Buf, BufMut};
use tracer_ebpf::{
    limits::{COMM_BYTES, FILENAME_BYTES},
    wire::{self, ProcessKey, WIRE_VERSION, fate_flags, kind, resource_kind},
};

use super::{
    event::{Event, EventBody, Exec, Exit, Fork, IdentityExtras, Killer, ResourceKind, Signal, Stall},
    identity::{ProcessId, WaitStatus},
};

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record has.
    #[error("record of kind {kind} is cut short: {got} bytes, {needed} needed")]
    Short {
        /// What the header says it is, 0 when there is no header.
        kind: u16,
        /// Bytes there are.
        got: usize,
        /// Bytes there should be.
        needed: usize,
    },
    /// Made by another version of the kernel side.
    #[error("record of wire version {0}, this program reads {WIRE_VERSION}")]
    Version(u16),
    /// Of no kind that is known.
    #[error("record of unknown kind {0}")]
    Kind(u16),
}

/// Sizes of records as bytes, for maps.
pub mod size {
    use tracer_ebpf::wire;
    /// A map key that is a process.
    pub const PROCESS_KEY: usize = size_of::<wire::ProcessKey>();
    /// A fate.
    pub const FATE: usize = size_of::<wire::Fate>();
    /// A stall.
    pub const STALL: usize = size_of::<wire::StallRecord>();
    /// An inspection.
    pub const INSPECTION: usize = size_of::<wire::Inspection>();
}

/// What became of a process, as the kernel's map holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When it ended; `None`: it runs.
    pub exit_boot_ns: Option<u64>,
    /// How it ended. `None` while it runs.
    pub exit: Option<Exit>,
    /// More about its identity.
    pub extras: IdentityExtras,
    /// Who made it; `None` for what was enrolled by hand.
    pub parent: Option<ProcessId>,
}

/// What the inspection program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Address of the open file description.
    pub file: Option<u64>,
    /// Inode of the socket at the other end of a UNIX socket; `Some(0)`: it has none.
    pub unix_peer: Option<u64>,
    /// What it is.
    pub stall: Stall,
}

/// A record of the session's ring or of the stall log.
pub fn event(mut bytes: &[u8]) -> Result<Event, DecodeError> {
    let got = bytes.len();
    let header_size = size_of::<wire::Header>();
    if got < header_size {
        return Err(DecodeError::Short { kind: 0, got, needed: header_size });
    }
    let b = &mut bytes;
    let (kind, version, _size, boot_ns) = (b.get_u16_le(), b.get_u16_le(), b.get_u32_le(), b.get_u64_le());
    if version != WIRE_VERSION {
        return Err(DecodeError::Version(version));
    }
    let needed = match kind {
        kind::FORK => size_of::<wire::ForkRecord>(),
        kind::EXEC => size_of::<wire::ExecRecord>(),
        kind::EXIT => size_of::<wire::ExitRecord>(),
        kind::SIGNAL => size_of::<wire::SignalRecord>(),
        kind::STALL_OPEN | kind::STALL_CLOSED => size_of::<wire::StallRecord>(),
        other => return Err(DecodeError::Kind(other)),
    };
    if got < needed {
        return Err(DecodeError::Short { kind, got, needed });
    }
    let body = match kind {
        kind::FORK => EventBody::Fork(fork(b)),
        kind::EXEC => EventBody::Exec(exec(b)),
        kind::EXIT => {
            let process = key(b);
            EventBody::Exit(exit(id(process), raw_fate(b)))
        }
        kind::SIGNAL => EventBody::Signal(signal(b)),
        kind::STALL_OPEN => EventBody::StallOpen(stall(b)),
        _ => EventBody::StallClosed(Stall { end_seen: Some(true), ..stall(b) }),
    };
    Ok(Event { boot_ns, body })
}

/// A stall without its header's check, as the maps hold it; the time is when it was recorded.
pub fn stall_record(bytes: &[u8; size::STALL]) -> Result<Event, DecodeError> {
    event(bytes)
}

/// The answer of the inspection program; `None` when what was asked for was gone.
pub fn inspection(bytes: &[u8; size::INSPECTION]) -> Option<Inspection> {
    let b = &mut &bytes[..];
    let (valid, _f_mode, file) = (b.get_u32_le(), b.get_u32_le(), b.get_u64_le());
    let unix_peer = match b.get_u64_le() {
        wire::NO_PEER => Some(0),
        inode => known(inode),
    };
    b.advance(size_of::<wire::Header>());
    (valid == 1).then(|| Inspection { file: known(file), unix_peer, stall: stall(b) })
}

/// A value of the fate map.
pub fn fate(process: ProcessId, bytes: &[u8; size::FATE]) -> Fate {
    let raw = raw_fate(&mut &bytes[..]);
    let exit_boot_ns = known(raw.exit_boot_ns);
    Fate {
        exit_boot_ns,
        extras: IdentityExtras {
            start_boottime_ns: None,
            pidns_ino: known(raw.pidns_ino),
            ns_pid: known(raw.ns_pid),
            pidfd_ino: known(raw.pidfd_ino),
        },
        parent: (raw.parent.tgid != 0).then(|| id(raw.parent)),
        exit: exit_boot_ns.map(|_| exit(process, raw)),
    }
}

/// A key of the fate map.
pub fn process_key(bytes: &[u8; size::PROCESS_KEY]) -> ProcessKey {
    key(&mut &bytes[..])
}

/// A key of the fate map, as bytes.
pub fn process_key_bytes(process: ProcessKey) -> [u8; size::PROCESS_KEY] {
    let mut bytes = [0; size::PROCESS_KEY];
    let mut b = &mut bytes[..];
    b.put_u32_le(process.tgid);
    b.put_u32_le(process.zero);
    b.put_u64_le(process.start_ticks);
    bytes
}

/// The fate of a process that is enrolled by hand and runs, as bytes.
pub fn enrolled_fate_bytes(extras: &IdentityExtras) -> [u8; size::FATE] {
    let mut bytes = [0; size::FATE];
    let mut b = &mut bytes[..];
    b.put_u64_le(0);
    b.put_u32_le(0);
    b.put_u32_le(fate_flags::ENROLLED);
    b.put_bytes(0, size::PROCESS_KEY);
    b.put_u64_le(extras.pidns_ino.unwrap_or(0));
    b.put_u64_le(extras.pidfd_ino.unwrap_or(0));
    b.put_u32_le(extras.ns_pid.unwrap_or(0));
    bytes
}

struct RawFate {
    exit_boot_ns: u64,
    wait_status: u32,
    flags: u32,
    parent: ProcessKey,
    pidns_ino: u64,
    pidfd_ino: u64,
    ns_pid: u32,
    reaper_tgid: u32,
    killer_tgid: u32,
    killer_signal: u32,
    killer_comm: Vec<u8>,
    cpu_ns: u64,
    comm: Vec<u8>,
}

fn raw_fate(b: &mut &[u8]) -> RawFate {
    RawFate {
        exit_boot_ns: b.get_u64_le(),
        wait_status: b.get_u32_le(),
        flags: b.get_u32_le(),
        parent: key(b),
        pidns_ino: b.get_u64_le(),
        pidfd_ino: b.get_u64_le(),
        ns_pid: b.get_u32_le(),
        reaper_tgid: b.get_u32_le(),
        killer_tgid: b.get_u32_le(),
        killer_signal: b.get_u32_le(),
        killer_comm: name(b),
        cpu_ns: b.get_u64_le(),
        comm: name(b),
    }
}

fn exit(process: ProcessId, raw: RawFate) -> Exit {
    let killer = (raw.killer_tgid != 0).then_some(Killer {
        tgid: raw.killer_tgid,
        comm: raw.killer_comm,
        signal: raw.killer_signal,
    });
    Exit {
        process,
        status: Some(WaitStatus(raw.wait_status)),
        parent: (raw.parent.tgid != 0).then(|| id(raw.parent)),
        reaper_tgid: known(raw.reaper_tgid),
        killer,
        oom_victim: Some(raw.flags & fate_flags::OOM_VICTIM != 0),
        cpu_ns: known(raw.cpu_ns),
        comm: raw.comm,
        seen_late: raw.flags & fate_flags::SEEN_LATE != 0,
    }
}

fn fork(b: &mut &[u8]) -> Fork {
    let (parent, child) = (key(b), key(b));
    let start_boottime_ns = known(b.get_u64_le());
    let parent_tid = known(b.get_u32_le());
    let ns_pid = known(b.get_u32_le());
    let pidns_ino = known(b.get_u64_le());
    let pidfd_ino = known(b.get_u64_le());
    Fork {
        parent: id(parent),
        parent_tid,
        child: id(child),
        extras: IdentityExtras { start_boottime_ns, pidns_ino, ns_pid, pidfd_ino },
        comm: name(b),
    }
}

fn exec(b: &mut &[u8]) -> Exec {
    let process = id(key(b));
    let old_tid = b.get_u32_le();
    // The kernel's string helper counts the terminating NUL where it fits.
    let filename_bytes = (b.get_u32_le() as usize).min(FILENAME_BYTES);
    let comm = name(b);
    let filename: Vec<u8> = b[..filename_bytes].iter().copied().take_while(|&c| c != 0).collect();
    Exec {
        process,
        by_thread: (old_tid != process.tgid).then_some(old_tid),
        comm,
        filename: (!filename.is_empty()).then_some(filename),
    }
}

fn signal(b: &mut &[u8]) -> Signal {
    let (target, sender) = (key(b), key(b));
    let signal = b.get_u32_le();
    let code = b.get_i32_le();
    let result = b.get_u32_le();
    let group = b.get_u32_le() != 0;
    let sender_comm = name(b);
    // Above 0 the kernel sent it, and -2 is an expired timer (`include/uapi/asm-generic/siginfo.h`).
    let by_process = code <= 0 && code != -2;
    Signal {
        target: id(target),
        sender: by_process.then(|| id(sender)),
        sender_comm: if by_process { sender_comm } else { Vec::new() },
        signal,
        code,
        delivered: result == 0,
        group,
    }
}

fn stall(b: &mut &[u8]) -> Stall {
    let process = id(key(b));
    let since_boot_ns = b.get_u64_le();
    let inode = known(b.get_u64_le());
    let tid = b.get_u32_le();
    let fd = u32::try_from(b.get_i32_le()).ok();
    let syscall = b.get_u32_le();
    let kind = resource(b.get_u32_le());
    let device = known(b.get_u32_le());
    let socket = b.get_u32_le();
    let (slots_used, slots) = (b.get_u32_le(), b.get_u32_le());
    let used_bytes = b.get_u64_le();
    let capacity_bytes = known(b.get_u64_le());
    let (readers, writers) = (b.get_u32_le(), b.get_u32_le());
    let comm = name(b);
    let is_socket = matches!(kind, ResourceKind::Socket | ResourceKind::UnixSocket);
    Stall {
        process,
        tid,
        comm,
        since_boot_ns,
        fd,
        syscall: Some(syscall),
        kind,
        inode,
        device,
        socket: is_socket.then_some((socket as u16, (socket >> 16) as u16)),
        slots: (slots != 0).then_some((slots_used, slots)),
        used_bytes: (used_bytes != u64::MAX).then_some(used_bytes),
        capacity_bytes,
        ends: (slots != 0).then_some((readers, writers)),
        end_seen: None,
    }
}

fn resource(number: u32) -> ResourceKind {
    match number {
        resource_kind::PIPE => ResourceKind::Pipe,
        resource_kind::FIFO => ResourceKind::Fifo,
        resource_kind::UNIX_SOCKET => ResourceKind::UnixSocket,
        resource_kind::SOCKET => ResourceKind::Socket,
        resource_kind::TTY => ResourceKind::Tty,
        resource_kind::OTHER => ResourceKind::Other,
        _ => ResourceKind::Unknown,
    }
}

fn key(b: &mut &[u8]) -> ProcessKey {
    ProcessKey { tgid: b.get_u32_le(), zero: b.get_u32_le(), start_ticks: b.get_u64_le() }
}

fn id(process: ProcessKey) -> ProcessId {
    ProcessId { tgid: process.tgid, start_ticks: process.start_ticks }
}

fn name(b: &mut &[u8]) -> Vec<u8> {
    let mut padded = [0; COMM_BYTES];
    b.copy_to_slice(&mut padded);
    padded.iter().copied().take_while(|&c| c != 0).collect()
}

fn known<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: u16, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u16_le(kind);
        bytes.put_u16_le(WIRE_VERSION);
        bytes.put_u32_le(size as u32);
        bytes.put_u64_le(77);
        bytes
    }

    #[test]
    fn a_fork_decodes_with_unknowns_absent() {
        let mut bytes = header(kind::FORK, 96);
        bytes.extend(process_key_bytes(ProcessKey { tgid: 3, zero: 0, start_ticks: 2 }));
        bytes.extend(process_key_bytes(ProcessKey { tgid: 4, zero: 0, start_ticks: 3 }));
        bytes.put_u64_le(39_999_999);
        bytes.put_u32_le(3);
        bytes.put_u32_le(0);
        bytes.put_u64_le(4_026_531_836);
        bytes.put_u64_le(0);
        bytes.extend(b"caf\xc3\0\0\0\0\0\0\0\0\0\0\0\0");
        let event = event(&bytes).unwrap();
        assert_eq!(event.boot_ns, 77);
        let EventBody::Fork(fork) = event.body else { panic!("{event:?}") };
        assert_eq!((fork.parent.start_ticks, fork.child.start_ticks), (2, 3));
        assert_eq!((fork.extras.ns_pid, fork.extras.pidfd_ino), (None, None));
        assert_eq!(fork.comm, b"caf\xc3");
    }

    #[test]
    fn an_enrolled_fate_reads_back_as_running() {
        let extras = IdentityExtras {
            start_boottime_ns: Some(1),
            pidns_ino: Some(2),
            ns_pid: Some(3),
            pidfd_ino: Some(4),
        };
        let fate = fate(ProcessId { tgid: 9, start_ticks: 0 }, &enrolled_fate_bytes(&extras));
        assert_eq!((fate.exit_boot_ns, fate.exit, fate.parent), (None, None, None));
        assert_eq!(fate.extras, IdentityExtras { start_boottime_ns: None, ..extras });
    }

    #[test]
    fn another_version_and_an_unknown_kind_are_named() {
        let mut bytes = header(kind::FORK, 96);
        bytes[2] = 0xee;
        assert!(matches!(event(&bytes), Err(DecodeError::Version(_))));
        assert_eq!(event(&header(99, 16)), Err(DecodeError::Kind(99)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = event(&bytes);
        }

        #[test]
        fn any_record_decodes_and_any_prefix_of_it_is_refused(
            kind in 1u16..=6, body in proptest::collection::vec(any::<u8>(), 400), cut in 0usize..80,
        ) {
            let mut bytes = header(kind, 0);
            bytes.extend(body);
            prop_assert!(event(&bytes).is_ok());
            prop_assert!(event(&bytes[..cut]).is_err());
        }
    }
}
