//! Full pipes and sockets.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Confidence, Role, Verdict};
use crate::core::evidence::{Access, ObjectFacts, ObjectId, ThreadState, Timeout, UnixFacts, Wait, events};

const CHILD: u32 = 101;

fn wait_before_read() -> Machine {
    let mut machine = Machine::new();
    machine.process(CHILD, ROOT, "child");
    machine.full(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(CHILD, 1, PIPE, Access::Write);
    machine.wait(ROOT, exit_of(CHILD));
    machine.wait(CHILD, WRITE_OUT);
    machine
}

#[test]
fn a_parent_that_waits_before_it_reads_is_a_deadlock() {
    let said = wait_before_read().say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::Deadlock, 1));
    let finding = &said.findings[0];
    assert_eq!((finding.class, finding.confidence), (Class::PipeFull, Confidence::Proven));
    assert_eq!(finding.subtype.as_deref(), Some("parent-waits"));
    assert_eq!(finding.processes[0].pid, CHILD);
    assert_eq!(roles(&said, Role::Holder), [ROOT]);
    assert_eq!(roles(&said, Role::Waiter), [CHILD, ROOT]);
    assert_eq!(
        finding.summary,
        "root.py (pid 100) waits for the exit of child.py (pid 101), which is blocked writing to its stdout: \
         pipe:[7001] is full (16 of 16 slots, 65 536 bytes), and root.py (pid 100) holds its only read end."
    );
}

#[test]
fn a_second_thread_of_the_reader_that_can_act_refutes_it() {
    let mut machine = wait_before_read();
    machine.thread(ROOT, 200, Wait::Sleep { timeout: Timeout::After(Some(1_000_000)) });
    machine.is_calm();
}

#[test]
fn movement_of_anybody_in_the_circle_refutes_it() {
    for tgid in [ROOT, CHILD] {
        let mut machine = wait_before_read();
        machine.get(tgid).threads[0].moved = Some(true);
        machine.is_calm();
    }
}

#[test]
fn another_reader_that_is_busy_refutes_it() {
    let mut machine = wait_before_read();
    machine.process(102, ROOT, "tee");
    machine.fd(102, 0, PIPE, Access::Read);
    machine.get(102).threads[0].moved = Some(true);
    machine.is_calm();
}

#[test]
fn draining_stderr_first_is_a_deadlock_on_stdout() {
    let mut machine = wait_before_read();
    machine.empty(PIPE_2);
    machine.fd(ROOT, 5, PIPE_2, Access::Read);
    machine.fd(CHILD, 2, PIPE_2, Access::Write);
    machine.wait(ROOT, read(5));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::PipeFull));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("reads-other-stream"));
    assert_eq!(said.findings[0].processes[0].pid, CHILD);
}

#[test]
fn a_non_blocking_writer_waits_in_epoll() {
    let mut machine = wait_before_read();
    machine.epoll(CHILD, 4, &[(1, events::OUT)]);
    machine.wait(CHILD, Wait::Epoll { epfd: 4, timeout: Timeout::Never });
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::PipeFull));
    assert!(said.findings[0].notes.iter().any(|n| n.contains("EAGAIN")));
}

#[test]
fn an_idle_reader_that_never_reads_leaves_the_writer_orphaned() {
    let mut machine = wait_before_read();
    machine.wait(ROOT, SLEEP);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::PipeFull));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("idle-reader"));
    assert_eq!(roles(&said, Role::Holder), [ROOT]);
}

#[test]
fn a_reader_that_pauses_for_a_moment_is_no_hang() {
    let mut machine = wait_before_read();
    machine.wait(ROOT, Wait::Sleep { timeout: Timeout::After(Some(3_000_000_000)) });
    machine.is_calm();
}

#[test]
fn a_stopped_reader_leaves_the_writer_orphaned() {
    let mut machine = wait_before_read();
    machine.process(102, ROOT, "reader");
    machine.get(ROOT).fds.as_mut().unwrap().clear();
    machine.fd(102, 0, PIPE, Access::Read);
    machine.get(102).threads[0].state = ThreadState::Stopped;
    let said = machine.say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::OrphanedWait, 1));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("reader-blocked"));
    assert_eq!(roles(&said, Role::Waiter), [CHILD, ROOT]);
    assert_eq!(roles(&said, Role::Holder), [102]);
    assert!(said.findings[0].summary.contains("stopped by a signal"), "{}", said.findings[0].summary);
}

