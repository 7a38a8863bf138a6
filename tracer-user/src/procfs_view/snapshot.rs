//! Snapshots of processes for a trace.
//!
//! Everything of one process is read through its opened directory in `/proc`: that stays bound to the process it was opened
//! for, so that a pid which is reused in between is never mixed in, and its start time is compared before anything else is
//! believed. What cannot be read is `None`.

use super::{ProcRoot, sys};
use crate::core::identity::{NS_PER_TICK, ProcessId};
use crate::core::signal::SignalSet;
use crate::core::snapshot::{ProcSnapshot, ProcState};
use crate::core::text::ByteString;
use procfs::{FromRead, process::LimitValue};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Bytes read of one small file at most.
const MAX_SMALL: usize = 64 * 1024;
/// Bytes read of a table of sockets at most; connections are not counted where it is longer.
const MAX_TABLE: usize = 16 * 1024 * 1024;
/// Descriptors looked at for sockets; connections of a process with more are not counted.
const MAX_FDS: u64 = 4096;
/// Threads whose context switches are added up; those of a process with more are not known.
const MAX_THREADS: u32 = 512;

/// A process that has not run since is read whole again after so many samples: a signal may wait for it, or memory may
/// have been taken from it, all without its running.
const WHOLE_EVERY: u64 = 6;

/// Takes snapshots, and remembers of each process what the next one needs.
#[derive(Debug)]
pub struct Sampler {
    root: ProcRoot,
    before: HashMap<ProcessId, CpuMark>,
    whole: HashMap<ProcessId, Whole>,
    sample: u64,
}

/// A snapshot that was read whole.
#[derive(Clone, Debug)]
struct Whole {
    snapshot: ProcSnapshot,
    /// The process's processor time then, to the nanosecond: whoever runs changes it.
    ran_ns: u64,
    sample: u64,
}

#[derive(Clone, Copy, Debug)]
struct CpuMark {
    boot_ns: u64,
    cpu_ns: u64,
    sample: u64,
}

/// State by inode, of all TCP sockets of a network namespace; `None` when it cannot be read.
type SocketTable = Option<Arc<HashMap<u64, u8>>>;

impl Sampler {
    /// Reads there.
    pub fn new(root: ProcRoot) -> Self {
        Self { root, before: HashMap::new(), whole: HashMap::new(), sample: 0 }
    }

    /// A snapshot of each of the processes that is still there. `boot_ns` is now.
    pub fn sample(
        &mut self,
        processes: impl IntoIterator<Item = ProcessId>,
        boot_ns: u64,
    ) -> Vec<ProcSnapshot> {
        self.sample += 1;
        let mut tables = HashMap::new();
        let snapshots =
            processes.into_iter().filter_map(|process| self.read(process, boot_ns, &mut tables)).collect();
        // Twice, so that a process that one sample could not read keeps its mark.
        let oldest = self.sample.saturating_sub(2);
        self.before.retain(|_, mark| mark.sample > oldest);
        self.whole.retain(|process, _| self.before.contains_key(process));
        snapshots
    }

    /// A snapshot of one process; `None` when it is not there any more.
    pub fn one(&mut self, process: ProcessId, boot_ns: u64) -> Option<ProcSnapshot> {
        self.read(process, boot_ns, &mut HashMap::new())
    }

