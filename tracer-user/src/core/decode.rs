//! Records of the kernel side, as [`Event`]s and plain values.
//!
//! The records are the structs of `tracer_ebpf::wire`. `zerocopy` copies them from bytes, so that no offset
//! is written here. Decoding is total: any bytes decode, or are an error. A value that stands for "unknown"
//! in a record becomes `None`.

use tracer_ebpf::wire::{self, ProcessKey, WIRE_VERSION, fate_flags, kind, resource_kind};
use zerocopy::{FromBytes, FromZeros as _};

use super::{
    event::{
        Event, EventBody, Exec, Exit, Fork, IdentityExtras, Killer, ProcessFate, ResourceKind, Signal, Stall,
    },
    identity::{ProcessId, WaitStatus},
};

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record has.
    #[error("record of kind {kind} is cut short: {got} bytes, {needed} needed")]
    Short {
        /// The kind in the header. 0 when the header itself is cut short.
        kind: u16,
        /// Bytes given.
        got: usize,
        /// Bytes of a whole record.
        needed: usize,
    },
    /// Written by another version of the kernel side.
    #[error("record of wire version {0}, this program reads {WIRE_VERSION}")]
    Version(u16),
    /// An unknown kind.
    #[error("record of unknown kind {0}")]
    Kind(u16),
}

/// Answer of the inspection program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Address of the open file description.
    pub file: Option<u64>,
    /// Inode of the socket at the other end of a UNIX socket. `Some(0)`: there is none. `None`: unknown, or
    /// not a UNIX socket.
    pub unix_peer: Option<u64>,
    /// The file, and for a writer slot the blocked write.
    pub stall: Stall,
}

/// Decodes a record of the session's ring.
///
/// # Errors
/// When the bytes are not a whole record of this version.
pub fn event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header: wire::Header = record(0, bytes)?;
    check_version(&header)?;
    let kind = header.kind;
    let body = match kind {
        kind::FORK => EventBody::Fork(fork(&record(kind, bytes)?)),
        kind::EXEC => EventBody::Exec(exec(&record(kind, bytes)?)),
        kind::EXIT => {
            let record: wire::ExitRecord = record(kind, bytes)?;
            EventBody::Exit(exit(id(record.process), &record.fate))
        }
        kind::SIGNAL => EventBody::Signal(signal(&record(kind, bytes)?)),
        kind::STALL_OPEN | kind::STALL_CLOSED => return stall_record(&record(kind, bytes)?),
        other => return Err(DecodeError::Kind(other)),
    };
    Ok(Event { boot_ns: header.boot_ns, body })
}

/// Decodes a record of the stall log. The event's time is when the record was made.
///
/// # Errors
/// When the record is of another version, or of another kind than a stall.
pub fn stall_record(record: &wire::StallRecord) -> Result<Event, DecodeError> {
    let header = &record.header;
    check_version(header)?;
    let body = match header.kind {
        kind::STALL_OPEN => EventBody::StallOpen(stall(record)),
        kind::STALL_CLOSED => EventBody::StallClosed(Stall { end_seen: Some(true), ..stall(record) }),
        other => return Err(DecodeError::Kind(other)),
    };
    Ok(Event { boot_ns: header.boot_ns, body })
}

/// Decodes the answer of the inspection program. `None` when what was asked for was gone.
pub fn inspection(answer: &wire::Inspection) -> Option<Inspection> {
    let unix_peer = match answer.unix_peer {
        wire::NO_PEER => Some(0),
        inode => known(inode),
    };
    (answer.valid == 1).then(|| Inspection {
        file: known(answer.file),
        unix_peer,
        stall: stall(&answer.record),
    })
}

/// Decodes an entry of the fate map.
pub fn fate(key: ProcessKey, fate: &wire::Fate) -> ProcessFate {
    let process = id(key);
    ProcessFate {
        process,
        ended: known(fate.exit_boot_ns).map(|boot_ns| (boot_ns, exit(process, fate))),
        parent: parent(fate),
        extras: IdentityExtras {
            start_boottime_ns: None,
            pidns_ino: known(fate.pidns_ino),
            ns_pid: known(fate.ns_pid),
            pidfd_ino: known(fate.pidfd_ino),
        },
    }
}

/// The key of a process in the fate map.
pub fn process_key(process: ProcessId) -> ProcessKey {
    ProcessKey { tgid: process.tgid, zero: 0, start_ticks: process.start_ticks }
}

