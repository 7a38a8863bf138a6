//! Collects the evidence of one moment: two readings of every thread, and between them everything else, once.
//!
//! Nothing has to be atomic. A thread that did not move between the two readings has done nothing in that
//! time, so what was read of it meanwhile (its system call, the memory that the call points to, the fds that
//! only it could change) was true throughout. What belongs to a thread that did move may be torn, and is
//! never part of a hang.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::clocks::Clocks;
use super::process::Collector;
use super::request::{Ask, CollectError, KernelReader, Request};
use super::thread_sample::Samples;
use super::{last_failed, locks, objects, scope, second_reading, thread_sample, wait_targets};
use crate::core::evidence::CallWindow;
use crate::core::evidence::{ByteString, CallCount, Clock, Evidence, Host, Problem, SCHEMA, Wait};
use crate::core::identity::ProcessId;
use crate::procfs_view::machine::MachineView;
use crate::procfs_view::proc_dir::OpenRoot;
use crate::procfs_view::stat;
use crate::procfs_view::{ProcRoot, reader, table};

/// Collects evidence. Takes the quiet window, or the time of reading where that is longer: the two overlap.
///
/// # Errors
/// When `/proc` cannot be opened, or the process that was asked for does not exist.
pub fn collect(
    proc_root: &ProcRoot,
    request: &Request,
    kernel: KernelReader<'_>,
    window: &mut dyn CallWindow,
) -> Result<Evidence, CollectError> {
    let root = proc_root
        .open()
        .map_err(|why| CollectError::NoProc { path: proc_root.path().display().to_string(), why })?;
    let began = Instant::now();
    let first = FirstReading::take(proc_root, &root, &request.ask, kernel, window)?;
    if let Some(left) = request.quiet_window.checked_sub(began.elapsed()) {
        std::thread::sleep(left);
    }
    Ok(first.complete(window.end()))
}

/// Everything but what the second reading adds.
pub(super) struct FirstReading<'r> {
    evidence: Evidence,
    collector: Collector<'r>,
    samples: Samples,
    /// The processes whose calls are counted.
    counted: HashSet<u32>,
    /// How long tasks of the machine had waited for a CPU, microseconds; `None` where that is not counted.
    pressure_us: Option<u64>,
}

impl<'r> FirstReading<'r> {
    pub(super) fn take(
        proc_root: &ProcRoot,
        root: &'r OpenRoot,
        ask: &Ask,
        kernel: KernelReader<'_>,
        window: &mut dyn CallWindow,
    ) -> Result<Self, CollectError> {
        let mut buffer = Vec::with_capacity(64 << 10);
        let samples = thread_sample::machine(root, &mut buffer);
        let mut collector = Collector::new(root, Clocks::read(), buffer);
        // At the beginning, as the clocks: what follows is a part of the window.
        let pressure_us = pressure(&mut collector);
        let members = scope::members(ask, &samples)?;
        let counted = counted(&members, &samples);
        window.begin(&counted);
        let machine = MachineView::of(proc_root.clone());
        let mut evidence = Evidence {
            schema: SCHEMA.to_owned(),
            host: host(proc_root, &machine),
            scope: scope::scope(ask, &members),
            ..Evidence::default()
        };
        evidence.processes = samples
            .values()
            .filter_map(|sample| collector.process(sample, members.contains(&sample.id)))
            .collect();
        evidence.locks = root.dir.read("locks", &mut collector.buffer).ok().map(locks::parse);
        evidence.reach.whole_machine = machine.shows_every_process();
        wait_targets::vfork_children(&mut evidence, samples.values());
        objects::objects(&mut evidence, &mut collector, kernel);
        last_failed::add(&mut evidence, root);
        let counted = counted.into_iter().collect();
        Ok(Self { evidence, collector, samples, counted, pressure_us })
    }

