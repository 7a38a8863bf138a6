//! What changes when a thread does anything: read twice, it tells progress.

use std::io;

use super::proc_dir::{Decimal, ProcDir};
use super::stat::{self, Stat, Status, SyscallText};
use crate::core::evidence::Progress;
use crate::core::identity::ProcessId;

/// A thread at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    /// Thread id.
    pub tid: u32,
    /// `stat`.
    pub stat: Stat,
    /// `status`.
    pub status: Status,
    /// CPU time, nanoseconds (ticks where the kernel keeps no schedstat).
    pub cpu_ns: u64,
    /// The system call, or why it could not be read.
    pub call: Result<SyscallText, io::ErrorKind>,
}

/// A process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    /// Which.
    pub id: ProcessId,
    /// Its threads, by tid; never empty.
    pub threads: Vec<Beat>,
}

impl Pulse {
    /// The leader, or when the kernel hid it, the first thread.
    pub(crate) fn leader(&self) -> &Beat {
        self.threads.iter().find(|t| t.tid == self.id.tgid).unwrap_or(&self.threads[0])
    }

    /// A kernel thread.
    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.leader().stat.flags & stat::PF_KTHREAD != 0
    }
}

/// Reads a process. `None` when it is gone.
pub(crate) fn process(root: &ProcDir, tgid: u32, buffer: &mut Vec<u8>) -> Option<Pulse> {
    let tasks = root.sub(Decimal::new(tgid).as_str()).ok()?.sub("task").ok()?;
    let threads: Vec<Beat> =
        tasks.numbers().ok()?.into_iter().filter_map(|tid| thread(&tasks, tid, buffer)).collect();
    let first = threads.iter().find(|t| t.tid == tgid).or(threads.first())?;
    let id = ProcessId { tgid, start_ticks: first.stat.start_ticks };
    Some(Pulse { id, threads })
}

fn thread(tasks: &ProcDir, tid: u32, buffer: &mut Vec<u8>) -> Option<Beat> {
    let dir = tasks.sub(Decimal::new(tid).as_str()).ok()?;
    let stat = stat::stat(dir.read("stat", buffer).ok()?)?;
    // A kernel thread's calls, masks and counters answer no question.
    let kernel = stat.flags & stat::PF_KTHREAD != 0;
    if kernel {
        return Some(Beat {
            tid,
            cpu_ns: 0,
            stat,
            status: Status::default(),
            call: Ok(SyscallText::Outside),
        });
    }
    let status = stat::status(dir.read("status", buffer).ok()?);
    let cpu_ns = dir
        .read("schedstat", buffer)
        .ok()
        .and_then(stat::schedstat_cpu_ns)
        .unwrap_or(stat.cpu_ticks * crate::core::identity::NS_PER_TICK);
    let call = match dir.read("syscall", buffer) {
        Ok(text) => stat::syscall(text).ok_or(io::ErrorKind::InvalidData),
        Err(error) => Err(error.kind()),
    };
    Some(Beat { tid, stat, status, cpu_ns, call })
}

/// What a thread did between two moments.
pub(crate) fn progress(before: &Beat, after: &Beat) -> Progress {
    let switches =
        |beat: &Beat| beat.status.voluntary.unwrap_or(0).saturating_add(beat.status.involuntary.unwrap_or(0));
    Progress {
        switches: switches(after).saturating_sub(switches(before)),
        cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
        sleeps: before
            .status
            .voluntary
            .zip(after.status.voluntary)
            .map(|(before, after)| after.saturating_sub(before)),
        faults: Some(after.stat.faults.saturating_sub(before.stat.faults)),
        kernel_ns: Some(
            after.stat.system_ticks.saturating_sub(before.stat.system_ticks)
                * crate::core::identity::NS_PER_TICK,
        ),
        same_call: before.call == after.call && before.stat.state == after.stat.state,
    }
}

/// Whether a thread did anything at all, or is about to: the kernel adds up the CPU time of a thread that runs at its ticks
/// only, and one that waits for a CPU has nothing else to wait for.
pub(crate) fn moved(progress: &Progress, after: &Beat) -> bool {
    progress.switches > 0 || progress.cpu_ns > 0 || !progress.same_call || after.stat.state == b'R'
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_thread_that_sleeps_does_not_move_and_one_that_runs_does() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
            let _ = stopped.recv();
        });
        let tid = told.recv().unwrap();
        let root = ProcDir::open(Path::new("/proc")).unwrap();
        let mut buffer = Vec::new();
        let mut look = |tid: u32| {
            let pulse = process(&root, std::process::id(), &mut buffer).unwrap();
            pulse.threads.into_iter().find(|t| t.tid == tid).unwrap()
        };
        // The sleeper may still be on its way into its wait.
        let asleep = loop {
            let (before, after) = (look(tid), look(tid));
            if after.stat.state == b'S' && !moved(&progress(&before, &after), &after) {
                break after;
            }
        };
        assert!(matches!(asleep.call, Ok(SyscallText::Inside { .. })), "{asleep:?}");
        let own = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let (before, after) = (look(own), look(own));
        assert!(moved(&progress(&before, &after), &after));
        drop(stop);
        sleeper.join().unwrap();
    }
}
