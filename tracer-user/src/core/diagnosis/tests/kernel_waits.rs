//! Waits in the kernel, for the network, for IPC objects, and for programs that answer for the kernel.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Confidence, Role, Verdict};
use crate::core::evidence::{
    Access, AnonKind, InetFacts, ObjectFacts, ObjectId, Ptraced, PtySide, Scope, SocketAddress, TcpState,
    ThreadState, Timeout, Wait,
};
use crate::core::signal::SignalSet;

fn address(text: &str) -> Option<SocketAddress> {
    let address: std::net::SocketAddr = text.parse().unwrap();
    Some(SocketAddress { ip: address.ip(), port: address.port() })
}

fn connection(machine: &mut Machine, ino: u64, peer: Option<u64>, remote: &str) {
    let facts = InetFacts {
        stream: true,
        state: Some(TcpState::Established),
        local: address("127.0.0.1:4000"),
        remote: address(remote),
        peer,
        send_queue: Some(100_000),
        writable: Some(false),
        readable: Some(false),
        ..InetFacts::default()
    };
    machine.object(ObjectId::Inet { ino }, ObjectFacts::Inet(facts));
}

#[test]
fn a_remote_peer_is_external() {
    let mut machine = Machine::new();
    connection(&mut machine, 31, None, "192.0.2.7:443");
    machine.fd(ROOT, 3, ObjectId::Inet { ino: 31 }, Access::ReadWrite);
    machine.wait(ROOT, read(3));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::External, Class::NetworkPeer));
    assert!(said.findings[0].summary.contains("192.0.2.7:443"));
    // With a time-out of its own it does not wait forever.
    machine.wait(ROOT, Wait::Read { fd: 3, timeout: Timeout::After(Some(30_000_000_000)) });
    machine.is_calm();
}

#[test]
fn both_ends_of_a_loopback_connection_blocked_in_send_are_a_deadlock() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "client");
    connection(&mut machine, 31, Some(32), "127.0.0.1:5000");
    connection(&mut machine, 32, Some(31), "127.0.0.1:4000");
    for (tgid, ino) in [(ROOT, 31), (101, 32)] {
        machine.fd(tgid, 3, ObjectId::Inet { ino }, Access::ReadWrite);
        machine.wait(tgid, Wait::Write { fd: 3 });
    }
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::NetworkPeer));
}

#[test]
fn an_uninterruptible_sleep_is_external_for_every_waiter() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.wait(ROOT, exit_of(101));
    let child = machine.get(101);
    child.threads[0].state = ThreadState::Uninterruptible;
    child.threads[0].wait = Wait::Sync { fd: Some(3) };
    child.threads[0].wchan = Some("rpc_wait_bit_killable".to_owned());
    child.shared_pending = Some(SignalSet(1 << 8));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::External, Class::Uninterruptible));
    assert!(said.findings[0].notes.iter().any(|n| n.contains("SIGKILL is pending")));
    assert_eq!(roles(&said, Role::Waiter), [101, ROOT]);
}

#[test]
fn a_vfork_parent_in_state_d_follows_its_child() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(ROOT).threads[0].state = ThreadState::Uninterruptible;
    machine.wait(ROOT, Wait::Vfork { child: Some(101) });
    machine.is_calm();
    machine.get(101).threads[0].state = ThreadState::Stopped;
    assert_eq!(machine.say().findings[0].class, Class::Stopped);
}

#[test]
fn a_fuse_request_names_the_server() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "server");
    let fuse = ObjectId::Device { major: 10, minor: 229 };
    machine.object(fuse, ObjectFacts::Device { path: Some("/dev/fuse".into()) });
    machine.fd(101, 3, fuse, Access::ReadWrite);
    let root = machine.get(ROOT);
    root.threads[0].state = ThreadState::Uninterruptible;
    root.threads[0].wchan = Some("request_wait_answer".to_owned());
    let said = machine.say();
    assert_eq!(said.findings[0].class, Class::AsksUserspace);
    assert!(said.findings[0].summary.contains("server.py (pid 101)"), "{}", said.findings[0].summary);
}

