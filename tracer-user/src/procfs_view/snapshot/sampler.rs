//! Takes snapshots.
//!
//! Everything of one process is read through its opened directory in `/proc`, which stays bound to the
//! process it was opened for: a pid that is reused meanwhile is never mixed in. The start time is compared
//! before anything else is believed. What cannot be read is `None`.

use std::collections::{HashMap, HashSet};

use super::connections::SocketTables;
use crate::core::identity::{NS_PER_TICK, ProcessId};
use crate::core::snapshot::{ProcSnapshot, ProcState};
use crate::core::text::ByteString;
use crate::procfs_view::proc_dir::{Decimal, ProcDir};
use crate::procfs_view::stat::{self, Stat};
use crate::procfs_view::{ProcRoot, resources, sys, text};

/// Descriptors that are looked at for sockets. Connections of a process with more are unknown.
const MAX_FDS: usize = 4096;
/// Threads whose context switches are added up. Those of a process with more are unknown.
const MAX_THREADS: usize = 512;

/// A process that has not run since is read whole again after this many samples: a signal may have become
/// pending, or memory may have been taken from it, all without its running.
const WHOLE_EVERY: u64 = 6;

/// Takes snapshots, and keeps of each process what the next one needs.
#[derive(Debug)]
pub struct Sampler {
    root: ProcRoot,
    before: HashMap<ProcessId, CpuMark>,
    whole: HashMap<ProcessId, WholeSnapshot>,
    /// Number of the sample that is being taken.
    sample: u64,
    buffer: Vec<u8>,
}

/// A snapshot that was read whole.
#[derive(Clone, Debug)]
struct WholeSnapshot {
    snapshot: ProcSnapshot,
    /// The process's processor time then, to the nanosecond: a process that runs changes it.
    ran_ns: u64,
    sample: u64,
}

/// The processor time of a process at one moment.
#[derive(Clone, Copy, Debug)]
struct CpuMark {
    boot_ns: u64,
    cpu_ns: u64,
    sample: u64,
}

impl Sampler {
    /// Reads below a root.
    pub fn new(root: ProcRoot) -> Self {
        Self { root, before: HashMap::new(), whole: HashMap::new(), sample: 0, buffer: Vec::new() }
    }

    /// A snapshot of each of the processes that still exists. `boot_ns` is now.
    pub fn sample(
        &mut self,
        processes: impl IntoIterator<Item = ProcessId>,
        boot_ns: u64,
    ) -> Vec<ProcSnapshot> {
        self.sample += 1;
        let mut tables = SocketTables::default();
        let snapshots =
            processes.into_iter().filter_map(|process| self.read(process, boot_ns, &mut tables)).collect();
        // Kept for two samples: a process that one sample could not read keeps its mark.
        let oldest = self.sample.saturating_sub(2);
        self.before.retain(|_, mark| mark.sample > oldest);
        self.whole.retain(|process, _| self.before.contains_key(process));
        snapshots
    }

    /// A snapshot of one process; `None` when it does not exist any more.
    pub fn one(&mut self, process: ProcessId, boot_ns: u64) -> Option<ProcSnapshot> {
        self.read(process, boot_ns, &mut SocketTables::default())
    }

    fn read(&mut self, process: ProcessId, boot_ns: u64, tables: &mut SocketTables) -> Option<ProcSnapshot> {
        let directory = ProcDir::open(&self.root.path().join(process.tgid.to_string())).ok()?;
        let stat = stat::stat(directory.read("stat", &mut self.buffer).ok()?)?;
        if stat.start_ticks != process.start_ticks {
            return None;
        }
        let mut snapshot = self.basic(process, stat, boot_ns);
        // Before the rest is read: what runs meanwhile makes the next sample a whole one.
        let ran_ns = self.root.is_system().then(|| sys::processor_time_ns(process.tgid)).flatten();
        if let Some(same) = self.unchanged(&snapshot, ran_ns) {
            return Some(same);
        }
        self.read_whole(&directory, &mut snapshot, tables);
        if let Some(ran_ns) = ran_ns {
            let whole = WholeSnapshot { snapshot: snapshot.clone(), ran_ns, sample: self.sample };
            self.whole.insert(process, whole);
        }
        Some(snapshot)
    }

