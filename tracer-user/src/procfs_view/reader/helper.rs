//! The helper process: cloned from this one, without an exec, so that a library has it, too.
//!
//! It closes every descriptor but its socket, makes only system calls, and allocates nothing: other threads
//! of its parent may have held any lock when it was cloned. It is no child that `wait` without `__WCLONE`
//! returns, and its end sends no signal. It ends when its parent does.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Bytes of a file in one message.
const PART: usize = 32 << 10;
/// Longest base and path, with the zero bytes that end them.
const MAX_PATHS: usize = 4096 + 64;
/// Numbers at the beginning of a question: flags, resolution, position, limit, length of the base.
const QUESTION: usize = 5 * 8;
/// Numbers at the beginning of an answer: error, whether it is the last part, device, inode, mode, owner.
const ANSWER: usize = 6 * 8;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForeignFile<'a> {
    /// The process that it belongs to.
    pub tgid: u32,
    /// An open directory.
    pub dir: BorrowedFd<'a>,
    /// The place below `dir` at which the path begins, or empty: a link of `/proc`, such as `cwd`, or `fd/7`.
    pub base: &'a str,
    /// The path.
    pub path: &'a [u8],
    /// How it is resolved.
    pub resolve: ResolveFlags,
}

/// The `stat` of a file, as far as it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForeignStat {
    /// Device of its file system.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
}

/// A helper process.
pub(super) struct Helper {
    socket: OwnedFd,
    pid: libc::pid_t,
}

/// How a helper answered.
pub(super) enum Answer {
    /// With the result.
    Done(io::Result<ForeignStat>),
    /// Not in time.
    Late,
    /// It has ended.
    Gone,
}

impl Helper {
    /// Starts a helper.
    pub(super) fn start() -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut question = vec![0; QUESTION + MAX_PATHS];
        let mut answer = vec![0; ANSWER + PART];
        // SAFETY: without CLONE_VM the child has a copy of this address space, as after a fork. It calls only
        // `serve`, which makes only system calls on memory that was allocated before, and never returns.
        match unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: as above.
            0 => unsafe { serve(theirs.as_raw_fd(), &mut question, &mut answer) },
            pid => Ok(Self { socket: ours, pid: pid as libc::pid_t }),
        }
    }

    /// Its pid.
    pub(super) fn tgid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Asks it to end, which it does as soon as the kernel lets it.
    pub(super) fn give_up(&self) {
        // SAFETY: it is a child of this process that was not reaped, so that the number is its own.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// It has ended, and left nothing.
    pub(super) fn reaped(&self) -> bool {
        // SAFETY: takes numbers, and a null pointer for a status that is not wanted.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) != 0 }
    }

    /// Reads a file with its help.
    pub(super) fn ask(
        &self,
        file: ForeignFile<'_>,
        flags: OFlags,
        at: u64,
        limit: usize,
        into: &mut Vec<u8>,
        within: Duration,
    ) -> Answer {
        let deadline = Instant::now() + within;
        let mut question = Vec::with_capacity(QUESTION + file.base.len() + file.path.len() + 2);
        let numbers =
            [u64::from(flags.bits()), file.resolve.bits(), at, limit as u64, file.base.len() as u64];
        question.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        question.extend(file.base.bytes().chain([0]).chain(file.path.iter().copied()).chain([0]));
        if question.len() > QUESTION + MAX_PATHS || file.path.contains(&0) {
            return Answer::Done(Err(io::ErrorKind::InvalidInput.into()));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let dir = [file.dir];
        control.push(SendAncillaryMessage::ScmRights(&dir));
        let sent = sendmsg(&self.socket, &[IoSlice::new(&question)], &mut control, SendFlags::NOSIGNAL);
        if sent.is_err() {
            return Answer::Gone;
        }
        let mut answer = vec![0; ANSWER + PART];
        let before = into.len();
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()));
            let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            match poll(&mut fds, left.ok().as_ref()) {
                Ok(0) => return Answer::Late,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return Answer::Gone,
                Ok(_) => {}
            }
            let received = recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut answer)],
                &mut RecvAncillaryBuffer::default(),
                RecvFlags::empty(),
            );
            let Some(length) = received.ok().map(|it| it.bytes).filter(|length| *length >= ANSWER) else {
                return Answer::Gone;
            };
            let mut numbers = [0u64; ANSWER / 8];
            for (number, bytes) in numbers.iter_mut().zip(answer.chunks_exact(8)) {
                *number = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
            let [error, last, dev, ino, mode, uid] = numbers;
            into.extend_from_slice(&answer[ANSWER..length]);
            if last == 0 {
                continue;
            }
            let stat = ForeignStat { dev, ino, mode: mode as u32, uid: uid as u32 };
            return Answer::Done(match i32::try_from(error) {
                Ok(0) => Ok(stat),
                Ok(_) if into.len() > before => Ok(stat),
                Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
                Err(_) => Err(io::ErrorKind::InvalidData.into()),
            });
        }
    }
}

