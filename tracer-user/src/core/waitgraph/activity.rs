//! What a thread did during the quiet window: progress, a tick, or rest.
//!
//! *Progress* means an effect: bytes through a file that is not the process's own wake-up, a
//! child born or collected, CPU time beyond housekeeping. A *tick* is a wake-up by the thread's own time-out
//! after which it is back in the same wait. It is not progress, but it is a doubt, because the thread might
//! act at the next one. At *rest* a thread did not wake.
//!
//! The counted system calls of the window ([`Thread::calls`]) show this. Without them it is inferred from the
//! switches, the CPU time and the bytes of `/proc`, and everything that is not surely a tick counts as
//! progress: less evidence never makes a hang.

use super::index::{Index, ThreadKey};
use crate::core::evidence::{
    AnonKind, CallCount, ObjectFacts, ObjectId, Process, Progress, Thread, ThreadState, Timeout, UnixFacts,
    Wait,
};

/// What a thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// There was one sample, or none.
    Unmeasured,
    /// It did not wake.
    Rest,
    /// It woke and went back to the same wait.
    Tick(Tick),
    /// What it did had an effect.
    Progress,
}

/// A thread that wakes by its own time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Time from one wake-up to the next, nanoseconds; `None` when it is unknown.
    pub period_ns: Option<u64>,
    /// It looks at something outside of its process each time (a file, a directory, an address, another
    /// process), so another program can end its wait.
    pub looks_outside: bool,
}

/// A tick uses less CPU time than this part of the window.
const CPU_PART: u64 = 25;
/// CPU time up to this is no work in a window of any length, nanoseconds.
const CPU_FLOOR_NS: u64 = 4_000_000;
/// The window that the next limits are for. They grow in proportion with a longer one. Nanoseconds.
const WINDOW_NS: u64 = 400_000_000;
/// Bytes per window up to which an exchange with another process is a question whether anything is there (a
/// keep-alive, a poll of a broker), not work.
const CHAT_BYTES: u64 = 512;
/// Calls per window up to which the same holds.
const CHAT_CALLS: u64 = 8;
/// Bytes per window up to which reading a file (`/proc/self/stat`, a flag file) is a look, not work.
const LOOK_BYTES: u64 = 16_384;

/// What the thread did.
pub fn activity(index: &Index<'_>, key: ThreadKey) -> Activity {
    let (process, thread) = (index.process(key.process), index.thread(key));
    match thread.moved {
        None => return Activity::Unmeasured,
        Some(false) => return Activity::Rest,
        Some(true) => {}
    }
    let window = index.evidence().clock.quiet_window_ns;
    let Some(progress) = thread.progress else { return Activity::Progress };
    let most_cpu = (window / CPU_PART).max(CPU_FLOOR_NS);
    let awake = matches!(thread.state, ThreadState::Running | ThreadState::Uninterruptible);
    if window == 0 || awake || progress.cpu_ns > most_cpu {
        return Activity::Progress;
    }
    // An event loop that woke once and now waits for another time has several timers: the next one is a date.
    let is_loop = matches!(thread.wait, Wait::Epoll { .. } | Wait::Poll { .. });
    if is_loop && is_timed(&thread.wait) && !progress.same_call && progress.sleeps.is_some_and(|n| n < 2) {
        let took_nothing = thread.calls.as_ref().is_some_and(|calls| {
            calls.iter().map(|call| result_of(index, key, call)).max() < Some(Outcome::Look)
        });
        if took_nothing {
            return Activity::Rest;
        }
    }
    // A call that continues although it was woken got a part of what it waits for.
    let period_ns = period(thread, &progress, window);
    match &thread.calls {
        Some(calls) if calls.is_empty() && !is_timed(&thread.wait) => Activity::Progress,
        Some(calls) => match calls.iter().map(|call| result_of(index, key, call)).max() {
            Some(Outcome::Work) => Activity::Progress,
            // Something other than a time-out woke it, and it took nothing: it will come back for it.
            Some(Outcome::Quiet | Outcome::Poll) | None if !is_timed(&thread.wait) && !naps(calls) => {
                Activity::Progress
            }
            outcome => Activity::Tick(Tick { period_ns, looks_outside: outcome == Some(Outcome::Look) }),
        },
        None => inferred(process, thread, &progress, period_ns),
    }
}

