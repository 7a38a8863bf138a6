//! Objects looked at through a holder's fd: how full a pipe is, whether a socket would take a byte.
//!
//! `pidfd_getfd` makes the tracer a holder for as long as its copy is open, and a holder hides EOF. So every
//! function here opens the copy, looks and closes it, and returns plain values. The copy is checked to be the
//! intended object: the process may have closed the fd and opened another one since its table was read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::holders::TaskFd;
use super::request::KernelReader;
use crate::core::evidence::{ObjectFacts, ObjectId, PipeFacts};
use crate::procfs_view::text;

/// Opens the pidfd of a thread, not of a process: Linux 6.9 and later. `PidfdFlags` does not name it (it is
/// O_EXCL).
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(0o200);

/// A copy of another process's fd, checked to refer to the object.
fn borrow(holder: TaskFd, object: &ObjectId) -> io::Result<OwnedFd> {
    let pid = i32::try_from(holder.task).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).or_else(|_| pidfd_open(pid, PIDFD_THREAD))?;
    let copy = pidfd_getfd(&process, holder.fd as i32, PidfdGetfdFlags::empty())?;
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

/// Which of the requested events poll reports now.
fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> Option<PollFlags> {
    let mut set = [PollFd::from_borrowed_fd(fd, events)];
    poll(&mut set, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    Some(set[0].revents())
}

/// An end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PipeEnd {
    Read,
    Write,
}

/// A pipe, through one of its ends. The kernel is asked too, where a reader is given.
pub(crate) fn pipe(
    object: &ObjectId,
    holder: TaskFd,
    end: PipeEnd,
    kernel: Option<KernelReader<'_>>,
) -> io::Result<PipeFacts> {
    let copy = borrow(holder, object)?;
    // Poll comes after the kernel's answer: it is the younger of the two.
    let mut facts = match kernel.and_then(|kernel| kernel(copy.as_fd())) {
        Some(ObjectFacts::Pipe(facts)) => facts,
        _ => PipeFacts::default(),
    };
    facts.used_bytes = rustix::io::ioctl_fionread(&copy).ok();
    facts.capacity_bytes = rustix::pipe::fcntl_getpipe_size(&copy).ok().map(|size| size as u64);
    let is_ready = |event| ready(copy.as_fd(), event).map(|events| events.contains(event));
    match end {
        PipeEnd::Write => facts.writable = is_ready(PollFlags::OUT),
        PipeEnd::Read => facts.readable = is_ready(PollFlags::IN),
    }
    Ok(facts)
}

/// What the kernel knows of an object, through one of its holders.
pub(crate) fn kernel_facts(
    object: &ObjectId,
    holder: TaskFd,
    kernel: KernelReader<'_>,
) -> Option<ObjectFacts> {
    kernel(borrow(holder, object).ok()?.as_fd())
}

/// What a socket would do now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketState {
    /// A write of some bytes would succeed or fail at once.
    pub writable: Option<bool>,
    /// A read would return at once: with data, EOF or an error.
    pub readable: Option<bool>,
    /// SO_RCVTIMEO; `Some(None)` when a read may sleep for ever.
    pub receive_timeout: Option<Option<Duration>>,
}

/// Looks at a socket.
pub(crate) fn socket(object: &ObjectId, holder: TaskFd) -> io::Result<SocketState> {
    use rustix::net::sockopt::{Timeout, socket_timeout};
    let copy = borrow(holder, object)?;
    let events = ready(copy.as_fd(), PollFlags::IN | PollFlags::OUT);
    Ok(SocketState {
        writable: events.map(|events| events.intersects(PollFlags::OUT | PollFlags::ERR)),
        readable: events.map(|events| events.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP)),
        receive_timeout: socket_timeout(&copy, Timeout::Recv).ok(),
    })
}

/// What a terminal, or one side of a pty, would do now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TerminalState {
    /// Bytes that a read would return.
    pub readable_bytes: Option<u64>,
    /// A write would go through.
    pub writable: Option<bool>,
    /// Input arrives by lines.
    pub canonical: Option<bool>,
}

/// Looks at a terminal.
pub(crate) fn terminal(object: &ObjectId, holder: TaskFd) -> io::Result<TerminalState> {
    use rustix::termios::{LocalModes, tcgetattr};
    let copy = borrow(holder, object)?;
    Ok(TerminalState {
        readable_bytes: rustix::io::ioctl_fionread(&copy).ok(),
        writable: ready(copy.as_fd(), PollFlags::OUT).map(|events| events.contains(PollFlags::OUT)),
        canonical: tcgetattr(&copy).ok().map(|modes| modes.local_modes.contains(LocalModes::ICANON)),
    })
}

/// Bytes in a POSIX message queue. `None` when its text has no such number.
pub(crate) fn message_queue(object: &ObjectId, holder: TaskFd) -> io::Result<Option<u64>> {
    let copy = borrow(holder, object)?;
    let mut line = [0; 128];
    let count = rustix::io::pread(&copy, &mut line[..], 0)?;
    // `QSIZE:129 NOTIFY:2 SIGNO:0 NOTIFY_PID:8260`
    let first = text::words(&line[..count]).next().and_then(|word| word.strip_prefix("QSIZE:"));
    Ok(first.and_then(|bytes| bytes.parse().ok()))
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
        let ends = [(writer.as_raw_fd(), PipeEnd::Write), (reader.as_raw_fd(), PipeEnd::Read)];
        let both =
            || ends.map(|(fd, end)| pipe(&object, TaskFd { task: own, fd: fd as u32 }, end, None).unwrap());
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
        let holder = TaskFd { task: std::process::id(), fd: reader.as_raw_fd() as u32 };
        assert!(pipe(&other, holder, PipeEnd::Read, None).is_err());
    }
}
