//! Takes snapshots.
//!
//! Everything of one process is read through its opened directory in `/proc`, which stays bound to the process it was
//! opened for: a pid that is reused meanwhile is never mixed in. The start time is compared before anything else is
//! believed. What cannot be read is `None`.

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

/// A process that has not run since is read whole again after this many samples: a signal may have become pending, or
/// memory may have been taken from it, all without its running.
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

    /// The last whole snapshot with what is new, of a process that has not run since: most processes of a session rest
    /// most of the time, and the other files cost ten times what was read so far.
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
    use std::path::Path;

    use super::*;
    use crate::procfs_view::table;

    fn own_id() -> ProcessId {
        let me = std::process::id();
        let ticks = table::start_ticks(&ProcRoot::system(), me).unwrap().unwrap();
        ProcessId { tgid: me, start_ticks: ticks }
    }

    /// A process directory with the files a case needs.
    fn fake(root: &Path, pid: u32, comm: &[u8], ticks: u64) {
        let dir = root.join(pid.to_string());
        std::fs::create_dir_all(dir.join("fd")).unwrap();
        let mut stat = format!("{pid} (").into_bytes();
        stat.extend_from_slice(comm);
        stat.extend_from_slice(
            format!(") Z 1 1 1 0 -1 0 0 0 0 0 30 12 0 0 20 0 1 0 {ticks} 0 0 {} 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0", u64::MAX)
                .as_bytes(),
        );
        std::fs::write(dir.join("stat"), stat).unwrap();
    }

    #[test]
    fn this_process_is_read_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sampler = Sampler::new(ProcRoot::system());
        let snapshot = sampler.one(own_id(), 1).unwrap();
        assert!(snapshot.cpu_percent.is_none(), "nothing to compare with at the first look");
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
        let stranger = ProcessId { start_ticks: own_id().start_ticks + 1, ..own_id() };
        assert!(Sampler::new(ProcRoot::system()).one(stranger, 1).is_none());
    }

    #[test]
    fn what_is_missing_is_none_and_a_broken_name_stops_nothing() {
        let temp = tempfile::tempdir().unwrap();
        fake(temp.path(), 9, b"l) Z (\xc3", 77);
        let mut sampler = Sampler::new(ProcRoot::at(temp.path()));
        let snapshot = sampler.one(ProcessId { tgid: 9, start_ticks: 77 }, 1).unwrap();
        assert_eq!(snapshot.comm, Some(ByteString(b"l) Z (\xc3".to_vec())));
        assert_eq!((snapshot.state, snapshot.cpu_ns), (Some(ProcState::Zombie), Some(420_000_000)));
        assert_eq!((snapshot.oom_score, snapshot.wchan, snapshot.vm_rss_kb), (None, None, None));
        assert_eq!((snapshot.fd_count, snapshot.fd_soft_limit), (Some(0), None));
    }

    #[test]
    fn cpu_use_is_of_the_time_between_looks() {
        let temp = tempfile::tempdir().unwrap();
        fake(temp.path(), 9, b"busy", 77);
        let id = ProcessId { tgid: 9, start_ticks: 77 };
        let mut sampler = Sampler::new(ProcRoot::at(temp.path()));
        sampler.before.insert(id, CpuMark { boot_ns: 0, cpu_ns: 320_000_000, sample: 0 });
        assert_eq!(sampler.one(id, 1_000_000_000).unwrap().cpu_percent, Some(10.0));
    }
}