    fn read(
        &mut self,
        process: ProcessId,
        boot_ns: u64,
        tables: &mut HashMap<Vec<u8>, SocketTable>,
    ) -> Option<ProcSnapshot> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let path = self.root.path().join(process.tgid.to_string());
        let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let directory = directory.as_fd();
        let stat = read_small(directory, "stat")?;
        let fields = procfs::process::Stat::from_read(stat.as_slice()).ok()?;
        if fields.starttime != process.start_ticks {
            return None;
        }
        let mut snapshot = ProcSnapshot::unread(process);
        snapshot.ppid = u32::try_from(fields.ppid).ok();
        snapshot.comm = comm_of(&stat);
        snapshot.state = state_letter(&stat).and_then(ProcState::from_letter);
        snapshot.threads = u32::try_from(fields.num_threads).ok();
        let cpu_ns = (fields.utime + fields.stime).saturating_mul(NS_PER_TICK);
        snapshot.cpu_ns = Some(cpu_ns);
        snapshot.cpu_percent = self.cpu_percent(process, cpu_ns, boot_ns);
        // Before the rest is read: what runs meanwhile makes the next sample a whole one.
        let ran_ns = self.root.is_system().then(|| sys::processor_time_ns(process.tgid)).flatten();
        if let Some(same) = self.unchanged(&snapshot, ran_ns) {
            return Some(same);
        }
        read_status(directory, &mut snapshot);
        if snapshot.threads.is_some_and(|threads| threads > 1) {
            let switches = thread_switches(directory);
            snapshot.ctx_switches_voluntary = switches.map(|both| both.0);
            snapshot.ctx_switches_involuntary = switches.map(|both| both.1);
        }
        snapshot.oom_score = text_number(directory, "oom_score");
        snapshot.wchan = read_small(directory, "wchan").filter(|w| !w.is_empty()).map(ByteString);
        snapshot.syscall = read_small(directory, "syscall")
            .map(|text| ByteString(text.trim_ascii().to_vec()))
            .filter(|text| !text.0.is_empty());
        if let Some(io) =
            read_small(directory, "io").and_then(|t| procfs::process::Io::from_read(t.as_slice()).ok())
        {
            snapshot.io_read_bytes = Some(io.read_bytes);
            snapshot.io_write_bytes = Some(io.write_bytes);
            snapshot.io_rchar = Some(io.rchar);
            snapshot.io_wchar = Some(io.wchar);
        }
        snapshot.fd_soft_limit = fd_limit(directory);
        if let Some((count, sockets)) = descriptors(directory) {
            snapshot.fd_count = Some(count);
            snapshot.connections = sockets.and_then(|sockets| count_connections(directory, &sockets, tables));
        }
        if let Some(ran_ns) = ran_ns {
            let whole = Whole { snapshot: snapshot.clone(), ran_ns, sample: self.sample };
            self.whole.insert(process, whole);
        }
        Some(snapshot)
    }

    /// The last whole snapshot with what is new, of a process that has not run since: most of a session rests most of
    /// the time, and the other files cost ten times what is read by now.
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

    fn cpu_percent(&mut self, process: ProcessId, cpu_ns: u64, boot_ns: u64) -> Option<f64> {
        let now = CpuMark { boot_ns, cpu_ns, sample: self.sample };
        let before = self.before.insert(process, now)?;
        let passed = boot_ns.checked_sub(before.boot_ns).filter(|ns| *ns > 0)?;
        let used = cpu_ns.saturating_sub(before.cpu_ns);
        Some((used as f64 * 1000.0 / passed as f64).round() / 10.0)
    }
}

fn open_at(directory: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .ok()
}

/// A file's bytes; `None` when it cannot be read to its end.
fn read_bounded(directory: BorrowedFd<'_>, name: &str, limit: usize) -> Option<Vec<u8>> {
    let file = open_at(directory, name)?;
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        let rest = bytes.get_mut(length..).unwrap_or_default();
        match rustix::io::read(&file, rest) {
            Ok(0) => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Ok(read) => length += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        if length > limit {
            return None;
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
    }
}

fn read_small(directory: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    read_bounded(directory, name, MAX_SMALL)
}

fn text_number<T: std::str::FromStr>(directory: BorrowedFd<'_>, name: &str) -> Option<T> {
    std::str::from_utf8(&read_small(directory, name)?).ok()?.trim().parse().ok()
}

/// The name, as bytes: between the first parenthesis and the last.
fn comm_of(stat: &[u8]) -> Option<ByteString> {
    let from = stat.iter().position(|byte| *byte == b'(')? + 1;
    let to = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(from..to).map(ByteString::from)
}

fn state_letter(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(end + 2).copied()
}

/// The value of a line `Key:\tvalue` of a status file.
fn status_value<'a>(status: &'a [u8], key: &str) -> Option<&'a str> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()))?;
    std::str::from_utf8(line.strip_prefix(b":")?).ok().map(str::trim)
}

fn read_status(directory: BorrowedFd<'_>, snapshot: &mut ProcSnapshot) {
    let Some(status) = read_small(directory, "status") else { return };
    let number = |key| status_value(&status, key).and_then(|value| value.parse::<u64>().ok());
    let set =
        |key| status_value(&status, key).and_then(|value| u64::from_str_radix(value, 16).ok()).map(SignalSet);
    snapshot.vm_rss_kb =
        status_value(&status, "VmRSS").and_then(|value| value.strip_suffix(" kB")?.trim().parse().ok());
    snapshot.ctx_switches_voluntary = number("voluntary_ctxt_switches");
    snapshot.ctx_switches_involuntary = number("nonvoluntary_ctxt_switches");
    snapshot.sig_pnd = set("SigPnd");
    snapshot.shd_pnd = set("ShdPnd");
    snapshot.sig_blk = set("SigBlk");
    snapshot.sig_ign = set("SigIgn");
    snapshot.sig_cgt = set("SigCgt");
}

