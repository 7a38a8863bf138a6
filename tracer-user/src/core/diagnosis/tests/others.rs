//! Findings that start from no blocked wait, and what looks like them.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Diagnosis, Role, Verdict};
use crate::core::evidence::{
    Access, ExitSeen, ForkSeen, History, InetFacts, IoCounters, Limits, ObjectFacts, ObjectId, Progress,
    SignalSeen, TcpState, ThreadState, Timeout, Wait,
};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::signal::SignalSet;

fn of(said: &Diagnosis, class: Class) -> Option<Verdict> {
    said.findings.iter().find(|f| f.class == class).map(|f| f.verdict)
}

#[test]
fn a_pending_signal_that_every_thread_blocks_ends_nobody() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.wait(ROOT, exit_of(101));
    machine.is_calm();
    let child = machine.get(101);
    child.threads[0].blocked = Some(SignalSet(1 << 14));
    child.shared_pending = Some(SignalSet(1 << 14));
    let said = machine.say();
    assert_eq!(of(&said, Class::SignalIneffective), Some(Verdict::OrphanedWait));
    assert_eq!((roles(&said, Role::Waiter), roles(&said, Role::Holder)), (vec![ROOT], vec![101]));
    // A second thread that does not block it will take it.
    machine.thread(101, 201, SLEEP);
    machine.is_calm();
}

#[test]
fn a_signal_that_was_dropped_because_it_is_ignored() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.wait(ROOT, exit_of(101));
    machine.get(101).ignored = Some(SignalSet(1 << 14));
    let target = ProcessId { tgid: 101, start_ticks: 101 };
    let signal = SignalSeen { at_boot_ns: 1, target, sender: None, signal: 15, delivered: false };
    machine.0.history = Some(History { signals: vec![signal.clone()], ..History::default() });
    assert_eq!(of(&machine.say(), Class::SignalIneffective), Some(Verdict::OrphanedWait));
    // A process that is about to end ignores signals, too.
    let signal = SignalSeen { at_boot_ns: machine.0.clock.boot_ns - 500_000_000, ..signal };
    machine.0.history = Some(History { signals: vec![signal], ..History::default() });
    machine.is_calm();
    machine.0.history = Some(History::default());
    machine.is_calm();
}

fn listener(machine: &mut Machine) {
    let id = ObjectId::Inet { ino: 31 };
    let facts = InetFacts {
        stream: true,
        state: Some(TcpState::Listen),
        receive_queue: Some(0),
        ..InetFacts::default()
    };
    machine.object(id, ObjectFacts::Inet(facts));
    machine.fd(ROOT, 3, id, Access::ReadWrite);
    machine.wait(ROOT, Wait::Accept { fd: 3 });
}

#[test]
fn a_child_that_failed_before_it_connected() {
    let mut machine = Machine::new();
    listener(&mut machine);
    machine.is_calm();
    machine.process(101, ROOT, "child");
    machine.get(101).zombie = true;
    machine.get(101).exit_status = Some(WaitStatus(1 << 8));
    assert_eq!(of(&machine.say(), Class::DiedAtBoot), Some(Verdict::OrphanedWait));
    // One that ended well is what a forking server has.
    machine.get(101).exit_status = Some(WaitStatus(0));
    machine.is_calm();
}

#[test]
fn a_failed_child_counts_by_its_program_and_through_its_ended_parents() {
    let id = |tgid: u32| ProcessId { tgid, start_ticks: tgid.into() };
    let exit = |tgid: u32, parent: u32, comm: &str, status: u32| ExitSeen {
        at_boot_ns: u64::from(tgid),
        process: id(tgid),
        parent: Some(id(parent)),
        comm: comm.into(),
        status: Some(WaitStatus(status)),
        killer: None,
        oom: None,
    };
    let fork = |parent: u32, child: u32| ForkSeen { at_boot_ns: 1, parent: id(parent), child: id(child) };
    let mut machine = Machine::new();
    listener(&mut machine);
    // A shell has started the worker in the background and ended; another program has ended well.
    machine.0.history = Some(History {
        exits: vec![exit(101, ROOT, "ldconfig", 0), exit(102, ROOT, "sh", 0), exit(103, 1, "worker", 1 << 8)],
        forks: vec![fork(ROOT, 101), fork(ROOT, 102), fork(102, 103)],
        ..History::default()
    });
    assert_eq!(of(&machine.say(), Class::DiedAtBoot), Some(Verdict::OrphanedWait));
    // A worker of the same name that ended well shows that they are meant to end.
    let history = machine.0.history.as_mut().unwrap();
    history.exits.insert(0, exit(104, ROOT, "worker", 0));
    machine.is_calm();
}

#[test]
fn a_holder_from_before_this_job_is_a_leftover() {
    let lock = ObjectId::File { dev: 8, ino: 55 };
    let mut machine = Machine::new();
    machine.process(50, 1, "old");
    machine.get(50).sid = Some(50);
    machine.get(50).in_scope = false;
    machine.fd(50, 3, lock, Access::Write);
    machine.fd(ROOT, 3, lock, Access::Write);
    machine.flock(lock, 50, &[(50, 3)]);
    machine.wait(ROOT, flock(3));
    let said = machine.say();
    assert_eq!(said.findings[0].class, Class::FileLock);
    let left = said.findings.iter().find(|f| f.class == Class::Leftover).unwrap();
    assert_eq!((left.verdict, left.follows), (Verdict::OrphanedWait, Some(0)));
    // One that this job has started is none.
    machine.get(50).id.start_ticks = 1_000;
    assert_eq!(of(&machine.say(), Class::Leftover), None);
}

