//! From a system call's registers to what the thread waits for.
//!
//! Calls are matched by name, so that both architectures share one table. What the registers point to is read
//! from the process's memory. What cannot be read becomes `None` or [`Timeout::Unknown`], never a guess.

use super::clocks::Clocks;
use super::memory::Memory;
use crate::core::evidence::{ChildTarget, LockKind, PollFd, Timeout, Wait, events};
use crate::core::signal::SignalSet;
use crate::core::syscalls;

/// A system call that a thread is in, and where its pointers lead.
pub(crate) struct BlockedCall<'c> {
    pub name: &'c str,
    pub number: u64,
    /// The registers of its arguments.
    pub args: [u64; 6],
    pub memory: &'c Memory<'c>,
    /// Wait channel: distinguishes the calls that `restart_syscall` restarts. `None` when it is unknown.
    pub wchan: Option<&'c str>,
    /// The caller's process group: `wait4(0)` means it.
    pub pgrp: u32,
    /// When the call was read.
    pub clocks: Clocks,
}

/// Entries of a poll or select set that are read at most: as many as the kernel accepts by default.
const MAX_SET: u64 = 1 << 16;

impl BlockedCall<'_> {
    /// What the call waits for.
    pub(crate) fn wait(&self) -> Wait {
        let [a0, a1, a2, a3, a4, _] = self.args;
        let fd = a0 as u32;
        match self.name {
            "vmsplice" => Wait::Write { fd },
            name if syscalls::WRITES.contains(&name) => Wait::Write { fd },
            "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg" => {
                Wait::Read { fd, timeout: Timeout::Never }
            }
            "recvmmsg" => Wait::Read { fd, timeout: self.relative(a4) },
            "poll" | "ppoll" => {
                let timeout = if self.name == "poll" { millis(a2) } else { self.relative(a2) };
                self.poll(self.poll_set(a0, a1), timeout)
            }
            "select" | "pselect6" => {
                let timeout = match (self.name, a4) {
                    (_, 0) => Timeout::Never,
                    ("select", at) => Timeout::After(self.memory.timeval(at)),
                    (_, at) => Timeout::After(self.memory.timespec(at)),
                };
                self.poll(self.select_set(a0, [a1, a2, a3]), timeout)
            }
            "epoll_wait" | "epoll_pwait" => Wait::Epoll { epfd: fd, timeout: millis(a3) },
            "epoll_pwait2" => Wait::Epoll { epfd: fd, timeout: self.relative(a3) },
            "futex" | "futex_wait" | "futex_waitv" => self.futex(),
            "wait4" => Wait::WaitChild { target: self.wait4_target(a0 as i32), options: a2 as u32 },
            "waitid" => self.waitid(),
            "vfork" => Wait::Vfork { child: None },
            "clone" if a0 & CLONE_VFORK != 0 => Wait::Vfork { child: None },
            "clone3" if self.memory.u64(a0).is_some_and(|flags| flags & CLONE_VFORK != 0) => {
                Wait::Vfork { child: None }
            }
            "nanosleep" => Wait::Sleep { timeout: Timeout::After(self.memory.timespec(a0)) },
            "clock_nanosleep" => Wait::Sleep { timeout: self.clock_nanosleep() },
            "restart_syscall" => self.restarted(),
            "open" => self.open(a0, a1 as u32),
            "creat" => self.open(a0, 0o1101),
            "openat" => self.open(a1, a2 as u32),
            "openat2" => self.open(a1, self.memory.u64(a2).unwrap_or(0) as u32),
            "flock" => {
                let exclusive = match a1 & 3 {
                    1 => Some(false),
                    2 => Some(true),
                    _ => None,
                };
                Wait::Lock { fd, kind: LockKind::Flock, exclusive }
            }
            "fcntl" if a1 == F_SETLKW => {
                Wait::Lock { fd, kind: LockKind::Posix, exclusive: self.lock_type(a2) }
            }
            "fcntl" if a1 == F_OFD_SETLKW => {
                Wait::Lock { fd, kind: LockKind::Ofd, exclusive: self.lock_type(a2) }
            }
            "fcntl" | "ioctl" => Wait::Control { fd, request: a1 },
            "connect" => Wait::Connect { fd, peer: self.address(a1, a2).map(Into::into) },
            "accept" | "accept4" => Wait::Accept { fd },
            "semop" => Wait::Semaphore { id: fd, timeout: Timeout::Never },
            "semtimedop" => Wait::Semaphore { id: fd, timeout: self.relative(a3) },
            "msgsnd" => Wait::MessageSend { id: fd },
            "msgrcv" => Wait::MessageReceive { id: fd },
            "mq_timedsend" => Wait::MqSend { fd, timeout: self.absolute(a4, 0) },
            "mq_timedreceive" => Wait::MqReceive { fd, timeout: self.absolute(a4, 0) },
            "splice" => Wait::Splice { input: fd, output: a2 as u32 },
            "tee" => Wait::Splice { input: fd, output: a1 as u32 },
            "sendfile" => Wait::Splice { input: a1 as u32, output: fd },
            "copy_file_range" => Wait::Splice { input: fd, output: a2 as u32 },
            "fsync" | "fdatasync" | "sync_file_range" | "syncfs" => Wait::Sync { fd: Some(fd) },
            "sync" => Wait::Sync { fd: None },
            "pause" | "rt_sigsuspend" => Wait::Pause,
            "rt_sigtimedwait" => {
                Wait::SignalWait { set: self.memory.u64(a0).map(SignalSet), timeout: self.relative(a2) }
            }
            "io_uring_enter" => Wait::AsyncIo { fd: Some(fd), timeout: self.uring_timeout() },
            "io_getevents" | "io_pgetevents" => Wait::AsyncIo { fd: None, timeout: self.relative(a4) },
            _ => Wait::Other { nr: self.number },
        }
    }

    /// A pointer to a relative `timespec`; null means for ever.
    pub(super) fn relative(&self, at: u64) -> Timeout {
        if at == 0 { Timeout::Never } else { Timeout::After(self.memory.timespec(at)) }
    }

    /// A pointer to an absolute `timespec` of the clock with a number; null means for ever.
    pub(super) fn absolute(&self, at: u64, clock: u64) -> Timeout {
        if at == 0 {
            return Timeout::Never;
        }
        let left = |until: u64| Some(until.saturating_sub(self.clocks.numbered(clock)?));
        Timeout::After(self.memory.timespec(at).and_then(left))
    }

    /// An empty set with a time-out is a sleep.
    fn poll(&self, set: Option<Vec<PollFd>>, timeout: Timeout) -> Wait {
        match set {
            Some(set) if set.is_empty() && timeout.is_finite() => Wait::Sleep { timeout },
            set => Wait::Poll { set, timeout },
        }
    }

    /// An array of `struct pollfd`.
    fn poll_set(&self, at: u64, count: u64) -> Option<Vec<PollFd>> {
        if count > MAX_SET {
            return None;
        }
        let bytes = self.memory.bytes(at, count as usize * 8)?;
        let item = |entry: &[u8]| {
            let fd = i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?);
            let events = u16::from_ne_bytes(entry.get(4..6)?.try_into().ok()?);
            Some(PollFd { fd: u32::try_from(fd).ok()?, events: u32::from(events) })
        };
        Some(bytes.chunks_exact(8).filter_map(item).collect())
    }

    /// Three `fd_set`s: to read, to write, exceptional.
    fn select_set(&self, count: u64, sets: [u64; 3]) -> Option<Vec<PollFd>> {
        if count > MAX_SET {
            return None;
        }
        let mut set = std::collections::BTreeMap::<u32, u32>::new();
        for (at, event) in sets.into_iter().zip([events::IN, events::OUT, events::PRI]) {
            if at == 0 {
                continue;
            }
            // The kernel reads whole words.
            let bytes = self.memory.bytes(at, count.div_ceil(64) as usize * 8)?;
            for fd in 0..count {
                let word = bytes.get(fd as usize / 64 * 8..)?.get(..8)?;
                if u64::from_ne_bytes(word.try_into().ok()?) >> (fd % 64) & 1 == 1 {
                    *set.entry(fd as u32).or_default() |= event;
                }
            }
        }
        Some(set.into_iter().map(|(fd, events)| PollFd { fd, events }).collect())
    }

    fn wait4_target(&self, pid: i32) -> ChildTarget {
        match pid {
            -1 => ChildTarget::Any,
            0 => ChildTarget::Pgid(self.pgrp),
            pid if pid > 0 => ChildTarget::Pid(pid as u32),
            group => ChildTarget::Pgid(group.unsigned_abs()),
        }
    }

    fn waitid(&self) -> Wait {
        let [kind, id, _, options, ..] = self.args;
        let target = match kind as u32 {
            1 => ChildTarget::Pid(id as u32),
            2 if id as u32 == 0 => ChildTarget::Pgid(self.pgrp),
            2 => ChildTarget::Pgid(id as u32),
            3 => ChildTarget::PidFd(id as u32),
            _ => ChildTarget::Any,
        };
        Wait::WaitChild { target, options: options as u32 }
    }

    fn clock_nanosleep(&self) -> Timeout {
        let [clock, flags, at, ..] = self.args;
        if flags & TIMER_ABSTIME != 0 {
            self.absolute(at, clock)
        } else {
            Timeout::After(self.memory.timespec(at))
        }
    }

    /// A call that went on after a stop or the freezer interrupted it: its registers are still those of the
    /// first call.
    fn restarted(&self) -> Wait {
        match self.wchan {
            Some(name) if name.contains("poll") => {
                self.poll(self.poll_set(self.args[0], self.args[1]), Timeout::After(None))
            }
            Some(name) if name.contains("futex") => match self.futex() {
                // Only a futex with a time-out is restarted this way.
                Wait::Futex { addr, private, value, word, op, owner_tid, shared, .. } => Wait::Futex {
                    addr,
                    private,
                    value,
                    word,
                    op,
                    owner_tid,
                    shared,
                    timeout: Timeout::After(None),
                },
                other => other,
            },
            _ => Wait::Sleep { timeout: Timeout::After(None) },
        }
    }

    fn open(&self, path: u64, flags: u32) -> Wait {
        Wait::Open { path: self.memory.text(path).map(Into::into), object: None, flags }
    }

    /// `struct flock` begins with its type.
    fn lock_type(&self, at: u64) -> Option<bool> {
        let kind = self.memory.bytes(at, 2)?;
        match i16::from_ne_bytes(kind.try_into().ok()?) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A socket address, in the form of [`Wait::Connect`]: a path, or an IP address and a port as text.
    pub(crate) fn address(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        let bytes = self.memory.bytes(at, usize::try_from(length).ok().filter(|n| (2..=128).contains(n))?)?;
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
        match family {
            1 => {
                let path = bytes.get(2..)?;
                if path.first() == Some(&0) {
                    return Some(path.to_vec());
                }
                Some(path.split(|b| *b == 0).next()?.to_vec())
            }
            2 => {
                let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
                Some(std::net::SocketAddr::new(ip.into(), port()?).to_string().into_bytes())
            }
            10 => {
                let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
                Some(std::net::SocketAddr::new(ip.into(), port()?).to_string().into_bytes())
            }
            _ => None,
        }
    }

    fn uring_timeout(&self) -> Timeout {
        const EXT_ARG: u64 = 1 << 3;
        let [_, _, _, flags, arg, _] = self.args;
        if flags & EXT_ARG == 0 {
            return Timeout::Never;
        }
        match self.memory.u64(arg.saturating_add(16)) {
            Some(at) => self.relative(at),
            None => Timeout::Unknown,
        }
    }
}

