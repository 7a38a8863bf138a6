//! Ends of file that never come, readers that wait for each other, and readers that merely wait.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Confidence, Role, Verdict};
use crate::core::evidence::{Access, Fd, IoCounters, ObjectId, PtySide, Timeout, Wait, events};
use crate::core::identity::WaitStatus;
use crate::core::signal::SignalSet;

const DAEMON: u32 = 103;

/// The root reads; a daemon that a dead step left behind holds the write end.
fn left_daemon() -> Machine {
    let mut machine = Machine::new();
    machine.process(DAEMON, 1, "daemon");
    machine.get(DAEMON).in_scope = false;
    machine.empty(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(DAEMON, 1, PIPE, Access::Write);
    machine.wait(ROOT, read(3));
    machine
}

#[test]
fn a_daemon_that_kept_the_write_end_leaves_the_reader_orphaned() {
    let said = left_daemon().say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::OrphanedWait, 1));
    let finding = &said.findings[0];
    assert_eq!((finding.class, finding.confidence), (Class::EofNever, Confidence::Proven));
    assert_eq!((roles(&said, Role::Waiter), roles(&said, Role::Holder)), (vec![ROOT], vec![DAEMON]));
}

#[test]
fn a_daemon_with_a_session_of_its_own_is_found_too() {
    let mut machine = left_daemon();
    machine.get(DAEMON).sid = Some(DAEMON);
    assert_eq!(machine.say().verdict, Verdict::OrphanedWait);
}

#[test]
fn a_subreaper_s_ward_is_adrift_too() {
    // The root's parent, a runner in a session of its own, reaps; the daemon is the runner's child now.
    let mut machine = left_daemon();
    machine.process(90, 1, "runner");
    machine.get(90).sid = Some(90);
    machine.get(90).in_scope = false;
    machine.get(ROOT).ppid = 90;
    machine.get(DAEMON).ppid = 90;
    assert_eq!(machine.say().verdict, Verdict::OrphanedWait);
}

#[test]
fn a_daemon_that_writes_refutes_it() {
    let mut machine = left_daemon();
    machine.get(DAEMON).threads[0].moved = Some(true);
    machine.is_calm();
}

#[test]
fn a_poller_and_a_chain_through_tee_are_seen_through() {
    let mut machine = left_daemon();
    machine.process(104, ROOT, "tee");
    machine.get(ROOT).fds.as_mut().unwrap().clear();
    machine.empty(PIPE_2);
    machine.fd(104, 0, PIPE, Access::Read);
    machine.fd(104, 1, PIPE_2, Access::Write);
    machine.fd(ROOT, 4, PIPE_2, Access::Read);
    machine.epoll(ROOT, 6, &[(4, events::IN)]);
    machine.wait(104, READ_IN);
    machine.wait(ROOT, Wait::Epoll { epfd: 6, timeout: Timeout::Never });
    let said = machine.say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::OrphanedWait, 1));
    assert_eq!(roles(&said, Role::Waiter), [104, ROOT]);
    assert_eq!(roles(&said, Role::Holder), [DAEMON]);
}

#[test]
fn a_socket_pair_end_that_a_daemon_kept_is_the_same() {
    let mut machine = left_daemon();
    machine.get(ROOT).fds.as_mut().unwrap().clear();
    machine.get(DAEMON).fds.as_mut().unwrap().clear();
    machine.socketpair(11, 12, 0);
    machine.fd(ROOT, 3, ObjectId::Unix { ino: 11 }, Access::ReadWrite);
    machine.fd(DAEMON, 1, ObjectId::Unix { ino: 12 }, Access::ReadWrite);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::EofNever));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("socket"));
}

#[test]
fn a_child_that_sleeps_before_it_writes_is_no_hang() {
    // subprocess.run(["sleep", "600"], stdout=PIPE), and `sleep 600 | cat`
    let mut machine = left_daemon();
    machine.get(DAEMON).ppid = ROOT;
    machine.is_calm();
    let mut machine = left_daemon();
    machine.process(102, ROOT, "cat");
    machine.get(DAEMON).ppid = ROOT;
    machine.get(ROOT).fds.as_mut().unwrap().clear();
    machine.fd(102, 0, PIPE, Access::Read);
    machine.wait(102, READ_IN);
    machine.wait(ROOT, any_child());
    machine.is_calm();
}

#[test]
fn a_stray_end_in_a_silent_sleeper_is_orphaned() {
    let mut machine = left_daemon();
    let daemon = machine.get(DAEMON);
    daemon.ppid = ROOT;
    daemon.fds.as_mut().unwrap()[0].number = 5;
    daemon.io = Some(IoCounters::default());
    // No process has ended yet: a worker that sleeps before it writes is at work.
    machine.is_calm();
    machine.get(ROOT).has_collected = Some(true);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].confidence), (Verdict::OrphanedWait, Confidence::Likely));
    // A process that the reader also talks to got this end on purpose.
    let mut partner = machine.0.clone();
    for process in &mut partner.processes {
        let access = match process.id.tgid {
            ROOT => Access::Write,
            DAEMON => Access::Read,
            _ => continue,
        };
        let fd = Fd { number: 8, object: PIPE_2, access, ..process.fds.as_ref().unwrap()[0].clone() };
        process.fds.as_mut().unwrap().push(fd);
    }
    Machine(partner).is_calm();
    // One that has written before may do so again.
    machine.get(DAEMON).io = Some(IoCounters { written_bytes: 1, ..IoCounters::default() });
    machine.is_calm();
}