/// Context switches of all threads, voluntary and not.
fn thread_switches(directory: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let tasks = open_at(directory, "task")?;
    let (mut voluntary, mut involuntary, mut threads) = (0_u64, 0_u64, 0);
    let mut complete = true;
    each_number(tasks.as_fd(), |tid| {
        threads += 1;
        if threads > MAX_THREADS {
            complete = false;
            return;
        }
        // A thread that ended meanwhile takes its switches with it.
        let Some(status) = read_small(tasks.as_fd(), &format!("{tid}/status")) else { return };
        let number = |key| status_value(&status, key).and_then(|value| value.parse::<u64>().ok());
        voluntary += number("voluntary_ctxt_switches").unwrap_or(0);
        involuntary += number("nonvoluntary_ctxt_switches").unwrap_or(0);
    })?;
    (complete && threads > 0).then_some((voluntary, involuntary))
}

fn fd_limit(directory: BorrowedFd<'_>) -> Option<u64> {
    let limits = procfs::process::Limits::from_read(read_small(directory, "limits")?.as_slice()).ok()?;
    match limits.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    }
}

/// Calls with each entry of a directory whose name is a number.
fn each_number(directory: BorrowedFd<'_>, mut with: impl FnMut(u32)) -> Option<()> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        if let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            with(number);
        }
    }
    Some(())
}

/// How many descriptors are open, and the inodes of the sockets among them where they could be looked at.
fn descriptors(directory: BorrowedFd<'_>) -> Option<(u64, Option<HashSet<u64>>)> {
    let fds = open_at(directory, "fd")?;
    let (mut count, mut sockets) = (0_u64, HashSet::new());
    each_number(fds.as_fd(), |fd| {
        count += 1;
        if count <= MAX_FDS
            && let Ok(target) = rustix::fs::readlinkat(&fds, fd.to_string(), Vec::new())
            && let Some(inode) = socket_inode(target.as_bytes())
        {
            sockets.insert(inode);
        }
    })?;
    Some((count, (count <= MAX_FDS).then_some(sockets)))
}

fn socket_inode(target: &[u8]) -> Option<u64> {
    std::str::from_utf8(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// The process's own TCP sockets by the names of their states.
fn count_connections(
    directory: BorrowedFd<'_>,
    sockets: &HashSet<u64>,
    tables: &mut HashMap<Vec<u8>, SocketTable>,
) -> Option<BTreeMap<String, u32>> {
    if sockets.is_empty() {
        return Some(BTreeMap::new());
    }
    let namespace = rustix::fs::readlinkat(directory, "ns/net", Vec::new()).ok()?.into_bytes();
    let table = tables.entry(namespace).or_insert_with(|| read_table(directory).map(Arc::new)).clone()?;
    let mut counts = BTreeMap::new();
    for state in sockets.iter().filter_map(|inode| table.get(inode)) {
        *counts.entry(tcp_state(*state)).or_default() += 1;
    }
    Some(counts)
}

fn read_table(directory: BorrowedFd<'_>) -> Option<HashMap<u64, u8>> {
    let mut table = parse_table(&read_bounded(directory, "net/tcp", MAX_TABLE)?);
    // A machine without IPv6 has no such file.
    if let Some(six) = read_bounded(directory, "net/tcp6", MAX_TABLE) {
        table.extend(parse_table(&six));
    }
    Some(table)
}

/// Inode and state of each line; lines that are none are left out.
fn parse_table(text: &[u8]) -> HashMap<u64, u8> {
    let parse = |line: &[u8]| {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let state = u8::from_str_radix(words.nth(3)?, 16).ok()?;
        let inode = words.nth(5)?.parse().ok()?;
        Some((inode, state))
    };
    text.split(|byte| *byte == b'\n').skip(1).filter_map(parse).collect()
}

fn tcp_state(state: u8) -> String {
    const NAMES: [&str; 12] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        "NEW_SYN_RECV",
    ];
    let name = usize::from(state).checked_sub(1).and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("{state:02X}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn own_id() -> ProcessId {
        let stat = std::fs::read("/proc/self/stat").unwrap();
        let ticks = procfs::process::Stat::from_read(stat.as_slice()).unwrap().starttime;
        ProcessId { tgid: std::process::id(), start_ticks: ticks }
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
        assert_eq!(snapshot.connections.unwrap().get("LISTEN"), Some(&1));
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

    #[test]
    fn tables_of_sockets_are_read_line_by_line() {
        let text = b"  sl  local_address\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4242 1\nbroken\n";
        assert_eq!(parse_table(text), HashMap::from([(4242, 10)]));
        assert_eq!(
            (tcp_state(1), tcp_state(0x0a), tcp_state(0x63)),
            ("ESTABLISHED".into(), "LISTEN".into(), "63".into())
        );
    }
}