#[test]
fn limits_are_reported_and_are_no_hang() {
    let mut machine = Machine::new();
    machine.get(ROOT).limits =
        Some(Limits { open_files: Some(64), open_files_soft: Some(64), ..Limits::default() });
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::Exhaustion)), (Verdict::Idle, Some(Verdict::NotHung)));
    machine.get(ROOT).limits =
        Some(Limits { cgroup_pids: Some(9), cgroup_pids_max: Some(10), ..Limits::default() });
    assert_eq!(of(&machine.say(), Class::Exhaustion), None);
    machine.get(ROOT).limits = Some(Limits { throttled_us: Some(300_000), ..Limits::default() });
    assert_eq!(of(&machine.say(), Class::SlowProgress), Some(Verdict::NotHung));
}

/// Ready to run and without a CPU: no quota, the machine has too much to do.
#[test]
fn a_job_without_a_cpu_is_slow() {
    let mut machine = Machine::new();
    let delayed = |us| Some(Limits { run_delay_us: Some(us), ..Limits::default() });
    machine.get(ROOT).limits = delayed(100_000);
    assert_eq!(of(&machine.say(), Class::SlowProgress), None, "a quarter of the window is usual under load");
    machine.get(ROOT).limits = delayed(300_000);
    assert_eq!(of(&machine.say(), Class::SlowProgress), Some(Verdict::NotHung));
    machine.0.host.cpu_pressure_us = Some(320_000);
    let said = machine.say();
    let finding = said.findings.iter().find(|it| it.class == Class::SlowProgress).unwrap();
    assert!(
        finding.summary.contains("300 ms within 400 ms, the machine was short of CPU for 80 %"),
        "{}",
        finding.summary
    );
}

#[test]
fn a_busy_loop_is_reported_and_is_no_hang() {
    let mut machine = Machine::new();
    let thread = &mut machine.get(ROOT).threads[0];
    thread.state = ThreadState::Running;
    thread.moved = Some(true);
    thread.wait = Wait::Running;
    thread.progress = Some(Progress {
        switches: 40,
        cpu_ns: 399_000_000,
        sleeps: Some(0),
        kernel_ns: Some(150_000_000),
        faults: Some(0),
        same_call: true,
    });
    machine.get(ROOT).io_in_window = Some(IoCounters { read_calls: 90_000, ..IoCounters::default() });
    let expected = (Verdict::NotHung, Some(Verdict::NotHung));
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::Livelock)), expected);
    // Calls that are no reads: much time in the kernel for nothing.
    machine.get(ROOT).io_in_window = Some(IoCounters::default());
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::Livelock)), expected);
    // Bytes are progress.
    machine.get(ROOT).io_in_window = Some(IoCounters { written_bytes: 1, ..IoCounters::default() });
    assert!(machine.say().findings.is_empty());
    // Computing is none: it is in no call. Nor is what works on its memory.
    machine.get(ROOT).io_in_window = Some(IoCounters::default());
    let busy = machine.get(ROOT).threads[0].progress.unwrap();
    for progress in [
        Progress { kernel_ns: Some(0), ..busy },
        Progress { faults: Some(9_000), ..busy },
        Progress { sleeps: Some(1), ..busy },
    ] {
        machine.get(ROOT).threads[0].progress = Some(progress);
        assert!(machine.say().findings.is_empty(), "{progress:?}");
    }
}

#[test]
fn a_sleep_between_looks_is_reported_and_is_no_hang() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "poller");
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, Wait::Sleep { timeout: Timeout::After(Some(100_000_000)) });
    let thread = &mut machine.get(101).threads[0];
    thread.moved = Some(true);
    thread.progress = Some(Progress { switches: 4, cpu_ns: 200_000, same_call: true, ..Progress::default() });
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::PollingSleep)), (Verdict::Idle, Some(Verdict::Idle)));
    // Beside a process at work, it is part of the work.
    machine.process(102, ROOT, "worker");
    machine.get(102).threads[0].moved = Some(true);
    machine.get(102).threads[0].wait = Wait::Running;
    assert!(machine.say().findings.is_empty());
}

#[test]
fn a_server_at_rest_names_what_wakes_it() {
    let mut machine = Machine::new();
    listener(&mut machine);
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::AtRest)), (Verdict::Idle, Some(Verdict::Idle)));
    assert!(said.findings[0].summary.contains("listener"), "{}", said.findings[0].summary);
    // So does one that sleeps until a date.
    let mut machine = Machine::new();
    machine.wait(ROOT, Wait::Sleep { timeout: Timeout::After(Some(3_600_000_000_000)) });
    let said = machine.say();
    assert_eq!((said.verdict, of(&said, Class::AtRest)), (Verdict::Idle, Some(Verdict::Idle)));
    assert!(said.findings[0].summary.contains("until 20"), "{}", said.findings[0].summary);
    // At work, it does not rest.
    machine.get(ROOT).threads[0].moved = Some(true);
    machine.wait(ROOT, Wait::Running);
    assert_eq!(machine.say().verdict, Verdict::NotHung);
}