/// The fate map's value for a process that the user side enrolls, and that runs.
pub fn enrolled_fate(extras: &IdentityExtras) -> wire::Fate {
    wire::Fate {
        flags: fate_flags::ENROLLED,
        pidns_ino: extras.pidns_ino.unwrap_or(0),
        pidfd_ino: extras.pidfd_ino.unwrap_or(0),
        ns_pid: extras.ns_pid.unwrap_or(0),
        ..wire::Fate::new_zeroed()
    }
}

/// The record that the bytes begin with.
fn record<T: FromBytes>(kind: u16, bytes: &[u8]) -> Result<T, DecodeError> {
    match T::read_from_prefix(bytes) {
        Ok((record, _)) => Ok(record),
        Err(_) => Err(DecodeError::Short { kind, got: bytes.len(), needed: size_of::<T>() }),
    }
}

fn check_version(header: &wire::Header) -> Result<(), DecodeError> {
    if header.version == WIRE_VERSION { Ok(()) } else { Err(DecodeError::Version(header.version)) }
}

fn exit(process: ProcessId, fate: &wire::Fate) -> Exit {
    let killer = (fate.killer_tgid != 0).then(|| Killer {
        tgid: fate.killer_tgid,
        comm: name(&fate.killer_comm),
        signal: fate.killer_signal,
    });
    Exit {
        process,
        status: Some(WaitStatus(fate.wait_status)),
        parent: parent(fate),
        reaper_tgid: known(fate.reaper_tgid),
        killer,
        oom_victim: Some(fate.flags & fate_flags::OOM_VICTIM != 0),
        cpu_ns: known(fate.cpu_ns),
        comm: name(&fate.comm),
        seen_late: fate.flags & fate_flags::SEEN_LATE != 0,
    }
}

fn fork(record: &wire::ForkRecord) -> Fork {
    Fork {
        parent: id(record.parent),
        parent_tid: known(record.parent_tid),
        child: id(record.child),
        extras: IdentityExtras {
            start_boottime_ns: known(record.child_start_boottime_ns),
            pidns_ino: known(record.pidns_ino),
            ns_pid: known(record.child_ns_pid),
            pidfd_ino: known(record.pidfd_ino),
        },
        comm: name(&record.comm),
    }
}

fn exec(record: &wire::ExecRecord) -> Exec {
    let process = id(record.process);
    // The kernel's string helper counts the terminating NUL where it fits.
    let used = (record.filename_bytes as usize).min(record.filename.len());
    let filename = name(&record.filename[..used]);
    Exec {
        process,
        by_thread: (record.old_tid != process.tgid).then_some(record.old_tid),
        comm: name(&record.comm),
        filename: (!filename.is_empty()).then_some(filename),
    }
}

fn signal(record: &wire::SignalRecord) -> Signal {
    // Positive codes are the kernel's, and -2 is an expired timer (`include/uapi/asm-generic/siginfo.h`).
    let by_process = record.code <= 0 && record.code != -2;
    Signal {
        target: id(record.target),
        sender: by_process.then(|| id(record.sender)),
        sender_comm: if by_process { name(&record.sender_comm) } else { Vec::new() },
        signal: record.signal,
        code: record.code,
        delivered: record.result == 0,
        group: record.group != 0,
    }
}

