//! The kernel's numbers of socket types, states and tables.

use crate::core::evidence::{TcpState, UnixKind};

/// A table of IP sockets, as sock_diag and `/proc/net` divide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InetTable {
    Tcp4,
    Tcp6,
    Udp4,
    Udp6,
}

impl InetTable {
    pub(crate) const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Udp6];

    /// Its sockets are streams: TCP.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Tcp4 | Self::Tcp6)
    }

    /// Name of its file in `/proc/PID/net`.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Tcp4 => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp4 => "udp",
            Self::Udp6 => "udp6",
        }
    }
}

/// The meaning of a socket type (`SOCK_*`, include/linux/net.h). `None` for a type that UNIX sockets do not
/// have.
pub(crate) fn unix_kind(number: u32) -> Option<UnixKind> {
    match number {
        1 => Some(UnixKind::Stream),
        2 => Some(UnixKind::Datagram),
        5 => Some(UnixKind::SeqPacket),
        _ => None,
    }
}

/// The states by number, from 1 on (`TCP_*`, include/net/tcp_states.h), each with the name that `ss` and
/// `netstat` use.
const TCP_STATES: [(TcpState, &str); 12] = [
    (TcpState::Established, "ESTABLISHED"),
    (TcpState::SynSent, "SYN_SENT"),
    (TcpState::SynReceived, "SYN_RECV"),
    (TcpState::FinWait1, "FIN_WAIT1"),
    (TcpState::FinWait2, "FIN_WAIT2"),
    (TcpState::TimeWait, "TIME_WAIT"),
    (TcpState::Close, "CLOSE"),
    (TcpState::CloseWait, "CLOSE_WAIT"),
    (TcpState::LastAck, "LAST_ACK"),
    (TcpState::Listen, "LISTEN"),
    (TcpState::Closing, "CLOSING"),
    (TcpState::SynReceived, "NEW_SYN_RECV"),
];

fn tcp_row(number: u8) -> Option<(TcpState, &'static str)> {
    TCP_STATES.get(usize::from(number).checked_sub(1)?).copied()
}

/// The meaning of a state's number. `None` for a state that this table does not know.
pub(crate) fn tcp_state(number: u8) -> Option<TcpState> {
    Some(tcp_row(number)?.0)
}

/// The name of a state; its number in hexadecimal for a state that this table does not know.
pub(crate) fn tcp_state_name(number: u8) -> String {
    tcp_row(number).map_or_else(|| format!("{number:02X}"), |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_numbered_from_one() {
        assert_eq!(tcp_state(0x0a), Some(TcpState::Listen));
        assert_eq!((tcp_state(0), tcp_state(13)), (None, None));
        let names = [1, 0x0a, 0x63].map(tcp_state_name);
        assert_eq!(names, ["ESTABLISHED", "LISTEN", "63"]);
    }
}