/// Without counted calls: a thread that is back in the very same timed wait and moved no byte.
fn inferred(process: &Process, thread: &Thread, progress: &Progress, period_ns: Option<u64>) -> Activity {
    let moved_bytes = |io: crate::core::evidence::IoCounters| io.read_bytes > 0 || io.written_bytes > 0;
    let io = process.io_in_window;
    let waits_alone = matches!(thread.wait, Wait::Futex { .. } | Wait::Sleep { .. });
    // Bytes over sockets are in no counter of /proc, so a wait on files may have brought some.
    let silent = io.map_or(waits_alone, |io| !moved_bytes(io));
    if progress.same_call && is_timed(&thread.wait) && silent {
        // Whether it looks at anything each time is not visible. Most loops nap between two looks.
        let looks_outside = matches!(thread.wait, Wait::Sleep { .. }) || !waits_alone;
        return Activity::Tick(Tick { period_ns, looks_outside });
    }
    Activity::Progress
}

/// Whether its wait has a time-out, which can have woken it.
pub fn is_timed(wait: &Wait) -> bool {
    let timeout = match wait {
        Wait::Read { timeout, .. }
        | Wait::Poll { timeout, .. }
        | Wait::Epoll { timeout, .. }
        | Wait::Futex { timeout, .. }
        | Wait::Sleep { timeout }
        | Wait::Semaphore { timeout, .. }
        | Wait::MqSend { timeout, .. }
        | Wait::MqReceive { timeout, .. }
        | Wait::SignalWait { timeout, .. }
        | Wait::AsyncIo { timeout, .. } => *timeout,
        _ => Timeout::Never,
    };
    timeout.is_finite()
}

/// Among the calls is one that sleeps for a time.
fn naps(calls: &[CallCount]) -> bool {
    calls.iter().any(|call| matches!(call.name.as_deref(), Some("nanosleep" | "clock_nanosleep")))
}

fn period(thread: &Thread, progress: &Progress, window: u64) -> Option<u64> {
    let asked = match &thread.wait {
        Wait::Epoll { timeout: Timeout::After(Some(ns)), .. }
        | Wait::Poll { timeout: Timeout::After(Some(ns)), .. }
        | Wait::Sleep { timeout: Timeout::After(Some(ns)) } => Some(*ns),
        _ => None,
    };
    let wakes = progress.sleeps.filter(|sleeps| *sleeps > 0);
    asked.filter(|ns| *ns > 0).or_else(|| wakes.map(|wakes| window / wakes))
}

/// The effect of the calls of one kind, from nothing to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// They concern the process alone: waits, clocks, memory, its own wake-ups.
    Quiet,
    /// They ask for something that the graph knows: a lock, the end of a process.
    Poll,
    /// They look at something outside, and take nothing.
    Look,
    /// They did something.
    Work,
}

fn result_of(index: &Index<'_>, key: ThreadKey, call: &CallCount) -> Outcome {
    let Some(name) = call.name.as_deref() else { return Outcome::Work };
    match name {
        "futex" | "futex_wait" | "futex_waitv" | "futex_wake" | "nanosleep" | "clock_nanosleep"
        | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" | "select" | "pselect6"
        | "pause" | "rt_sigsuspend" | "restart_syscall" | "io_getevents" | "io_pgetevents"
        | "io_uring_enter" => Outcome::Quiet,
        "clock_gettime" | "clock_getres" | "gettimeofday" | "time" | "times" | "getrusage" | "getpid"
        | "gettid" | "getppid" | "getuid" | "geteuid" | "getgid" | "getegid" | "sched_yield"
        | "sched_getaffinity" | "sched_setaffinity" | "getcpu" | "rt_sigprocmask" | "rt_sigaction"
        | "rt_sigreturn" | "rt_sigpending" | "sigaltstack" | "timer_create" | "timer_delete"
        | "timer_settime" | "timer_gettime" | "timerfd_create" | "timerfd_settime" | "timerfd_gettime"
        | "setitimer" | "getitimer" | "alarm" | "madvise" | "mprotect" | "mmap" | "munmap" | "mremap"
        | "brk" | "membarrier" | "mincore" | "epoll_ctl" | "epoll_create1" | "eventfd2" | "prctl"
        | "arch_prctl" | "rseq" | "set_robust_list" | "getrandom" | "sysinfo" | "uname" | "getrlimit"
        | "prlimit64" | "tgkill" | "tkill" | "lseek" | "umask" | "getpriority" | "sched_getparam" => {
            Outcome::Quiet
        }
        "wait4" | "waitid" if call.positive == 0 => Outcome::Poll,
        "flock" | "fcntl" if call.positive == 0 && call.zero == 0 => Outcome::Poll,
        "kill" if call.zero == call.calls => Outcome::Poll,
        "rt_sigtimedwait" if call.positive == 0 => Outcome::Look,
        "semop" | "semtimedop" if call.positive == 0 && call.zero == 0 => Outcome::Look,
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2"
        | "readlink" | "readlinkat" | "getdents" | "getdents64" | "statfs" | "fstatfs" | "open"
        | "openat" | "openat2" | "close" | "close_range" | "dup" | "dup2" | "dup3" | "socket"
        | "socketpair" | "bind" | "getsockname" | "getpeername" | "getsockopt" | "setsockopt"
        | "shutdown" | "connect" | "listen" | "utime" | "utimes" | "utimensat" | "futimesat" | "fchmod"
        | "chmod" | "fchmodat" | "ioctl" | "kill" | "pidfd_open" | "pidfd_send_signal" | "inotify_init1"
        | "inotify_add_watch" | "inotify_rm_watch" | "getcwd" | "chdir" | "pipe2" | "pipe" | "fadvise64"
        | "flock" | "fcntl" => Outcome::Look,
        "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg" | "recvmmsg" => {
            bytes(index, key, call, true)
        }
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" | "sendmmsg" => {
            bytes(index, key, call, false)
        }
        // Any other call that only fails takes nothing.
        _ if call.positive == 0 && call.zero == 0 => Outcome::Look,
        _ => Outcome::Work,
    }
}

