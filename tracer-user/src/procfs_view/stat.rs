//! The texts of a thread: `stat`, `status`, `schedstat` and `syscall`.
//!
//! Total functions from bytes: whatever the text, each returns what it found, or `None`.

use super::text::{decimal, hex, words};
use crate::core::signal::SignalSet;

/// `/proc/PID/stat` or `/proc/PID/task/TID/stat`; proc_pid_stat(5) numbers the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 2, without its parentheses.
    pub comm: Vec<u8>,
    /// State letter.
    pub state: u8,
    /// Parent's tgid; 0 is the kernel.
    pub ppid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Login session.
    pub session: u32,
    /// Controlling terminal, as the kernel encodes device numbers; 0 is none.
    pub tty: u32,
    /// Foreground process group of that terminal; `None` without one.
    pub foreground: Option<u32>,
    /// Kernel flags of the task (`PF_*`).
    pub flags: u64,
    /// CPU time in user and kernel mode, ticks.
    pub cpu_ticks: u64,
    /// The part of it in kernel mode.
    pub system_ticks: u64,
    /// Page faults that needed no disk.
    pub faults: u64,
    /// It has reaped a child: the kernel adds up the faults and the CPU time of reaped children.
    pub has_collected: bool,
    /// Number of threads.
    pub threads: u32,
    /// Start, ticks since boot.
    pub start_ticks: u64,
    /// Wait status of a zombie (field 52). 0 as well when the reader has no right to ptrace the process.
    pub exit_code: Option<u32>,
}

impl Stat {
    /// It has ended, reaped or not.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Flag of a task that is exiting: it has begun to give up its memory and its fds.
pub(crate) const PF_EXITING: u64 = 0x0000_0004;
/// Flag of a kernel thread.
pub(crate) const PF_KTHREAD: u64 = 0x0020_0000;
/// Flag of a process that was forked and has executed no program since.
pub(crate) const PF_FORKNOEXEC: u64 = 0x0000_0040;

/// Parses `stat`. A comm may hold spaces, parentheses and line ends: the last `)` closes it.
pub(crate) fn stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let fields: Vec<&str> = words(text.get(close + 1..)?).collect();
    // fields[0] is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let unsigned = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        comm,
        state: *fields.first()?.as_bytes().first()?,
        ppid: number(4)?.try_into().ok()?,
        pgrp: number(5)?.try_into().unwrap_or(0),
        session: number(6)?.try_into().unwrap_or(0),
        tty: number(7)? as u32,
        foreground: u32::try_from(number(8)?).ok().filter(|group| *group > 0),
        flags: unsigned(9)?,
        cpu_ticks: unsigned(14)?.saturating_add(unsigned(15)?),
        system_ticks: unsigned(15)?,
        faults: unsigned(10)?,
        has_collected: [11, 13, 16, 17].into_iter().filter_map(unsigned).any(|sum| sum > 0),
        threads: number(20)?.try_into().ok()?,
        start_ticks: unsigned(22)?,
        exit_code: unsigned(52).and_then(|code| code.try_into().ok()),
    })
}

/// The part of `/proc/PID/status` that is used. An absent line is `None`: kernels differ, and zombies lack
/// some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Tracer; `None` without one.
    pub tracer: Option<u32>,
    /// Effective user.
    pub euid: Option<u32>,
    /// Its number in its innermost pid namespace.
    pub inner_pid: Option<u32>,
    /// Signals pending for the thread.
    pub pending: Option<SignalSet>,
    /// Signals pending for the process.
    pub shared_pending: Option<SignalSet>,
    /// Signals blocked.
    pub blocked: Option<SignalSet>,
    /// Signals ignored.
    pub ignored: Option<SignalSet>,
    /// Signals caught.
    pub caught: Option<SignalSet>,
    /// Context switches by waiting.
    pub voluntary: Option<u64>,
    /// Context switches by being preempted.
    pub involuntary: Option<u64>,
    /// Resident memory, KiB.
    pub rss_kb: Option<u64>,
    /// Effective capabilities, a bit each.
    pub capabilities: Option<u64>,
}