    /// What `stat` shows.
    fn basic(&mut self, process: ProcessId, stat: Stat, boot_ns: u64) -> ProcSnapshot {
        let cpu_ns = stat.cpu_ticks.saturating_mul(NS_PER_TICK);
        ProcSnapshot {
            ppid: Some(stat.ppid),
            comm: Some(ByteString(stat.comm)),
            state: ProcState::from_letter(stat.state),
            threads: Some(stat.threads),
            cpu_ns: Some(cpu_ns),
            cpu_percent: self.cpu_percent(process, cpu_ns, boot_ns),
            ..ProcSnapshot::unread(process)
        }
    }

    /// Adds everything else, file by file.
    fn read_whole(&mut self, directory: &ProcDir, snapshot: &mut ProcSnapshot, tables: &mut SocketTables) {
        let buffer = &mut self.buffer;
        if let Ok(text) = directory.read("status", buffer) {
            add_status(text, snapshot);
        }
        if snapshot.threads.is_some_and(|threads| threads > 1) {
            let switches = thread_switches(directory, buffer);
            snapshot.ctx_switches_voluntary = switches.map(|switches| switches.voluntary);
            snapshot.ctx_switches_involuntary = switches.map(|switches| switches.involuntary);
        }
        snapshot.oom_score = directory.read("oom_score", buffer).ok().and_then(text::decimal);
        let mut line = |name| {
            let text = directory.read(name, buffer).ok()?.trim_ascii();
            (!text.is_empty()).then(|| ByteString::from(text))
        };
        snapshot.wchan = line("wchan");
        snapshot.syscall = line("syscall");
        if let Some(io) = directory.read("io", buffer).ok().and_then(resources::io) {
            snapshot.io_read_bytes = Some(io.read_bytes);
            snapshot.io_write_bytes = Some(io.write_bytes);
            snapshot.io_rchar = Some(io.rchar);
            snapshot.io_wchar = Some(io.wchar);
        }
        let limits = directory.read("limits", buffer).ok().and_then(resources::limits);
        snapshot.fd_soft_limit =
            limits.and_then(|limits| resources::bounded(limits.max_open_files.soft_limit));
        if let Some(descriptors) = descriptors(directory) {
            snapshot.fd_count = Some(descriptors.count);
            snapshot.connections = descriptors.sockets.and_then(|own| tables.count(directory, &own));
        }
    }

    /// The last whole snapshot with what is new, of a process that has not run since: most processes of a
    /// session rest most of the time, and the other files cost ten times what was read so far.
    fn unchanged(&self, now: &ProcSnapshot, ran_ns: Option<u64>) -> Option<ProcSnapshot> {
        let whole = self.whole.get(&now.process()).filter(|whole| Some(whole.ran_ns) == ran_ns)?;
        let then = &whole.snapshot;
        let same = (&now.comm, now.state, now.threads) == (&then.comm, then.state, then.threads);
        (same && self.sample - whole.sample < WHOLE_EVERY).then(|| ProcSnapshot {
            ppid: now.ppid,
            cpu_ns: now.cpu_ns,
            cpu_percent: now.cpu_percent,
            ..then.clone()
        })
    }

    /// Since the last snapshot; `None` for the first one.
    fn cpu_percent(&mut self, process: ProcessId, cpu_ns: u64, boot_ns: u64) -> Option<f64> {
        let now = CpuMark { boot_ns, cpu_ns, sample: self.sample };
        let before = self.before.insert(process, now)?;
        let passed = boot_ns.checked_sub(before.boot_ns).filter(|ns| *ns > 0)?;
        let used = cpu_ns.saturating_sub(before.cpu_ns);
        Some((used as f64 * 1000.0 / passed as f64).round() / 10.0)
    }
}

fn add_status(text: &[u8], snapshot: &mut ProcSnapshot) {
    let status = stat::status(text);
    snapshot.vm_rss_kb = status.rss_kb;
    snapshot.ctx_switches_voluntary = status.voluntary;
    snapshot.ctx_switches_involuntary = status.involuntary;
    snapshot.sig_pnd = status.pending;
    snapshot.shd_pnd = status.shared_pending;
    snapshot.sig_blk = status.blocked;
    snapshot.sig_ign = status.ignored;
    snapshot.sig_cgt = status.caught;
}