    /// Takes the second reading.
    pub(super) fn complete(self, calls: Option<Vec<(u32, CallCount)>>) -> Evidence {
        let Self { mut evidence, mut collector, samples: before, counted, pressure_us } = self;
        evidence.host.cpu_pressure_us =
            pressure(&mut collector).zip(pressure_us).map(|(now, then)| now.saturating_sub(then));
        let after = thread_sample::machine(collector.root, &mut collector.buffer);
        let (first, second) = (collector.clocks, Clocks::read());
        collector.clocks = second;
        evidence.clock = Clock {
            taken_at_unix_ns: i64::try_from(second.realtime).unwrap_or(i64::MAX),
            boot_ns: second.boottime,
            quiet_window_ns: second.monotonic.saturating_sub(first.monotonic),
        };
        second_reading::complete(&mut evidence, &mut collector, &before, &after);
        if let Some(calls) = calls {
            add_calls(&mut evidence, &counted, calls);
        }
        note_unread(&mut evidence);
        evidence
    }
}

/// How long tasks of the machine have waited for a CPU since the boot, microseconds.
fn pressure(collector: &mut Collector<'_>) -> Option<u64> {
    collector.root.dir.read("pressure/cpu", &mut collector.buffer).ok().and_then(stat::pressure_us)
}

/// Processes whose calls are counted at most.
const MOST_COUNTED: usize = 1024;

/// The processes whose calls are counted: those of the scope first, then others, any of which may hold the
/// other end of something.
fn counted(members: &HashSet<ProcessId>, samples: &Samples) -> Vec<u32> {
    let others =
        samples.values().filter(|sample| !sample.is_kernel_thread() && !members.contains(&sample.id));
    let own = std::process::id();
    let all = members.iter().map(|id| id.tgid).chain(others.map(|sample| sample.id.tgid));
    all.filter(|tgid| *tgid != own).take(MOST_COUNTED).collect()
}

/// Gives each thread of the counted processes the calls that it made during the window.
fn add_calls(evidence: &mut Evidence, counted: &HashSet<u32>, calls: Vec<(u32, CallCount)>) {
    let mut by_thread: HashMap<u32, Vec<CallCount>> = HashMap::new();
    for (tid, count) in calls {
        by_thread.entry(tid).or_default().push(count);
    }
    let processes = evidence.processes.iter_mut().filter(|process| counted.contains(&process.id.tgid));
    for thread in processes.flat_map(|process| &mut process.threads) {
        thread.calls = Some(by_thread.remove(&thread.tid).unwrap_or_default());
    }
}

fn host(proc_root: &ProcRoot, machine: &MachineView) -> Host {
    let names = rustix::system::uname();
    Host {
        boot_id: table::boot_id(proc_root),
        kernel: Some(ByteString(names.release().to_bytes().to_vec())),
        hostname: Some(ByteString(names.nodename().to_bytes().to_vec())),
        pipe_max_size: machine.sysctl("fs/pipe-max-size"),
        pipe_user_pages_soft: machine.sysctl("fs/pipe-user-pages-soft"),
        cpu_pressure_us: None,
    }
}

/// Adds a problem for each thing that could not be read of a process in scope, and one for all others
/// together.
fn note_unread(evidence: &mut Evidence) {
    let mut problems = Vec::new();
    let mut others = 0usize;
    for process in &evidence.processes {
        if reader::is_mute(process.id.tgid) {
            problems.push(problem(Some(process.id), "memory", reader::MUTE.into()));
        }
        let fds = process.unread.iter().find(|unread| unread.what == "fds");
        if !process.in_scope {
            others += usize::from(fds.is_some());
            continue;
        }
        if let Some(unread) = fds {
            problems.push(problem(Some(process.id), "fds", unread.why.clone()));
        }
        if !process.zombie && process.threads.iter().any(|thread| thread.wait == Wait::Unreadable) {
            let why = "the system call of a thread cannot be read: it needs the right to ptrace the process";
            problems.push(problem(Some(process.id), "syscall", why.into()));
        }
    }
    if others > 0 {
        let whose = if others == 1 { "a process".to_owned() } else { format!("{others} processes") };
        let why = format!(
            "the fds of {whose} outside the scope cannot be read; one of them may hold what is waited for"
        );
        problems.push(problem(None, "fds", why));
    }
    evidence.problems.extend(problems);
}

fn problem(process: Option<ProcessId>, what: &str, why: String) -> Problem {
    Problem { process, what: what.into(), why }
}
