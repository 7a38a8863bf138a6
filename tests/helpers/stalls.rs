//! Jobs that block in a write, to every kind of file and by every system call, and jobs that only look as if
//! they did.
//!
//! A writer writes until it blocks, and notes the time before each call. When it is released, its reader
//! reads all there is, and the writer reports between which times its last call was.

use std::ffi::CString;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::end;
use crate::parent::{receive, send};
use crate::proc::boot_ns;

/// Set when the reader begins to read. The call that returns next is the one that was blocked.
static RELEASED: AtomicBool = AtomicBool::new(false);

/// Aligned to pages, so that a call that takes pages instead of copying takes one for 4096 bytes.
#[repr(align(4096))]
struct Pages([u8; 65536]);

static PAGES: Pages = Pages([b'x'; 65536]);
static BLOCK: &[u8; 65536] = &PAGES.0;

/// Write end and read end of a kind of file.
fn resource(kind: &str) -> (OwnedFd, OwnedFd) {
    match kind {
        "pipe" => pipe(),
        "small pipe" => {
            let (write, read) = pipe();
            // SAFETY: plain values.
            assert_eq!(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, 8192) }, 8192);
            (write, read)
        }
        "fifo" => fifo(),
        "unix stream" => pair(libc::AF_UNIX, libc::SOCK_STREAM),
        "unix dgram" => pair(libc::AF_UNIX, libc::SOCK_DGRAM),
        "unix seqpacket" => pair(libc::AF_UNIX, libc::SOCK_SEQPACKET),
        "pty" => pty(),
        "tcp" => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
            let write = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
            let (read, _) = listener.accept().expect("accepts");
            (write.into(), read.into())
        }
        other => panic!("no {other}"),
    }
}

fn owned(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just made, and not owned elsewhere.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: two descriptors into an array of two.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (owned(fds[1]), owned(fds[0]))
}

fn pair(family: i32, kind: i32) -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: two descriptors into an array of two.
    assert_eq!(unsafe { libc::socketpair(family, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) }, 0);
    (owned(fds[0]), owned(fds[1]))
}

fn fifo() -> (OwnedFd, OwnedFd) {
    let path = std::env::temp_dir().join(format!("tracer-test-fifo-{}", std::process::id()));
    let name = CString::new(path.to_str().expect("text")).expect("no NUL");
    let open = |flags: i32| {
        // SAFETY: a path that outlives the call.
        owned(unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC) })
    };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let read = open(libc::O_RDONLY | libc::O_NONBLOCK);
    let write = open(libc::O_WRONLY);
    std::fs::remove_file(path).expect("removed");
    // SAFETY: plain values.
    assert_eq!(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, 0) }, 0);
    (write, read)
}

fn pty() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("its name");
    // SAFETY: a path that outlives the call.
    let slave = owned(unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) });
    (slave, master)
}

/// What a call reads from, other than memory.
struct Source {
    pipe: (OwnedFd, OwnedFd),
    file: OwnedFd,
}

impl Source {
    fn new() -> Self {
        // SAFETY: a constant string.
        let file = owned(unsafe { libc::memfd_create(c"source".as_ptr(), libc::MFD_CLOEXEC) });
        // SAFETY: memory of this program.
        assert_eq!(unsafe { libc::write(file.as_raw_fd(), BLOCK.as_ptr().cast(), 4096) }, 4096);
        let pipe = pipe();
        // SAFETY: plain values.
        unsafe { libc::fcntl(pipe.0.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        Self { pipe, file }
    }

    /// Puts data into the pipe and gives its read end.
    fn refill(&self) -> RawFd {
        // SAFETY: memory of this program. It fails when the pipe is full, which is enough.
        unsafe { libc::write(self.pipe.0.as_raw_fd(), BLOCK.as_ptr().cast(), 4096) };
        self.pipe.1.as_raw_fd()
    }
}

/// Writes once. Blocks when there is no room.
fn write_once(call: &str, fd: RawFd, source: &Source) {
    let base = BLOCK.as_ptr().cast_mut().cast();
    let mut part = libc::iovec { iov_base: base, iov_len: 4096 };
    let null = std::ptr::null_mut();
    // SAFETY: all pointers are to this frame or to a static, and the kernel only reads what they point to.
    let written = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        match call {
            "write" => libc::write(fd, base, 4096),
            "write of 2049" => libc::write(fd, base, 2049),
            "write of 64 KiB" => libc::write(fd, base, BLOCK.len()),
            "writev" => libc::writev(fd, &part, 1),
            "pwritev2" => {
                libc::syscall(libc::SYS_pwritev2, i64::from(fd), &raw const part, 1i64, -1i64, -1i64, 0i64)
                    as isize
            }
            "sendto" => libc::sendto(fd, base, 4096, libc::MSG_NOSIGNAL, std::ptr::null(), 0),
            "sendmsg" => libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL),
            "sendmmsg" => {
                let mut messages = libc::mmsghdr { msg_hdr: message, msg_len: 0 };
                libc::sendmmsg(fd, &raw mut messages, 1, libc::MSG_NOSIGNAL as _) as isize
            }
            "splice" => libc::splice(source.refill(), null, fd, null, 4096, 0),
            "tee" => libc::tee(source.refill(), fd, 4096, 0),
            "sendfile" => {
                let mut from = 0;
                libc::sendfile(fd, source.file.as_raw_fd(), &raw mut from, 4096)
            }
            "vmsplice" => libc::vmsplice(fd, &part, 1, 0),
            other => panic!("no call {other}"),
        }
    };
    assert!(written > 0, "{call}: {}", std::io::Error::last_os_error());
}

fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// Words: what is written to, the system call. Reports `writer TID FD`, and after `release` between which
/// times it was blocked: `done FROM TO`.
pub fn stalls(words: &[String]) {
    let (kind, call) = (words[0].clone(), words[1].clone());
    let (write, read) = resource(&kind);
    std::thread::spawn(move || {
        let fd = write.as_raw_fd();
        let source = Source::new();
        send(&format!("writer {} {fd}", tid()));
        loop {
            let from = boot_ns();
            write_once(&call, fd, &source);
            let to = boot_ns();
            if RELEASED.load(Ordering::SeqCst) {
                send(&format!("done {from} {to}"));
                break;
            }
        }
        // The reader must not see the end of its input before it is asked to end.
        let _ = write.into_raw_fd();
    });
    assert_eq!(receive(), "release");
    RELEASED.store(true, Ordering::SeqCst);
    std::thread::spawn(move || drain(&read));
    assert_eq!(receive(), "end");
}

fn drain(read: &OwnedFd) {
    let mut room = vec![0u8; 1 << 20];
    loop {
        // SAFETY: memory of this frame.
        if unsafe { libc::read(read.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) } <= 0 {
            return;
        }
    }
}

/// Words: a call that is no blocked write, in which it sleeps for good. Reports `sleeper TID`.
pub fn sleeps(words: &[String]) {
    send(&format!("sleeper {}", tid()));
    let (write, read) = pipe();
    let (other_write, _other_read) = pipe();
    let (socket, _peer) = pair(libc::AF_UNIX, libc::SOCK_STREAM);
    let (to, from, null) = (write.as_raw_fd(), read.as_raw_fd(), std::ptr::null_mut());
    let mut room = [0u8; 16];
    let part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 16 };
    let full = || {
        // SAFETY: memory of this program.
        assert_eq!(unsafe { libc::write(to, BLOCK.as_ptr().cast(), BLOCK.len()) }, 65536);
    };
    // SAFETY: memory of this frame, which stays for as long as the calls sleep.
    unsafe {
        match words[0].as_str() {
            "read" => libc::read(from, room.as_mut_ptr().cast(), 16),
            "recv" => libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), 16, 0),
            "splice to a pipe" => libc::splice(from, null, other_write.as_raw_fd(), null, 16, 0),
            "splice to a socket" => libc::splice(from, null, socket.as_raw_fd(), null, 16, 0),
            "tee" => libc::tee(from, other_write.as_raw_fd(), 16, 0),
            "vmsplice" => libc::vmsplice(from, &part, 1, 0),
            "nanosleep" => {
                std::thread::sleep(std::time::Duration::from_secs(3600));
                0
            }
            "poll for room" => {
                full();
                let mut wanted = libc::pollfd { fd: to, events: libc::POLLOUT, revents: 0 };
                libc::poll(&raw mut wanted, 1, -1) as isize
            }
            "futex" => {
                std::thread::park();
                0
            }
            other => panic!("no {other}"),
        }
    };
    end(1);
}

/// Two threads blocked on a pipe each, and a leader that has ended. Reports `writer TID FD` twice.
pub fn two_writers(_: &[String]) {
    let threads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(|| {
                let (write, read) = pipe();
                send(&format!("writer {} {}", tid(), write.as_raw_fd()));
                let source = Source::new();
                let _kept = read;
                loop {
                    write_once("write", write.as_raw_fd(), &source);
                }
            })
        })
        .collect();
    std::mem::forget(threads);
    // SAFETY: ends this thread, of whose stack nothing is borrowed.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Blocks on a pipe in its leading thread from the line `begin` to the line `release`.
pub fn stalls_on_request(_: &[String]) {
    let (write, read) = pipe();
    send(&format!("writer {} {}", tid(), write.as_raw_fd()));
    assert_eq!(receive(), "begin");
    // The reader is another thread, so that this one is the leader and its number is the pid.
    std::thread::spawn(move || {
        assert_eq!(receive(), "release");
        RELEASED.store(true, Ordering::SeqCst);
        drain(&read);
    });
    let source = Source::new();
    loop {
        let from = boot_ns();
        write_once("write", write.as_raw_fd(), &source);
        let to = boot_ns();
        if RELEASED.load(Ordering::SeqCst) {
            send(&format!("done {from} {to}"));
            end(0);
        }
    }
}
