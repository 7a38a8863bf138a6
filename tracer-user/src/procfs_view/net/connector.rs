//! The kernel's process connector: fork, exec and exit without BPF, as netlink messages. Any process may
//! listen from Linux 6.6 on, and before that one with CAP_NET_ADMIN.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{CONNECTOR, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use crate::core::proc_event::{ProcEvent, listen_request, parse};

/// Room for the events between two reads: some thousand.
const BUFFER_BYTES: usize = 1 << 20;
/// `CN_IDX_PROC` as a group.
const GROUP: u32 = 1;

/// A socket that receives the events.
#[derive(Debug)]
pub struct Connector {
    socket: OwnedFd,
    buffer: Vec<u8>,
    lost: u64,
}

impl Connector {
    /// Begins to listen. The pids in events are those of the initial pid namespace.
    ///
    /// # Errors
    /// Where the kernel has no connector, or refuses this process.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(CONNECTOR))?;
        // The default size serves as well, with more losses.
        let _ = set_socket_recv_buffer_size(&socket, BUFFER_BYTES);
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        send(&socket, &listen_request(), SendFlags::empty())?;
        Ok(Self { socket, buffer: vec![0; 16 << 10], lost: 0 })
    }

    /// Appends the events since the last call.
    pub fn drain(&mut self, events: &mut Vec<ProcEvent>) {
        loop {
            match recv(&self.socket, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok((read, _)) => events.extend(parse(&self.buffer[..read.min(self.buffer.len())])),
                // The socket was full: at least one event was lost. The kernel does not count them.
                Err(Errno::NOBUFS) => self.lost += 1,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// How often the socket was found full.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