/// `struct open_how` (include/uapi/linux/openat2.h).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Answers questions until the parent closes its end.
///
/// # Safety
/// Only in a child that shares no memory with its parent. Makes only system calls.
unsafe fn serve(socket: RawFd, question: &mut [u8], answer: &mut [u8]) -> ! {
    // SAFETY: the calls take numbers, and pointers to the buffers and to values on the stack, with their
    // sizes.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::prctl(libc::PR_SET_NAME, c"tracer-reader".as_ptr());
        // A helper that is left behind holds nothing open: no pipe of the job, no lock, no terminal.
        let socket = libc::dup2(socket, 0);
        if socket != 0 || libc::syscall(libc::SYS_close_range, 1u32, u32::MAX, 0u32) == -1 {
            let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65_536);
            for fd in 1..most as RawFd {
                libc::close(fd);
            }
        }
        loop {
            let mut control = [0u64; 8];
            let mut part = libc::iovec { iov_base: question.as_mut_ptr().cast(), iov_len: question.len() };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let length = libc::recvmsg(0, &mut message, libc::MSG_CMSG_CLOEXEC);
            if length < QUESTION as isize {
                libc::_exit(0);
            }
            let header = libc::CMSG_FIRSTHDR(&message);
            if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
                libc::_exit(0);
            }
            let dir = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
            reply(dir, question, answer);
            libc::close(dir);
        }
    }
}

/// Answers one question.
///
/// # Safety
/// As [`serve`]. `dir` is open.
unsafe fn reply(dir: RawFd, question: &[u8], answer: &mut [u8]) {
    // SAFETY: as in `serve`. Base and path end in zero bytes, which the parent has checked.
    unsafe {
        let number = |at: usize| question.as_ptr().cast::<u64>().add(at).read_unaligned();
        let [flags, resolve, mut at, limit, base_length] =
            [number(0), number(1), number(2), number(3), number(4)];
        let base = question.as_ptr().add(QUESTION).cast::<libc::c_char>();
        let path = base.add(base_length as usize + 1);
        let mut place = dir;
        if base_length > 0 {
            place = libc::openat(dir, base, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC);
        }
        let mut file = -1;
        if place >= 0 && resolve == 0 {
            file = libc::openat(place, path, flags as libc::c_int);
        } else if place >= 0 {
            let how = OpenHow { flags, mode: 0, resolve };
            let size = size_of::<OpenHow>();
            file = libc::syscall(libc::SYS_openat2, place, path, &raw const how, size) as RawFd;
        }
        let mut error = if file < 0 { *libc::__errno_location() } else { 0 };
        let mut stat: libc::stat = std::mem::zeroed();
        if error == 0 && libc::fstat(file, &mut stat) == -1 {
            error = *libc::__errno_location();
        }
        let mut left = limit;
        loop {
            let mut filled = 0;
            let mut last = error != 0 || left == 0;
            while !last && filled < PART {
                let wanted = (PART - filled).min(left as usize);
                let into = answer.as_mut_ptr().add(ANSWER + filled).cast();
                let count = libc::pread(file, into, wanted, at as libc::off_t);
                if count <= 0 {
                    error = if count < 0 { *libc::__errno_location() } else { 0 };
                    last = error != libc::EINTR;
                    continue;
                }
                filled += count as usize;
                at = at.wrapping_add(count as u64);
                left -= count as u64;
                last = left == 0;
            }
            let numbers = [
                error as u64,
                u64::from(last),
                stat.st_dev,
                stat.st_ino,
                u64::from(stat.st_mode),
                u64::from(stat.st_uid),
            ];
            std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), answer.as_mut_ptr(), ANSWER);
            let sent = libc::send(0, answer.as_ptr().cast(), ANSWER + filled, libc::MSG_NOSIGNAL);
            if sent < 0 {
                libc::_exit(0);
            }
            if last {
                break;
            }
        }
        if file >= 0 {
            libc::close(file);
        }
        if place != dir && place >= 0 {
            libc::close(place);
        }
    }
}
