//! Messages of the kernel's process connector: fork, exec and exit of every process of the machine.
//!
//! Layouts: `include/uapi/linux/netlink.h`, `connector.h` and `cn_proc.h`. Any bytes are parsed or skipped.

use bytes::Buf as _;

use super::identity::WaitStatus;

const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
const EVENT_HEADER: usize = 16;
const CN_IDX_PROC: u32 = 1;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcEvent {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub monotonic_ns: u64,
    /// What happened.
    pub body: ProcEventBody,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcEventBody {
    /// A process was forked. New threads are skipped.
    Fork {
        /// Tgid of the parent.
        parent: u32,
        /// Tgid of the new process.
        child: u32,
    },
    /// A process executed a program.
    Exec {
        /// Its tgid.
        tgid: u32,
    },
    /// A thread ended, and with the last one its process.
    Exit {
        /// Tgid of its process.
        tgid: u32,
        /// Tid of the thread.
        tid: u32,
        /// The thread's own wait status.
        status: WaitStatus,
    },
}

/// The request to receive events from now on.
pub fn listen_request() -> Vec<u8> {
    /// `PROC_CN_MCAST_LISTEN`.
    const LISTEN: u32 = 1;
    /// `NLMSG_DONE`: the last part of a message, here the only one.
    const DONE: u16 = 3;
    let length = (NETLINK_HEADER + CONNECTOR_HEADER + 4) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(DONE.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(CN_IDX_PROC.to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes()); // CN_VAL_PROC
    bytes.extend([0; 8]);
    bytes.extend(4u16.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes
}

/// The events of one datagram.
pub fn parse(mut datagram: &[u8]) -> Vec<ProcEvent> {
    let mut events = Vec::new();
    while let Some(length) = datagram.get(..4).map(|mut word| word.get_u32_ne() as usize) {
        if length < NETLINK_HEADER || length > datagram.len() {
            break;
        }
        events.extend(message(&datagram[NETLINK_HEADER..length]));
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    events
}

fn message(mut body: &[u8]) -> Option<ProcEvent> {
    if body.len() < CONNECTOR_HEADER + EVENT_HEADER || body.get_u32_ne() != CN_IDX_PROC {
        return None;
    }
    body.advance(CONNECTOR_HEADER - 4);
    let what = body.get_u32_ne();
    body.advance(4);
    let monotonic_ns = body.get_u64_ne();
    let mut number = || (body.len() >= 4).then(|| body.get_u32_ne());
    let body = match what {
        FORK => {
            let (_, parent, tid, child) = (number()?, number()?, number()?, number()?);
            if tid != child {
                return None;
            }
            ProcEventBody::Fork { parent, child }
        }
        EXEC => {
            let (_, tgid) = (number()?, number()?);
            ProcEventBody::Exec { tgid }
        }
        EXIT => {
            let (tid, tgid, status) = (number()?, number()?, number()?);
            ProcEventBody::Exit { tgid, tid, status: WaitStatus(status) }
        }
        _ => return None,
    };
    Some(ProcEvent { monotonic_ns, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(what: u32, numbers: &[u32]) -> Vec<u8> {
        let mut bytes = listen_request();
        bytes.truncate(NETLINK_HEADER + CONNECTOR_HEADER);
        bytes.extend(what.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(77u64.to_ne_bytes());
        numbers.iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn processes_are_reported_and_threads_are_not() {
        let fork = parse(&datagram(FORK, &[1, 1, 9, 9]));
        let body = ProcEventBody::Fork { parent: 1, child: 9 };
        assert_eq!(fork, [ProcEvent { monotonic_ns: 77, body }]);
        assert_eq!(parse(&datagram(FORK, &[1, 1, 10, 9])), []);
        let exit = ProcEventBody::Exit { tgid: 9, tid: 9, status: WaitStatus(7 << 8) };
        assert_eq!(parse(&datagram(EXIT, &[9, 9, 7 << 8, 17]))[0].body, exit);
    }

    #[test]
    fn several_messages_in_one_datagram_are_all_read() {
        let both = [datagram(EXEC, &[5, 5]), datagram(EXEC, &[6, 6])].concat();
        assert_eq!(parse(&both).len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_skipped(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_cut_is_parsed_or_skipped(cut in 0usize..60) {
            let whole = datagram(EXIT, &[9, 9, 0, 17]);
            let _ = parse(&whole[..cut.min(whole.len())]);
        }
    }
}
