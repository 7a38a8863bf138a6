//! What changes when a thread does anything: two samples of a thread show whether it made progress.

use std::collections::BTreeMap;
use std::io;

use crate::core::evidence::Progress;
use crate::core::identity::{NS_PER_TICK, ProcessId};
use crate::procfs_view::proc_dir::{OpenRoot, ProcDir};
use crate::procfs_view::reader;
use crate::procfs_view::stat::{self, Stat, Status, SyscallText};

/// A thread at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ThreadSample {
    pub tid: u32,
    pub stat: Stat,
    /// Empty for a kernel thread, whose masks and counters answer no question.
    pub status: Status,
    /// CPU time, nanoseconds; in whole ticks where the kernel keeps no `schedstat`.
    pub cpu_ns: u64,
    /// Time ready to run without a CPU, nanoseconds; `None` where the kernel keeps no `schedstat`.
    pub delay_ns: Option<u64>,
    /// The system call, or why it could not be read.
    pub call: Result<SyscallText, io::ErrorKind>,
}

impl ThreadSample {
    /// Whether another sample is of this thread, and not of a later one with its tid.
    pub(crate) fn is_same_thread(&self, other: &Self) -> bool {
        self.tid == other.tid && self.stat.start_ticks == other.stat.start_ticks
    }

    /// It has ended.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.stat.state, b'Z' | b'X')
    }
}

/// A process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ProcessSample {
    pub id: ProcessId,
    /// By tid; never empty.
    pub threads: Vec<ThreadSample>,
}

/// Every process of the machine that can be seen, by tgid.
pub(crate) type Samples = BTreeMap<u32, ProcessSample>;

impl ProcessSample {
    /// The leader; the first thread when the kernel did not show the leader.
    pub(crate) fn leader(&self) -> &ThreadSample {
        self.threads.iter().find(|t| t.tid == self.id.tgid).unwrap_or(&self.threads[0])
    }

    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.leader().stat.flags & stat::PF_KTHREAD != 0
    }

    /// All its threads have ended. A leader that ended before its threads makes no zombie of the process.
    /// It has ended, or is about to: its first thread has begun to exit and no other one is alive.
    pub(crate) fn is_ending(&self) -> bool {
        let exits = |thread: &ThreadSample| thread.is_dead() || thread.stat.flags & stat::PF_EXITING != 0;
        self.threads.iter().all(exits)
    }

    pub(crate) fn is_zombie(&self) -> bool {
        self.threads.iter().all(ThreadSample::is_dead)
    }
}

/// Samples every process.
pub(crate) fn machine(root: &OpenRoot, buffer: &mut Vec<u8>) -> Samples {
    let tgids = root.dir.numbers().unwrap_or_default();
    let is_ours = |tgid| root.is_system() && reader::is_helper(tgid);
    tgids
        .into_iter()
        .filter(|tgid| !is_ours(*tgid))
        .filter_map(|tgid| Some((tgid, process(root, tgid, buffer)?)))
        .collect()
}

/// Samples a process. `None` when it is gone.
pub(crate) fn process(root: &OpenRoot, tgid: u32, buffer: &mut Vec<u8>) -> Option<ProcessSample> {
    let tasks = root.process(tgid).ok()?.sub("task").ok()?;
    let threads: Vec<ThreadSample> =
        tasks.numbers().ok()?.into_iter().filter_map(|tid| thread(&tasks, tid, buffer)).collect();
    let first = threads.iter().find(|t| t.tid == tgid).or(threads.first())?;
    let id = ProcessId { tgid, start_ticks: first.stat.start_ticks };
    Some(ProcessSample { id, threads })
}

fn thread(tasks: &ProcDir, tid: u32, buffer: &mut Vec<u8>) -> Option<ThreadSample> {
    let dir = tasks.numbered(tid).ok()?;
    let stat = stat::stat(dir.read("stat", buffer).ok()?)?;
    if stat.flags & stat::PF_KTHREAD != 0 {
        let call = Ok(SyscallText::Outside);
        return Some(ThreadSample { tid, cpu_ns: 0, delay_ns: None, stat, status: Status::default(), call });
    }
    let status = stat::status(dir.read("status", buffer).ok()?);
    let times = dir.read("schedstat", buffer).ok().and_then(stat::schedstat_ns);
    let cpu_ns = times.map_or(stat.cpu_ticks * NS_PER_TICK, |(cpu_ns, _)| cpu_ns);
    let call = match dir.read("syscall", buffer) {
        Ok(text) => stat::syscall(text).ok_or(io::ErrorKind::InvalidData),
        Err(error) => Err(error.kind()),
    };
    Some(ThreadSample { tid, stat, status, cpu_ns, delay_ns: times.map(|(_, delay_ns)| delay_ns), call })
}

/// What a thread did between two samples.
pub(crate) fn progress(before: &ThreadSample, after: &ThreadSample) -> Progress {
    let switches = |sample: &ThreadSample| {
        let status = &sample.status;
        status.voluntary.unwrap_or(0).saturating_add(status.involuntary.unwrap_or(0))
    };
    let kernel_ticks = after.stat.system_ticks.saturating_sub(before.stat.system_ticks);
    let sleeps = before.status.voluntary.zip(after.status.voluntary);
    Progress {
        switches: switches(after).saturating_sub(switches(before)),
        cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
        sleeps: sleeps.map(|(before, after)| after.saturating_sub(before)),
        faults: Some(after.stat.faults.saturating_sub(before.stat.faults)),
        kernel_ns: Some(kernel_ticks * NS_PER_TICK),
        same_call: before.call == after.call && before.stat.state == after.stat.state,
    }
}

/// Whether a thread did anything at all, or is about to.
///
/// State R counts as moved: the kernel adds up the CPU time of a running thread at its ticks only, and a
/// thread that waits for a CPU has nothing else to wait for.
pub(crate) fn moved(progress: &Progress, after: &ThreadSample) -> bool {
    progress.switches > 0 || progress.cpu_ns > 0 || !progress.same_call || after.stat.state == b'R'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs_view::ProcRoot;

    #[test]
    fn a_thread_that_sleeps_does_not_move_and_one_that_runs_does() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (send_tid, tid) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            send_tid.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
            let _ = stopped.recv();
        });
        let tid = tid.recv().unwrap();
        let root = ProcRoot::system().open().unwrap();
        let mut buffer = Vec::new();
        let mut take = |tid: u32| {
            let sample = process(&root, std::process::id(), &mut buffer).unwrap();
            sample.threads.into_iter().find(|t| t.tid == tid).unwrap()
        };
        // The sleeper may still be on its way into its wait.
        let asleep = loop {
            let (before, after) = (take(tid), take(tid));
            if after.stat.state == b'S' && !moved(&progress(&before, &after), &after) {
                break after;
            }
        };
        assert!(matches!(asleep.call, Ok(SyscallText::Inside { .. })), "{asleep:?}");
        let own = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let (before, after) = (take(own), take(own));
        assert!(moved(&progress(&before, &after), &after));
        drop(stop);
        sleeper.join().unwrap();
    }
}