fn bytes(index: &Index<'_>, key: ThreadKey, call: &CallCount, reads: bool) -> Outcome {
    if call.sum == 0 {
        // The end of a file, or nothing there: a look.
        return Outcome::Look;
    }
    let windows = (index.evidence().clock.quiet_window_ns / WINDOW_NS).max(1);
    let small = call.sum <= CHAT_BYTES * windows && call.calls <= CHAT_CALLS * windows;
    // Which fd it was is not counted. A wake-up writes and reads a byte, or the eight of an eventfd.
    let wakes = call.sum <= 8 * call.calls && has_own_wake_up(index, key.process);
    match reads {
        _ if small && wakes => Outcome::Quiet,
        // A keep-alive, a question to a broker, a look at a flag or at /proc/self/stat.
        true if small || call.sum <= LOOK_BYTES * windows && opens_files(index, key) => Outcome::Look,
        false if small => Outcome::Look,
        _ => Outcome::Work,
    }
}

/// The process holds an object by which it wakes itself.
fn has_own_wake_up(index: &Index<'_>, process: usize) -> bool {
    let fds = index.process(process).fds.as_deref().unwrap_or_default();
    fds.iter().any(|fd| is_own_wake_up(index, process, &fd.object))
}

/// The thread opened and closed files during the window, so what it read came from them.
fn opens_files(index: &Index<'_>, key: ThreadKey) -> bool {
    let made = |names: &[&str]| {
        let calls = index.thread(key).calls.as_deref().unwrap_or_default();
        calls
            .iter()
            .any(|call| call.calls > call.failed() && names.contains(&call.name.as_deref().unwrap_or("")))
    };
    made(&["open", "openat", "openat2"]) && made(&["close"])
}

/// The object is one by which the process wakes itself: an eventfd or timer of its own, or a pipe or socket
/// pair both of whose ends no other process holds.
pub fn is_own_wake_up(index: &Index<'_>, process: usize, id: &ObjectId) -> bool {
    // A process that could not be looked into may hold an end, too.
    if index.relevant_unread(process).is_some() {
        return false;
    }
    let held_here_alone = |id: &ObjectId| index.holders(id).iter().all(|holder| holder.process == process);
    match id {
        ObjectId::Anon { kind: AnonKind::EventFd | AnonKind::TimerFd | AnonKind::SignalFd, .. } => {
            held_here_alone(id)
        }
        ObjectId::Pipe { .. } => {
            let both = |reads: bool| {
                index
                    .holders(id)
                    .iter()
                    .any(|holder| if reads { holder.fd.access.reads() } else { holder.fd.access.writes() })
            };
            held_here_alone(id) && both(true) && both(false)
        }
        ObjectId::Unix { .. } => match index.facts(id) {
            ObjectFacts::Unix(UnixFacts { peer: Some(peer), .. }) if *peer != 0 => {
                let peer = ObjectId::Unix { ino: *peer };
                !index.holders(&peer).is_empty() && held_here_alone(&peer) && held_here_alone(id)
            }
            _ => false,
        },
        _ => false,
    }
}