fn child_reads_its_stdin() -> Machine {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.empty(PIPE);
    machine.empty(PIPE_2);
    machine.fd(101, 0, PIPE, Access::Read);
    machine.fd(ROOT, 4, PIPE, Access::Write);
    machine.fd(101, 1, PIPE_2, Access::Write);
    machine.fd(ROOT, 5, PIPE_2, Access::Read);
    machine.wait(101, READ_IN);
    machine
}

#[test]
fn readers_of_each_other_are_a_deadlock() {
    for wait in [read(5), exit_of(101), any_child()] {
        let mut machine = child_reads_its_stdin();
        machine.wait(ROOT, wait);
        let said = machine.say();
        assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::MutualRead));
        assert_eq!(said.findings.len(), 1);
    }
}

#[test]
fn a_worker_that_waits_for_work_is_no_hang() {
    let mut machine = child_reads_its_stdin();
    machine.wait(ROOT, SLEEP);
    machine.is_calm();
}

#[test]
fn a_bounded_read_in_the_circle_refutes_it() {
    let mut machine = child_reads_its_stdin();
    machine.wait(ROOT, Wait::Read { fd: 5, timeout: Timeout::After(Some(30_000_000_000)) });
    machine.is_calm();
}

#[test]
fn a_prompt_in_front_of_an_idle_terminal_is_external() {
    let mut machine = Machine::new();
    let (master, slave) =
        (ObjectId::Pty { index: 3, side: PtySide::Master }, ObjectId::Pty { index: 3, side: PtySide::Slave });
    machine.process(101, ROOT, "prompt");
    machine.fd(101, 0, slave, Access::ReadWrite);
    machine.fd(ROOT, 7, master, Access::ReadWrite);
    machine.wait(101, READ_IN);
    machine.wait(ROOT, SLEEP);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::External, Class::MutualRead));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("prompt"));
    // Its parent reads the master until the program ends, so nothing will ever be typed.
    machine.wait(ROOT, read(7));
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
}

#[test]
fn a_reader_that_holds_the_only_write_end_waits_for_itself() {
    let mut machine = Machine::new();
    machine.empty(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(ROOT, 4, PIPE, Access::Write);
    machine.wait(ROOT, read(3));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::SelfPipe));
    assert_eq!(roles(&said, Role::Holder), [ROOT]);
}

#[test]
fn an_event_loop_with_nothing_but_its_own_wake_up_pipe() {
    let mut machine = Machine::new();
    machine.empty(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(ROOT, 4, PIPE, Access::Write);
    machine.epoll(ROOT, 5, &[(3, events::IN)]);
    machine.wait(ROOT, Wait::Epoll { epfd: 5, timeout: Timeout::Never });
    // Nothing outside could wake it: it may be meant to rest for ever, and that is not likely.
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::InProcessWait));
    assert_eq!(said.findings[0].confidence, Confidence::Likely);
    // A signal that it chose to handle could.
    machine.get(ROOT).caught = Some(SignalSet(1 << 14));
    let said = machine.say();
    assert_eq!(said.verdict, Verdict::Idle);
    assert!(said.findings[0].summary.contains("SIGTERM"), "{}", said.findings[0].summary);
}

#[test]
fn a_killed_worker_s_result_never_comes() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "worker");
    let worker = machine.get(101);
    worker.zombie = true;
    worker.threads.clear();
    worker.fds = None;
    worker.exit_status = Some(WaitStatus(9));
    machine.empty(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(ROOT, 4, PIPE, Access::Write);
    machine.wait(ROOT, read(3));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::WorkerKilled));
    // One that failed by itself can deliver as little; one that ended well has delivered.
    machine.get(101).exit_status = Some(WaitStatus(1 << 8));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::WorkerDied));
    machine.get(101).exit_status = Some(WaitStatus(0));
    assert!(
        machine.say().findings.iter().all(|f| !matches!(f.class, Class::WorkerKilled | Class::WorkerDied))
    );
}

#[test]
fn a_forked_queue_is_no_job_server() {
    // multiprocessing.Queue().get() in a child that the parent joins: both keep both ends since fork.
    let mut machine = Machine::new();
    machine.process(101, ROOT, "root");
    machine.empty(PIPE);
    for tgid in [ROOT, 101] {
        machine.fd(tgid, 3, PIPE, Access::Read);
        machine.fd(tgid, 4, PIPE, Access::Write);
    }
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, read(3));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::MutualRead));
}

#[test]
fn readers_of_a_shared_pipe_have_lost_its_tokens() {
    let mut machine = Machine::new();
    machine.empty(PIPE);
    for tgid in [ROOT, 101, 102] {
        if tgid != ROOT {
            machine.process(tgid, ROOT, "make");
        }
        machine.fd(tgid, 3, PIPE, Access::Read);
        machine.fd(tgid, 4, PIPE, Access::Write);
        machine.wait(tgid, read(3));
    }
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::TokenLoss));
    // One of them works with a token: it will give it back.
    machine.get(102).threads[0].moved = Some(true);
    machine.is_calm();
}
