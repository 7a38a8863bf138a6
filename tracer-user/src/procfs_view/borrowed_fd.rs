//! Looking at an object through a holder's fd: how full a pipe is, whether a socket would take a byte.
//!
//! `pidfd_getfd` makes the tracer a holder for as long as its copy is open, and a holder hides EOF. So every
//! function here opens, looks and closes, and hands out plain values. The copy is checked to be the object that was
//! meant: the process may have closed the fd and opened another one since its table was read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::sample::KernelReader;
use crate::core::evidence::{ObjectFacts, ObjectId, PipeFacts};

/// Opens the pidfd of a thread, not of a process: Linux 6.9 and later. `PidfdFlags` does not name it (it is O_EXCL).
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(0o200);

/// A copy of another process's fd, checked to be the object meant. `task` is the process's leader, or where that is dead and has no fds
/// any more, a living thread.
fn borrow(task: u32, fd: u32, object: &ObjectId) -> io::Result<OwnedFd> {
    let pid = i32::try_from(task).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).or_else(|_| pidfd_open(pid, PIDFD_THREAD))?;
    let copy = pidfd_getfd(&process, fd as i32, PidfdGetfdFlags::empty())?;
    let same = match object {
        ObjectId::Pipe { ino }
        | ObjectId::Fifo { ino, .. }
        | ObjectId::Unix { ino }
        | ObjectId::Inet { ino }
        | ObjectId::Socket { ino }
        | ObjectId::MessageQueue { ino, .. } => rustix::fs::fstat(&copy)?.st_ino == *ino,
        _ => true,
    };
    if same { Ok(copy) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// What poll says now, of the events asked for.
fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> Option<PollFlags> {
    let mut set = [PollFd::from_borrowed_fd(fd, events)];
    poll(&mut set, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    Some(set[0].revents())
}

/// A pipe, through one of its ends: a thread and its fd.
pub(crate) fn pipe(
    object: &ObjectId,
    end: (u32, u32),
    writes: bool,
    kernel: KernelReader<'_>,
) -> io::Result<PipeFacts> {
    let copy = borrow(end.0, end.1, object)?;
    // What poll says comes after: it is the younger of the two.
    let mut facts = match kernel(copy.as_fd()) {
        Some(ObjectFacts::Pipe(told)) => told,
        _ => PipeFacts::default(),
    };
    facts.used_bytes = rustix::io::ioctl_fionread(&copy).ok();
    facts.capacity_bytes = rustix::pipe::fcntl_getpipe_size(&copy).ok().map(|size| size as u64);
    if writes {
        facts.writable = ready(copy.as_fd(), PollFlags::OUT).map(|got| got.contains(PollFlags::OUT));
    } else {
        facts.readable = ready(copy.as_fd(), PollFlags::IN).map(|got| got.contains(PollFlags::IN));
    }
    Ok(facts)
}

/// What the kernel says of an object, through a holder: a thread and its fd.
pub(crate) fn asked(object: &ObjectId, holder: (u32, u32), kernel: KernelReader<'_>) -> Option<ObjectFacts> {
    kernel(borrow(holder.0, holder.1, object).ok()?.as_fd())
}

/// A socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketLook {
    /// A write of some bytes would go through.
    pub writable: Option<bool>,
    /// There is something to read, or EOF, or an error.
    pub readable: Option<bool>,
    /// SO_RCVTIMEO: `Some(None)` is for ever.
    pub receive_timeout: Option<Option<Duration>>,
}

/// Looks at a socket.
pub(crate) fn socket(object: &ObjectId, holder: (u32, u32)) -> io::Result<SocketLook> {
    use rustix::net::sockopt::{Timeout, socket_timeout};
    let copy = borrow(holder.0, holder.1, object)?;
    let got = ready(copy.as_fd(), PollFlags::IN | PollFlags::OUT);
    Ok(SocketLook {
        writable: got.map(|got| got.intersects(PollFlags::OUT | PollFlags::ERR)),
        readable: got.map(|got| got.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP)),
        receive_timeout: socket_timeout(&copy, Timeout::Recv).ok(),
    })
}

/// A terminal, or one side of a pty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TerminalLook {
    /// Bytes that a read would get.
    pub readable_bytes: Option<u64>,
    /// A write would go through.
    pub writable: Option<bool>,
    /// Input arrives by lines.
    pub canonical: Option<bool>,
}

/// Looks at a terminal.
pub(crate) fn terminal(object: &ObjectId, holder: (u32, u32)) -> io::Result<TerminalLook> {
    let copy = borrow(holder.0, holder.1, object)?;
    Ok(TerminalLook {
        readable_bytes: rustix::io::ioctl_fionread(&copy).ok(),
        writable: ready(copy.as_fd(), PollFlags::OUT).map(|got| got.contains(PollFlags::OUT)),
        canonical: rustix::termios::tcgetattr(&copy)
            .ok()
            .map(|t| t.local_modes.contains(rustix::termios::LocalModes::ICANON)),
    })
}

/// Bytes in a POSIX message queue.
pub(crate) fn message_queue(object: &ObjectId, holder: (u32, u32)) -> io::Result<Option<u64>> {
    let copy = borrow(holder.0, holder.1, object)?;
    let mut text = [0; 128];
    let count = rustix::io::pread(&copy, &mut text[..], 0)?;
    // `QSIZE:129 NOTIFY:2 SIGNO:0 NOTIFY_PID:8260`
    let first = super::stat::words(&text[..count]).next().map(str::to_owned);
    Ok(first.and_then(|word| word.strip_prefix("QSIZE:")?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_full_and_an_empty_pipe() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let object = ObjectId::Pipe { ino: rustix::fs::fstat(&reader).unwrap().st_ino };
        let own = std::process::id();
        let ends = [(writer.as_raw_fd() as u32, true), (reader.as_raw_fd() as u32, false)];
        let both = || ends.map(|(fd, writes)| pipe(&object, (own, fd), writes, &mut |_| None).unwrap());
        let [empty, end] = both();
        assert_eq!((empty.used_bytes, empty.writable, end.readable), (Some(0), Some(true), Some(false)));
        while rustix::io::write(&writer, &[0; 2049]).is_ok() {}
        let [full, end] = both();
        assert_eq!((full.writable, end.readable), (Some(false), Some(true)));
        assert!(full.used_bytes < full.capacity_bytes, "slots are full, not bytes: {full:?}");
    }

    #[test]
    fn another_object_under_the_same_number_is_refused() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let other = ObjectId::Pipe { ino: rustix::fs::fstat(&reader).unwrap().st_ino + 1 };
        let end = (std::process::id(), reader.as_raw_fd() as u32);
        assert!(pipe(&other, end, false, &mut |_| None).is_err());
    }
}
