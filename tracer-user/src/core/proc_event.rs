//! What the kernel's process connector sends: fork, exec and exit of every process of the machine.
//!
//! Layouts: `include/uapi/linux/netlink.h`, `connector.h` and `cn_proc.h`. Any bytes are read or left out.

use bytes::Buf as _;

use super::identity::WaitStatus;

const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
const EVENT_HEADER: usize = 16;
const CN_IDX_PROC: u32 = 1;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;

/// What happened to a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcEvent {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub monotonic_ns: u64,
    /// What.
    pub what: What,
}

/// See [`ProcEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process was made. Threads are left out.
    Fork {
        /// Who called.
        parent: u32,
        /// The new process.
        child: u32,
    },
    /// A process executed a program.
    Exec {
        /// Which.
        tgid: u32,
    },
    /// A thread ended; the process too, when it was the last.
    Exit {
        /// Its process.
        tgid: u32,
        /// The thread.
        tid: u32,
        /// The thread's own wait status.
        status: WaitStatus,
    },
}

/// The request to be told from now on.
pub fn listen_request() -> Vec<u8> {
    /// `PROC_CN_MCAST_LISTEN`.
    const LISTEN: u32 = 1;
    /// `NLMSG_DONE`: the last, here the only part of a message.
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
    let what = match what {
        FORK => {
            let (_, parent, tid, child) = (number()?, number()?, number()?, number()?);
            if tid != child {
                return None;
            }
            What::Fork { parent, child }
        }
        EXEC => {
            let (_, tgid) = (number()?, number()?);
            What::Exec { tgid }
        }
        EXIT => {
            let (tid, tgid, status) = (number()?, number()?, number()?);
            What::Exit { tgid, tid, status: WaitStatus(status) }
        }
        _ => return None,
    };
    Some(ProcEvent { monotonic_ns, what })
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
    fn processes_are_told_and_threads_are_not() {
        let fork = parse(&datagram(FORK, &[1, 1, 9, 9]));
        assert_eq!(fork, [ProcEvent { monotonic_ns: 77, what: What::Fork { parent: 1, child: 9 } }]);
        assert_eq!(parse(&datagram(FORK, &[1, 1, 10, 9])), []);
        let exit = What::Exit { tgid: 9, tid: 9, status: WaitStatus(7 << 8) };
        assert_eq!(parse(&datagram(EXIT, &[9, 9, 7 << 8, 17]))[0].what, exit);
    }

    #[test]
    fn several_messages_in_one_datagram_are_all_read() {
        let both = [datagram(EXEC, &[5, 5]), datagram(EXEC, &[6, 6])].concat();
        assert_eq!(parse(&both).len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left_out(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_cut_is_read_or_left_out(cut in 0usize..60) {
            let whole = datagram(EXIT, &[9, 9, 0, 17]);
            let _ = parse(&whole[..cut.min(whole.len())]);
        }
    }
}
