//! `/proc/PID/fdinfo/N`: access mode, locks, and what is particular to each anonymous kind.

use crate::core::evidence::{Access, FdLock, LockKind, LockMode};
use crate::procfs_view::text::{decimal, hex, words};

const O_NONBLOCK: u32 = 0o4000;
const O_CLOEXEC: u32 = 0o2_000_000;
const O_PATH: u32 = 0o10_000_000;

/// An item of an epoll interest set, as its line shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpollEntry {
    /// Number of the fd when it was added: it may be another file by now.
    pub fd: u32,
    /// `EPOLL*` bits.
    pub events: u32,
    /// Inode of the file; 0 when the kernel does not show it.
    pub ino: u64,
}

/// An eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventFdInfo {
    pub count: u64,
    /// Identity of the object behind the fd (Linux 5.4 and later).
    pub id: Option<u64>,
}

/// The process of a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PidFdTarget {
    /// Its tgid.
    Process(u32),
    /// It has ended and was reaped.
    Gone,
}

impl PidFdTarget {
    /// `None` when the process is gone.
    pub(crate) fn tgid(self) -> Option<u32> {
        match self {
            Self::Process(tgid) => Some(tgid),
            Self::Gone => None,
        }
    }

    /// -1 stands for a reaped process, and 0 for one outside the pid namespace of `/proc`, which is unknown
    /// here (`pidfd_show_fdinfo`, fs/pidfs.c).
    fn parse(value: &[u8]) -> Option<Self> {
        match decimal::<i64>(value)? {
            -1 => Some(Self::Gone),
            pid => u32::try_from(pid).ok().filter(|pid| *pid != 0).map(Self::Process),
        }
    }
}

/// The lines of an fdinfo that are used. An absent line is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdInfo {
    /// Open flags (`O_*`).
    pub flags: Option<u32>,
    /// Id of the mount that the file was opened through.
    pub mount: Option<u32>,
    /// Inode (Linux 5.14 and later).
    pub ino: Option<u64>,
    /// Locks held through the fd.
    pub locks: Vec<FdLock>,
    /// Of an eventfd.
    pub eventfd: Option<EventFdInfo>,
    /// Interest set of an epoll; empty for an epoll that watches nothing, and for all other kinds.
    pub interest: Vec<EpollEntry>,
    /// Of a pidfd.
    pub pidfd: Option<PidFdTarget>,
    /// Signals that a signalfd receives, a bit each.
    pub signals: Option<u64>,
    /// Time until a timerfd expires, nanoseconds; 0 when it is not armed.
    pub timer_left_ns: Option<u64>,
    /// Expirations of a timerfd that were not read.
    pub timer_ticks: Option<u64>,
    /// Index of a pty, of its master side.
    pub tty_index: Option<u32>,
    /// fds in messages that a UNIX socket has not received yet (Linux 5.9 and later).
    pub fds_in_flight: Option<u32>,
}

impl FdInfo {
    /// How the fd was opened.
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

    pub(crate) fn nonblocking(&self) -> bool {
        self.flags.is_some_and(|flags| flags & O_NONBLOCK != 0)
    }

    pub(crate) fn cloexec(&self) -> bool {
        self.flags.is_some_and(|flags| flags & O_CLOEXEC != 0)
    }
}

/// Parses fdinfo. Unknown lines are passed over.
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
            b"ino" => info.ino = decimal(value),
            b"lock" => info.locks.extend(lock(value)),
            b"eventfd-count" => event_count = hex(value),
            b"eventfd-id" => event_id = decimal(value),
            b"tfd" => info.interest.extend(epoll_entry(value)),
            b"Pid" => info.pidfd = PidFdTarget::parse(value),
            b"sigmask" => info.signals = hex(value),
            b"it_value" => info.timer_left_ns = timespec(value),
            b"ticks" => info.timer_ticks = decimal(value),
            b"tty-index" => info.tty_index = decimal(value),
            b"scm_fds" => info.fds_in_flight = decimal(value),
            _ => {}
        }
    }
    info.eventfd = event_count.map(|count| EventFdInfo { count, id: event_id });
    info
}

/// `  1: FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF`
fn lock(text: &[u8]) -> Option<FdLock> {
    let mut words = words(text).skip(1);
    let kind = lock_kind(words.next()?)?;
    let _advisory = words.next()?;
    Some(FdLock { kind, mode: lock_mode(words.next()?)? })
}

/// The kind of a lock, from its first word.
pub(crate) fn lock_kind(word: &str) -> Option<LockKind> {
    Some(match word {
        "FLOCK" => LockKind::Flock,
        "POSIX" | "ACCESS" => LockKind::Posix,
        "OFDLCK" => LockKind::Ofd,
        "LEASE" | "DELEG" | "LAYOUT" => LockKind::Lease,
        _ => return None,
    })
}

/// The mode of a lock, from its word.
pub(crate) fn lock_mode(word: &str) -> Option<LockMode> {
    match word {
        "READ" => Some(LockMode::Read),
        "WRITE" | "RW" => Some(LockMode::Write),
        _ => None,
    }
}

/// `        5 events:       19 data:                5  pos:0 ino:3e9 sdev:e`
fn epoll_entry(text: &[u8]) -> Option<EpollEntry> {
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
    Some(EpollEntry { fd, events: events?, ino: ino.unwrap_or(0) })
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
            info.interest,
            [
                EpollEntry { fd: 5, events: 0x4000_001d, ino: 0x3e9 },
                EpollEntry { fd: 7, events: 0, ino: 0x10 }
            ]
        );
    }

    #[test]
    fn the_other_kinds() {
        let eventfd = parse(b"eventfd-count:               1f\neventfd-id: 3\n").eventfd;
        assert_eq!(eventfd, Some(EventFdInfo { count: 0x1f, id: Some(3) }));
        assert_eq!(parse(b"Pid:\t-1\n").pidfd, Some(PidFdTarget::Gone));
        assert_eq!(parse(b"Pid:\t0\n").pidfd, None);
        assert_eq!(parse(b"Pid:\t812\nNSpid:\t812\n").pidfd, Some(PidFdTarget::Process(812)));
        assert_eq!(parse(b"it_value: (4, 5)\n").timer_left_ns, Some(4_000_000_005));
        assert_eq!(parse(b"scm_fds: 2\n").fds_in_flight, Some(2));
        assert_eq!(parse(b"tty-index:\t3\n").tty_index, Some(3));
        let info = parse(b"lock:\t1: FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF\n");
        assert_eq!(info.locks, [FdLock { kind: LockKind::Flock, mode: LockMode::Write }]);
    }
}