/// Milliseconds in an `int` argument; negative means for ever.
fn millis(arg: u64) -> Timeout {
    match u64::try_from(arg as i32) {
        Ok(millis) => Timeout::After(Some(millis * 1_000_000)),
        Err(_) => Timeout::Never,
    }
}

const CLONE_VFORK: u64 = 0x4000;
const TIMER_ABSTIME: u64 = 1;
const F_SETLKW: u64 = 7;
const F_OFD_SETLKW: u64 = 38;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::procfs_view::proc_dir::ProcDir;

    /// The wait of a call of this very process, so that pointers lead somewhere.
    fn wait(name: &str, args: [u64; 6]) -> Wait {
        let own = ProcDir::open(Path::new("/proc/self")).unwrap();
        let memory = Memory::of(&own);
        let clocks = Clocks { realtime: 5_000_000_000, monotonic: 2_000_000_000, boottime: 0 };
        BlockedCall { name, number: 1, args, memory: &memory, wchan: None, pgrp: 42, clocks }.wait()
    }

    fn at<T>(value: &T) -> u64 {
        std::ptr::from_ref(value) as u64
    }

    #[test]
    fn poll_reads_its_set_and_passes_over_negative_fds() {
        let set: [(i32, u16, u16); 3] = [(3, 1, 0), (-1, 1, 0), (7, 4, 0)];
        let bytes: Vec<u8> = set
            .iter()
            .flat_map(|(fd, events, got)| {
                [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &got.to_ne_bytes()].concat()
            })
            .collect();
        let expected = Some(vec![PollFd { fd: 3, events: 1 }, PollFd { fd: 7, events: 4 }]);
        let args = [bytes.as_ptr() as u64, 3, u64::from(u32::MAX), 0, 0, 0];
        assert_eq!(wait("poll", args), Wait::Poll { set: expected.clone(), timeout: Timeout::Never });
        let spec: [i64; 2] = [1, 5];
        let args = [bytes.as_ptr() as u64, 3, at(&spec), 0, 0, 0];
        assert_eq!(
            wait("ppoll", args),
            Wait::Poll { set: expected, timeout: Timeout::After(Some(1_000_000_005)) }
        );
        assert_eq!(
            wait("poll", [1, 3, 5, 0, 0, 0]),
            Wait::Poll { set: None, timeout: Timeout::After(Some(5_000_000)) }
        );
        assert_eq!(
            wait("poll", [0, 0, 5, 0, 0, 0]),
            Wait::Sleep { timeout: Timeout::After(Some(5_000_000)) }
        );
    }

    #[test]
    fn select_joins_its_three_sets() {
        let (read, write): ([u64; 2], [u64; 2]) = ([1 << 3, 1], [1 << 3, 0]);
        let expected =
            vec![PollFd { fd: 3, events: events::IN | events::OUT }, PollFd { fd: 64, events: events::IN }];
        assert_eq!(
            wait("select", [65, at(&read), at(&write), 0, 0, 0]),
            Wait::Poll { set: Some(expected), timeout: Timeout::Never }
        );
    }

    #[test]
    fn targets_of_wait_calls() {
        let target = |name, args| match wait(name, args) {
            Wait::WaitChild { target, .. } => target,
            other => panic!("{other:?}"),
        };
        assert_eq!(target("wait4", [u64::from(u32::MAX), 0, 0, 0, 0, 0]), ChildTarget::Any);
        assert_eq!(target("wait4", [0; 6]), ChildTarget::Pgid(42));
        assert_eq!(target("wait4", [(-7i32) as u32 as u64, 0, 0, 0, 0, 0]), ChildTarget::Pgid(7));
        assert_eq!(target("waitid", [3, 9, 0, 4, 0, 0]), ChildTarget::PidFd(9));
        assert_eq!(target("waitid", [0, 0, 0, 4, 0, 0]), ChildTarget::Any);
    }

    #[test]
    fn a_futex_word_is_read_and_a_mutex_names_its_owner() {
        let mutex: [u32; 5] = [2, 1, 1234, 1, 0];
        let Wait::Futex { private, word, owner_tid, timeout, .. } =
            wait("futex", [at(&mutex), 128, 2, 0, 0, 0])
        else {
            panic!()
        };
        assert_eq!((private, word, owner_tid, timeout), (true, Some(2), Some(1234), Timeout::Never));
        let pi: u32 = 0x8000_0000 | 77;
        let Wait::Futex { owner_tid, private, .. } = wait("futex", [at(&pi), 6, 0, 0, 0, 0]) else {
            panic!()
        };
        assert_eq!((owner_tid, private), (Some(77), false));
        // There is no owner beside the word of a condition variable, or of a program's own lock.
        let other: [u32; 5] = [2, 0, 0xf7d8_a740, 1, 0];
        let Wait::Futex { owner_tid, .. } = wait("futex", [at(&other), 128, 2, 0, 0, 0]) else { panic!() };
        assert_eq!(owner_tid, None);
    }

    #[test]
    fn absolute_time_outs_become_relative() {
        let until: [i64; 2] = [6, 0];
        let Wait::Futex { timeout, .. } = wait("futex", [8, 9 | 128, 0, at(&until), 0, 0]) else { panic!() };
        assert_eq!(timeout, Timeout::After(Some(4_000_000_000)));
        assert_eq!(
            wait("clock_nanosleep", [0, 1, at(&until), 0, 0, 0]),
            Wait::Sleep { timeout: Timeout::After(Some(1_000_000_000)) }
        );
        assert_eq!(wait("nanosleep", [0; 6]), Wait::Sleep { timeout: Timeout::After(None) });
    }

    #[test]
    fn socket_addresses() {
        let mut inet = vec![2u8, 0, 0x1f, 0x90, 127, 0, 0, 1];
        inet.resize(16, 0);
        let Wait::Connect { peer, .. } = wait("connect", [3, inet.as_ptr() as u64, 16, 0, 0, 0]) else {
            panic!()
        };
        assert_eq!(peer.unwrap().as_bytes(), b"127.0.0.1:8080");
        let unix = b"\x01\0/run/x\0";
        let Wait::Connect { peer, .. } = wait("connect", [3, unix.as_ptr() as u64, 9, 0, 0, 0]) else {
            panic!()
        };
        assert_eq!(peer.unwrap().as_bytes(), b"/run/x");
    }

    #[test]
    fn a_restarted_sleep_has_an_unknown_end() {
        assert_eq!(wait("restart_syscall", [0; 6]), Wait::Sleep { timeout: Timeout::After(None) });
        assert_eq!(wait("frobnicate", [0; 6]), Wait::Other { nr: 1 });
    }
}