/// Context switches.
#[derive(Clone, Copy, Debug, Default)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

/// Context switches of all threads. `None` when there are too many threads to add up.
fn thread_switches(directory: &ProcDir, buffer: &mut Vec<u8>) -> Option<Switches> {
    let tasks = directory.sub("task").ok()?;
    let tids = tasks.numbers().ok()?;
    if tids.is_empty() || tids.len() > MAX_THREADS {
        return None;
    }
    let mut all = Switches::default();
    for tid in tids {
        // A thread that ended meanwhile takes its switches with it.
        let Ok(text) = tasks.read(&format!("{tid}/status"), buffer) else { continue };
        let status = stat::status(text);
        all.voluntary += status.voluntary.unwrap_or(0);
        all.involuntary += status.involuntary.unwrap_or(0);
    }
    Some(all)
}

/// The open descriptors of a process.
struct Descriptors {
    count: u64,
    /// Inodes of the sockets among them; `None` when there are too many descriptors to look at.
    sockets: Option<HashSet<u64>>,
}

fn descriptors(directory: &ProcDir) -> Option<Descriptors> {
    let fds = directory.sub("fd").ok()?;
    let numbers = fds.numbers().ok()?;
    let count = numbers.len() as u64;
    if numbers.len() > MAX_FDS {
        return Some(Descriptors { count, sockets: None });
    }
    let socket = |fd: u32| {
        let link = fds.link(Decimal::new(fd).as_str(), &mut [0; 64]).ok()?;
        text::inode_in_link(&link, "socket")
    };
    Some(Descriptors { count, sockets: Some(numbers.into_iter().filter_map(socket).collect()) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::signal::SignalSet;
    use crate::procfs_view::fake_proc::{FakeProc, FakeProcess, FakeThread};
    use crate::procfs_view::table;

    const ID: ProcessId = ProcessId { tgid: 9, start_ticks: 77 };

    fn own_id() -> ProcessId {
        let me = std::process::id();
        let ticks = table::start_ticks(&ProcRoot::system(), me).unwrap().unwrap();
        ProcessId { tgid: me, start_ticks: ticks }
    }

    fn process() -> FakeProcess {
        FakeProcess::new(9).start(77)
    }

    fn sampler(proc: &FakeProc) -> Sampler {
        Sampler::new(ProcRoot::at(proc.path()))
    }

    #[test]
    fn this_process_is_read_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sampler = Sampler::new(ProcRoot::system());
        let snapshot = sampler.one(own_id(), 1).unwrap();
        assert!(snapshot.cpu_percent.is_none(), "there is nothing to compare the first snapshot with");
        assert!(snapshot.vm_rss_kb.unwrap() > 100 && snapshot.threads.unwrap() >= 1);
        assert!(snapshot.fd_count.unwrap() >= 3 && snapshot.fd_soft_limit.is_some());
        assert!(
            snapshot.ctx_switches_voluntary.is_some()
                && snapshot.sig_cgt.is_some()
                && snapshot.oom_score.is_some()
        );
        // Other tests of this process may listen meanwhile, too.
        assert!(snapshot.connections.unwrap()["LISTEN"] >= 1);
        drop(listener);
        assert!(sampler.one(own_id(), 1_000_000_001).unwrap().cpu_percent.is_some());
    }

    #[test]
    fn a_pid_of_another_process_is_not_followed() {
        let proc = FakeProc::new();
        process().write(&proc);
        let mut sampler = sampler(&proc);
        assert!(sampler.one(ID, 1).is_some());
        assert!(sampler.one(ProcessId { start_ticks: 78, ..ID }, 1).is_none());
    }

    #[test]
    fn a_process_that_vanishes_has_no_snapshot() {
        let proc = FakeProc::new();
        process().write(&proc);
        let mut sampler = sampler(&proc);
        proc.remove("9/stat");
        assert!(sampler.one(ID, 1).is_none());
        proc.file("9/stat", "9 (cut) S 1");
        assert!(sampler.one(ID, 1).is_none());
        proc.remove("9");
        assert_eq!(sampler.sample([ID], 1), []);
    }

    #[test]
    fn what_is_missing_or_unreadable_is_none() {
        let proc = FakeProc::new();
        process().comm(b"l) Z (\xc3\n").zombie(0).cpu(42).write(&proc);
        proc.remove("9/status").remove("9/wchan").remove("9/fd");
        for name in ["9/syscall", "9/io", "9/limits", "9/oom_score"] {
            proc.unreadable(name);
        }
        let snapshot = sampler(&proc).one(ID, 1).unwrap();
        assert_eq!(snapshot.comm, Some(ByteString(b"l) Z (\xc3\n".to_vec())));
        assert_eq!((snapshot.state, snapshot.cpu_ns), (Some(ProcState::Zombie), Some(420_000_000)));
        assert_eq!((snapshot.oom_score, snapshot.vm_rss_kb, snapshot.sig_blk), (None, None, None));
        assert_eq!((snapshot.wchan, snapshot.syscall, snapshot.io_rchar), (None, None, None));
        assert_eq!((snapshot.fd_count, snapshot.fd_soft_limit, snapshot.connections), (None, None, None));
    }

    #[test]
    fn files_of_a_process_are_read_into_their_fields() {
        let proc = FakeProc::new();
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n\
                  cancelled_write_bytes: 0\n";
        process().file("io", io).file("oom_score", "666\n").fd(1, "/dev/null", 1).write(&proc);
        let snapshot = sampler(&proc).one(ID, 1).unwrap();
        assert_eq!((snapshot.io_rchar, snapshot.io_write_bytes), (Some(1), Some(6)));
        assert_eq!((snapshot.oom_score, snapshot.vm_rss_kb), (Some(666), Some(12)));
        assert_eq!((snapshot.fd_count, snapshot.sig_ign), (Some(1), Some(SignalSet(0))));
        assert_eq!(snapshot.connections, Some(BTreeMap::new()), "it has no socket at all");
    }

    #[test]
    fn switches_are_those_of_all_threads() {
        let proc = FakeProc::new();
        let threads = [FakeThread::new(9).switches(5), FakeThread::new(10).switches(7), FakeThread::new(11)];
        process().threads(threads).write(&proc);
        let mut sampler = sampler(&proc);
        let switches = |snapshot: Option<ProcSnapshot>| snapshot.unwrap().ctx_switches_voluntary;
        assert_eq!(switches(sampler.one(ID, 1)), Some(17));
        // A thread that ended meanwhile.
        proc.remove("9/task/10/status");
        assert_eq!(switches(sampler.one(ID, 2)), Some(10));
        proc.remove("9/task");
        assert_eq!(switches(sampler.one(ID, 3)), None);
    }

    #[test]
    fn connections_are_the_processs_own_by_state() {
        let proc = FakeProc::new();
        let row = |state: &str, inode: u32| {
            format!("   0: 0100007F:1F90 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let table = ["head\n".to_owned(), row("0A", 70), row("01", 71), row("01", 72), row("01", 99)];
        let process = process().fd(3, "socket:[70]", 2).fd(4, "socket:[71]", 2).fd(5, "socket:[72]", 2);
        process.clone().file("net/tcp", table.concat()).write(&proc);
        let counts = sampler(&proc).one(ID, 1).unwrap().connections;
        let expected = [("ESTABLISHED".to_owned(), 2), ("LISTEN".to_owned(), 1)];
        assert_eq!(counts, Some(BTreeMap::from(expected)));
        process.write(&proc);
        assert_eq!(sampler(&proc).one(ID, 1).unwrap().connections, None, "the table cannot be read");
    }

    #[test]
    fn cpu_use_is_of_the_time_between_snapshots() {
        let proc = FakeProc::new();
        process().cpu(32).write(&proc);
        let mut sampler = sampler(&proc);
        assert_eq!(sampler.sample([ID], 0)[0].cpu_percent, None);
        process().cpu(42).write(&proc);
        assert_eq!(sampler.sample([ID], 1_000_000_000)[0].cpu_percent, Some(10.0));
    }
}