fn stall(record: &wire::StallRecord) -> Stall {
    let kind = resource(record.resource_kind);
    let is_socket = matches!(kind, ResourceKind::Socket | ResourceKind::UnixSocket);
    let is_pipe = record.slots != 0;
    Stall {
        process: id(record.process),
        tid: record.tid,
        comm: name(&record.comm),
        since_boot_ns: record.since_boot_ns,
        fd: u32::try_from(record.fd).ok(),
        syscall: Some(record.syscall),
        kind,
        inode: known(record.inode),
        device: known(record.device),
        socket: is_socket.then_some((record.socket as u16, (record.socket >> 16) as u16)),
        slots: is_pipe.then_some((record.slots_used, record.slots)),
        used_bytes: (record.used_bytes != u64::MAX).then_some(record.used_bytes),
        capacity_bytes: known(record.capacity_bytes),
        ends: is_pipe.then_some((record.readers, record.writers)),
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

fn parent(fate: &wire::Fate) -> Option<ProcessId> {
    (fate.parent.tgid != 0).then(|| id(fate.parent))
}

fn id(key: ProcessKey) -> ProcessId {
    ProcessId { tgid: key.tgid, start_ticks: key.start_ticks }
}

/// The bytes before the padding.
fn name(padded: &[u8]) -> Vec<u8> {
    padded.iter().copied().take_while(|&byte| byte != 0).collect()
}

fn known<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    fn header(kind: u16) -> wire::Header {
        wire::Header { kind, boot_ns: 77, ..wire::Header::default() }
    }

    #[test]
    fn a_fork_decodes_with_unknowns_absent() {
        let record = wire::ForkRecord {
            header: header(kind::FORK),
            parent: ProcessKey { tgid: 3, zero: 0, start_ticks: 2 },
            child: ProcessKey { tgid: 4, zero: 0, start_ticks: 3 },
            child_start_boottime_ns: 39_999_999,
            parent_tid: 3,
            pidns_ino: 4_026_531_836,
            comm: *b"caf\xc3\0\0\0\0\0\0\0\0\0\0\0\0",
            ..wire::ForkRecord::new_zeroed()
        };
        let event = event(record.as_bytes()).unwrap();
        assert_eq!(event.boot_ns, 77);
        let EventBody::Fork(fork) = event.body else { panic!("{event:?}") };
        assert_eq!((fork.parent.start_ticks, fork.child.start_ticks), (2, 3));
        assert_eq!((fork.extras.ns_pid, fork.extras.pidfd_ino), (None, None));
        assert_eq!(fork.comm, b"caf\xc3");
    }

    #[test]
    fn a_file_name_ends_at_its_length_or_its_nul() {
        let record = |filename_bytes| {
            let mut filename = [0; 256];
            filename[..5].copy_from_slice(b"/a\0/b");
            let exec = wire::ExecRecord {
                header: header(kind::EXEC),
                filename_bytes,
                filename,
                ..wire::ExecRecord::new_zeroed()
            };
            match event(exec.as_bytes()).unwrap().body {
                EventBody::Exec(exec) => exec.filename,
                other => panic!("{other:?}"),
            }
        };
        let name = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            [record(0), record(1), record(3), record(u32::MAX)],
            [None, name("/"), name("/a"), name("/a")]
        );
    }

    #[test]
    fn an_enrolled_fate_reads_back_as_running() {
        let extras = IdentityExtras {
            start_boottime_ns: Some(1),
            pidns_ino: Some(2),
            ns_pid: Some(3),
            pidfd_ino: Some(4),
        };
        let process = ProcessId { tgid: 9, start_ticks: 5 };
        let fate = fate(process_key(process), &enrolled_fate(&extras));
        assert_eq!((fate.process, fate.ended, fate.parent), (process, None, None));
        assert_eq!(fate.extras, IdentityExtras { start_boottime_ns: None, ..extras });
    }

    #[test]
    fn another_version_and_an_unknown_kind_are_named() {
        let other = wire::Header { version: 0xee, ..header(kind::FORK) };
        assert_eq!(event(other.as_bytes()), Err(DecodeError::Version(0xee)));
        assert_eq!(event(header(99).as_bytes()), Err(DecodeError::Kind(99)));
        let of_fork = wire::StallRecord { header: header(kind::FORK), ..wire::StallRecord::default() };
        assert_eq!(stall_record(&of_fork), Err(DecodeError::Kind(kind::FORK)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = event(&bytes);
        }

        #[test]
        fn any_record_decodes_and_any_prefix_of_it_is_an_error(
            kind in 1u16..=6, body in proptest::collection::vec(any::<u8>(), 400), cut in 0usize..80,
        ) {
            let mut bytes = header(kind).as_bytes().to_vec();
            bytes.extend(body);
            prop_assert!(event(&bytes).is_ok());
            prop_assert!(event(&bytes[..cut]).is_err());
        }

        #[test]
        fn any_value_of_a_map_decodes(
            bytes in proptest::collection::vec(any::<u8>(), size_of::<wire::Inspection>()),
        ) {
            let (key, _) = ProcessKey::read_from_prefix(&bytes).unwrap();
            let _ = fate(key, &wire::Fate::read_from_prefix(&bytes).unwrap().0);
            let _ = stall_record(&wire::StallRecord::read_from_prefix(&bytes).unwrap().0);
            let _ = inspection(&wire::Inspection::read_from_bytes(&bytes).unwrap());
        }
    }
}