#[test]
fn a_pager_in_front_of_a_human_is_external() {
    let mut machine = wait_before_read();
    let tty = ObjectId::Tty { major: 4, minor: 1 };
    machine.fd(ROOT, 0, tty, Access::ReadWrite);
    machine.wait(ROOT, READ_IN);
    let said = machine.say();
    assert_eq!(said.verdict, Verdict::External);
}

#[test]
fn a_node_child_s_full_socket_is_a_deadlock() {
    let mut machine = Machine::new();
    machine.process(CHILD, ROOT, "child");
    machine.socketpair(11, 12, 200_000);
    machine.fd(CHILD, 1, ObjectId::Unix { ino: 11 }, Access::ReadWrite);
    machine.fd(ROOT, 9, ObjectId::Unix { ino: 12 }, Access::ReadWrite);
    machine.wait(ROOT, exit_of(CHILD));
    machine.wait(CHILD, WRITE_OUT);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::UnixSocketFull));
    assert_eq!((said.findings[0].processes[0].pid, roles(&said, Role::Holder)), (CHILD, vec![ROOT]));
}

/// The child writes to a full socket whose other end nobody could read.
fn full_socket_of_an_unknown_peer() -> Machine {
    let mut machine = Machine::new();
    machine.process(CHILD, ROOT, "child");
    let id = ObjectId::Unix { ino: 11 };
    machine.object(id, ObjectFacts::Unix(UnixFacts { writable: Some(false), ..UnixFacts::default() }));
    machine.fd(CHILD, 1, id, Access::ReadWrite);
    machine.fd(ROOT, 9, ObjectId::Unix { ino: 12 }, Access::ReadWrite);
    machine.wait(ROOT, exit_of(CHILD));
    machine
}

#[test]
fn a_full_socket_whose_peer_is_unknown_is_external_and_no_guess() {
    let mut machine = full_socket_of_an_unknown_peer();
    machine.wait(CHILD, WRITE_OUT);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::External, Class::HiddenHolder));
    assert!(said.findings[0].summary.contains("the peer of its UNIX socket could not be read"));
}

#[test]
fn what_could_not_be_read_is_not_called_rest() {
    let mut machine = full_socket_of_an_unknown_peer();
    machine.wait(CHILD, Wait::Unreadable);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Unknown, Class::NotSeen));
    assert!(said.findings[0].summary.contains("threads wait for could not be read"));
}

#[test]
fn a_pipe_with_room_is_no_hang() {
    let mut machine = wait_before_read();
    machine.0.objects.clear();
    machine.empty(PIPE);
    machine.is_calm();
}

#[test]
fn the_last_of_two_full_pipes_in_a_row_explains_both() {
    // yes | head, whose output the parent does not read
    let mut machine = wait_before_read();
    machine.process(102, ROOT, "yes");
    machine.full(PIPE_2);
    machine.fd(102, 1, PIPE_2, Access::Write);
    machine.fd(CHILD, 0, PIPE_2, Access::Read);
    machine.wait(102, WRITE_OUT);
    machine.wait(ROOT, exit_of(102));
    let said = machine.say();
    assert_eq!(said.verdict, Verdict::Deadlock);
    assert_eq!((said.findings[0].processes[0].pid, roles(&said, Role::Holder)[0]), (CHILD, ROOT));
}

#[test]
fn ends_that_nobody_has_are_a_hidden_holder() {
    let mut machine = wait_before_read();
    machine.get(ROOT).fds.as_mut().unwrap().clear();
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::External, Class::HiddenHolder));
}

#[test]
fn a_process_with_unread_fds_may_hold_the_end_if_it_shares_the_session() {
    let mut machine = wait_before_read();
    machine.get(1).fds = None;
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
    machine.get(1).sid = machine.get(CHILD).sid;
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Unknown, Class::HiddenHolder));
    assert!(said.findings[0].notes.iter().all(|note| !note.contains("Every process")), "{said:?}");
    // Where neither init nor its children called setsid, the kernel reports no session.
    for process in &mut machine.0.processes {
        process.sid = None;
    }
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
}
