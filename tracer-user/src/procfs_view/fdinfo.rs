//! `/proc/PID/fdinfo/N`: access mode, locks, and what the anonymous kinds tell about themselves.

use super::stat::{decimal, decimal64, hex, words};
use crate::core::evidence::{Access, FdLock, LockKind, LockMode};

const O_NONBLOCK: u32 = 0o4000;
const O_CLOEXEC: u32 = 0o2_000_000;
const O_PATH: u32 = 0o10_000_000;

/// An item of an epoll interest set, as its line shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// fd when it was added.
    pub fd: u32,
    /// Events.
    pub events: u32,
    /// Inode of the file.
    pub ino: u64,
}

/// What fdinfo told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdInfo {
    /// `flags`, octal.
    pub flags: Option<u32>,
    /// Mount the file was opened through.
    pub mount: Option<u32>,
    /// Inode (Linux 5.14 and later).
    pub ino: Option<u64>,
    /// Locks held through it.
    pub locks: Vec<FdLock>,
    /// eventfd: counter and identity.
    pub eventfd: Option<(u64, Option<u64>)>,
    /// epoll: its interest set; empty for an epoll that watches nothing and for all other kinds.
    pub watched: Vec<Watched>,
    /// pidfd: its process; `Some(None)` when that has been collected or lies in another pid namespace.
    pub pidfd: Option<Option<u32>>,
    /// signalfd: mask.
    pub signals: Option<u64>,
    /// timerfd: nanoseconds left (0: not armed).
    pub timer_left_ns: Option<u64>,
    /// timerfd: expirations not read.
    pub timer_ticks: Option<u64>,
    /// Master side of a pty: its index.
    pub tty_index: Option<u32>,
    /// UNIX socket: fds in messages that it has not received yet (Linux 5.9 and later).
    pub fds_in_flight: Option<u32>,
}

impl FdInfo {
    /// Access mode.
    pub(crate) fn access(&self) -> Access {
        match self.flags {
            Some(flags) if flags & O_PATH == 0 => match flags & 3 {
                0 => Access::Read,
                1 => Access::Write,
                2 => Access::ReadWrite,
                _ => Access::None,
            },
            _ => Access::None,
        }
    }

    /// O_NONBLOCK.
    pub(crate) fn nonblocking(&self) -> bool {
        self.flags.is_some_and(|flags| flags & O_NONBLOCK != 0)
    }

    /// Close-on-exec.
    pub(crate) fn cloexec(&self) -> bool {
        self.flags.is_some_and(|flags| flags & O_CLOEXEC != 0)
    }
}

/// Parses fdinfo. Lines it does not know are passed over.
pub(crate) fn parse(text: &[u8]) -> FdInfo {
    let mut info = FdInfo::default();
    let mut event_count = None;
    let mut event_id = None;
    for line in text.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        match key {
            b"flags" => info.flags = words(value).next().and_then(|w| u32::from_str_radix(w, 8).ok()),
            b"mnt_id" => info.mount = decimal(value),
            b"ino" => info.ino = decimal64(value),
            b"lock" => info.locks.extend(lock(value)),
            b"eventfd-count" => event_count = hex(value),
            b"eventfd-id" => event_id = decimal64(value),
            b"tfd" => info.watched.extend(watched(value)),
            b"Pid" => info.pidfd = Some(decimal(value).filter(|pid| *pid > 0)),
            b"sigmask" => info.signals = hex(value),
            b"it_value" => info.timer_left_ns = timespec(value),
            b"ticks" => info.timer_ticks = decimal64(value),
            b"tty-index" => info.tty_index = decimal(value),
            b"scm_fds" => info.fds_in_flight = decimal(value),
            _ => {}
        }
    }
    info.eventfd = event_count.map(|count| (count, event_id));
    info
}

/// `  1: FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF`
fn lock(text: &[u8]) -> Option<FdLock> {
    let mut words = words(text).skip(1);
    let kind = lock_kind(words.next()?)?;
    let _advisory = words.next()?;
    Some(FdLock { kind, mode: lock_mode(words.next()?)? })
}

/// First word of a lock.
pub(crate) fn lock_kind(word: &str) -> Option<LockKind> {
    Some(match word {
        "FLOCK" => LockKind::Flock,
        "POSIX" | "ACCESS" => LockKind::Posix,
        "OFDLCK" => LockKind::Ofd,
        "LEASE" | "DELEG" | "LAYOUT" => LockKind::Lease,
        _ => return None,
    })
}

/// Mode of a lock.
pub(crate) fn lock_mode(word: &str) -> Option<LockMode> {
    match word {
        "READ" => Some(LockMode::Read),
        "WRITE" | "RW" => Some(LockMode::Write),
        _ => None,
    }
}

/// `        5 events:       19 data:                5  pos:0 ino:3e9 sdev:e`
fn watched(text: &[u8]) -> Option<Watched> {
    let mut words = words(text);
    let fd = words.next()?.parse().ok()?;
    let mut events = None;
    let mut ino = None;
    while let Some(word) = words.next() {
        if word == "events:" {
            events = u32::from_str_radix(words.next()?, 16).ok();
        } else if let Some(number) = word.strip_prefix("ino:") {
            ino = u64::from_str_radix(number, 16).ok();
        }
    }
    Some(Watched { fd, events: events?, ino: ino.unwrap_or(0) })
}

/// `(4, 999999000)`
fn timespec(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (seconds, nanos) = text.split_once(',')?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_comes_from_the_octal_flags() {
        let info = parse(b"pos:\t0\nflags:\t02004001\nmnt_id:\t24\nino:\t99\n");
        assert_eq!((info.access(), info.nonblocking(), info.cloexec()), (Access::Write, true, true));
        assert_eq!((info.mount, info.ino), (Some(24), Some(99)));
        assert_eq!(parse(b"flags:\t010000000\n").access(), Access::None);
        assert_eq!(parse(b"").access(), Access::None);
    }

    #[test]
    fn an_epoll_names_what_it_watches() {
        let info = parse(
            b"flags:\t02\ntfd:        5 events: 4000001d data:                5  pos:0 ino:3e9 sdev:e\n\
              tfd:        7 events:        0 data: ffff  pos:0 ino:10 sdev:9\n",
        );
        assert_eq!(
            info.watched,
            [Watched { fd: 5, events: 0x4000_001d, ino: 0x3e9 }, Watched { fd: 7, events: 0, ino: 0x10 }]
        );
    }

    #[test]
    fn the_other_kinds() {
        assert_eq!(parse(b"eventfd-count:               1f\neventfd-id: 3\n").eventfd, Some((0x1f, Some(3))));
        assert_eq!(parse(b"Pid:\t-1\n").pidfd, Some(None));
        assert_eq!(parse(b"Pid:\t812\nNSpid:\t812\n").pidfd, Some(Some(812)));
        assert_eq!(parse(b"it_value: (4, 5)\n").timer_left_ns, Some(4_000_000_005));
        assert_eq!(parse(b"scm_fds: 2\n").fds_in_flight, Some(2));
        assert_eq!(parse(b"tty-index:\t3\n").tty_index, Some(3));
        let info = parse(b"lock:\t1: FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF\n");
        assert_eq!(info.locks, [FdLock { kind: LockKind::Flock, mode: LockMode::Write }]);
    }
}