#[test]
fn a_semaphore_whose_last_user_is_dead() {
    let mut machine = Machine::new();
    let id = ObjectId::SysVSem { id: 5 };
    machine.object(id, ObjectFacts::SysV { last_pids: vec![999], creator: None, key: None });
    machine.wait(ROOT, Wait::Semaphore { id: 5, timeout: Timeout::Never });
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::SysvIpc));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("dead-operator"));
    // A user at work will raise it.
    machine.process(101, ROOT, "user");
    machine.get(101).threads[0].moved = Some(true);
    machine.0.objects[0].facts = ObjectFacts::SysV { last_pids: vec![101], creator: None, key: None };
    machine.is_calm();
}

#[test]
fn who_started_a_traced_job_is_not_awaited_to_open_its_fifos() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    let object = Some(ObjectId::Fifo { dev: 8, ino: 77 });
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, Wait::Open { path: Some("/t/fifo".into()), object, flags: 0 });
    // A busy shell of the same login session.
    machine.process(90, 1, "shell");
    machine.get(90).in_scope = false;
    machine.get(90).threads[0].moved = Some(true);
    machine.is_calm();
    machine.0.scope = Scope::Session("s".into());
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::FifoOpen));
    assert_eq!(said.findings[0].confidence, Confidence::Likely);
}

#[test]
fn a_fifo_that_nobody_opens_from_the_other_side() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    let object = Some(ObjectId::Fifo { dev: 8, ino: 77 });
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, Wait::Open { path: Some("/t/fifo".into()), object, flags: 0 });
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::FifoOpen));
    assert_eq!(said.findings[0].processes[0].pid, 101);
    // A process of the job at work may be about to open it.
    machine.process(102, ROOT, "producer");
    machine.get(102).threads[0].moved = Some(true);
    machine.is_calm();
    // Unless it is the tracer, which does nothing but look, or what has just started that.
    machine.get(102).is_observer = true;
    machine.thread(ROOT, 150, exit_of(102));
    machine.get(ROOT).threads[1].moved = Some(true);
    assert_eq!(machine.say().verdict, Verdict::OrphanedWait);
    // A deadlock stays one when a thread of it calls the tracer.
    machine.full(PIPE);
    machine.fd(ROOT, 7, PIPE, Access::Read);
    machine.fd(101, 1, PIPE, Access::Write);
    machine.wait(101, WRITE_OUT);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::Deadlock, 1));
}

#[test]
fn a_tracee_whose_tracer_sleeps() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "tracee");
    machine.get(101).threads[0].state = ThreadState::Traced;
    machine.get(101).traced_by = Some(Ptraced { tgid: ROOT });
    machine.wait(ROOT, SLEEP);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::Stopped));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("traced"));
    machine.get(ROOT).threads[0].moved = Some(true);
    machine.is_calm();
}

#[test]
fn a_full_terminal_whose_master_waits_for_the_writer() {
    let (master, slave) =
        (ObjectId::Pty { index: 3, side: PtySide::Master }, ObjectId::Pty { index: 3, side: PtySide::Slave });
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.fd(101, 1, slave, Access::ReadWrite);
    machine.fd(ROOT, 5, master, Access::ReadWrite);
    machine.wait(101, WRITE_OUT);
    machine.wait(ROOT, exit_of(101));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::PtyFull));
}

#[test]
fn an_eventfd_that_nobody_else_has_is_an_in_process_wait() {
    let id = ObjectId::Anon { kind: AnonKind::EventFd, id: 4 };
    let mut machine = Machine::new();
    machine.object(id, ObjectFacts::EventFd { count: Some(0) });
    machine.fd(ROOT, 4, id, Access::ReadWrite);
    machine.thread(ROOT, 201, read(4));
    machine.wait(ROOT, private_futex(None));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::InProcessWait));
}

#[test]
fn an_unseen_process_makes_an_unknown_of_a_deadlock() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.process(102, ROOT, "unseen");
    machine.full(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(101, 1, PIPE, Access::Write);
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, WRITE_OUT);
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
    machine.get(102).fds = None;
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Unknown, Class::HiddenHolder));
    // A stranger's fds, that no birth could have handed the end to, cost the proof alone.
    let other = machine.get(102);
    (other.in_scope, other.sid, other.ppid) = (false, Some(102), 1);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].confidence), (Verdict::Deadlock, Confidence::Likely));
}