/// Parses `status`.
pub(crate) fn status(text: &[u8]) -> Status {
    let mut found = Status::default();
    for line in text.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        // The kernel escapes the value of `Name:` (proc_task_name, fs/proc/array.c): a comm cannot forge a
        // line.
        match key {
            b"TracerPid" => found.tracer = decimal(value).filter(|pid| *pid != 0),
            // Real, effective, saved and file system user.
            b"Uid" => found.euid = words(value).nth(1).and_then(|id| id.parse().ok()),
            b"NSpid" => found.inner_pid = words(value).last().and_then(|pid| pid.parse().ok()),
            b"SigPnd" => found.pending = hex(value).map(SignalSet),
            b"ShdPnd" => found.shared_pending = hex(value).map(SignalSet),
            b"SigBlk" => found.blocked = hex(value).map(SignalSet),
            b"SigIgn" => found.ignored = hex(value).map(SignalSet),
            b"SigCgt" => found.caught = hex(value).map(SignalSet),
            b"voluntary_ctxt_switches" => found.voluntary = decimal(value),
            b"nonvoluntary_ctxt_switches" => found.involuntary = decimal(value),
            b"VmRSS" => found.rss_kb = decimal(value),
            b"CapEff" => found.capabilities = hex(value),
            _ => {}
        }
    }
    found
}

/// `/proc/PID/task/TID/syscall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SyscallText {
    /// On a CPU, or waiting for one.
    Running,
    /// Asleep outside a system call (a page fault, stopped at the return, a kernel thread).
    Outside,
    /// Inside a system call.
    Inside {
        /// Its number.
        number: u64,
        /// The registers of its arguments.
        args: [u64; 6],
        /// Stack pointer: with the arguments it distinguishes one call from the next of the same kind.
        stack: u64,
        /// Program counter.
        code: u64,
    },
}

/// Parses `syscall`. `None` for an empty text, which a kernel shows for a task that is gone.
pub(crate) fn syscall(text: &[u8]) -> Option<SyscallText> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    if first == "running" {
        return Some(SyscallText::Running);
    }
    let number: i64 = first.parse().ok()?;
    let Ok(number) = u64::try_from(number) else { return Some(SyscallText::Outside) };
    let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = next()?;
    }
    Some(SyscallText::Inside { number, args, stack: next()?, code: next()? })
}

/// Nanoseconds on a CPU, and nanoseconds ready to run without one: the first two numbers of `schedstat`
/// (`proc_pid_schedstat` in fs/proc/base.c).
pub(crate) fn schedstat_ns(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = words(text).map(|word| word.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Microseconds for which some task waited for a CPU, from `/proc/pressure/cpu` (`psi_show` in
/// kernel/sched/psi.c).
pub(crate) fn pressure_us(text: &[u8]) -> Option<u64> {
    let some = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"some "))?;
    words(some).find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] =
        b"812 (a ) b\n(c) S 1 811 810 34816 811 4194304 99 0 0 0 7 5 0 0 20 0 3 0 135857 3133440 390 \
        18446744073709551615 1 1 1 1 1 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 1 1 1 1 1 1 0\n";

    #[test]
    fn stat_with_a_hostile_comm() {
        let stat = stat(STAT).unwrap();
        assert_eq!(stat.comm, b"a ) b\n(c");
        assert_eq!((stat.state, stat.ppid, stat.pgrp, stat.session), (b'S', 1, 811, 810));
        assert_eq!((stat.tty, stat.foreground, stat.cpu_ticks), (34816, Some(811), 12));
        assert_eq!((stat.threads, stat.start_ticks), (3, 135_857));
    }

    #[test]
    fn no_prefix_of_stat_panics() {
        for end in 0..STAT.len() {
            let _ = stat(&STAT[..end]);
            let _ = status(&STAT[..end]);
            let _ = syscall(&STAT[..end]);
        }
    }

    #[test]
    fn status_lines() {
        let text =
            b"Name:\ta:b\nTracerPid:\t5\nUid:\t1000\t0\t0\t0\nNSpid:\t812\t3\nShdPnd:\t0000000000004000\n\
            SigBlk:\t0000000000000002\nvoluntary_ctxt_switches:\t12\n";
        let status = status(text);
        assert_eq!((status.tracer, status.euid), (Some(5), Some(0)));
        assert_eq!(
            (status.inner_pid, status.shared_pending, status.blocked),
            (Some(3), Some(SignalSet(0x4000)), Some(SignalSet(2)))
        );
        assert_eq!((status.voluntary, status.involuntary, status.ignored), (Some(12), None, None));
    }

    #[test]
    fn syscall_lines() {
        assert_eq!(syscall(b"running\n"), Some(SyscallText::Running));
        assert_eq!(syscall(b"-1 0x7ffe 0x401000\n"), Some(SyscallText::Outside));
        let call = syscall(b"1 0x1 0x7f 0x1000 0x0 0x0 0xffffffffffffffff 0x7ffe 0x401000\n").unwrap();
        assert_eq!(
            call,
            SyscallText::Inside {
                number: 1,
                args: [1, 0x7f, 0x1000, 0, 0, u64::MAX],
                stack: 0x7ffe,
                code: 0x401000
            }
        );
        assert_eq!(syscall(b""), None);
        assert_eq!(syscall(b"1 0x1 0x7f"), None);
    }
}
