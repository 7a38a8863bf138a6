//! Waits for the end of processes: what explains nothing alone.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Confidence, Diagnosis, Role, Verdict};
use crate::core::evidence::{ObjectFacts, ObjectId, Thread, ThreadState, Timeout, Wait};
use crate::core::signal::SignalSet;

#[test]
fn a_shell_that_waits_for_a_sleep_is_no_hang() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "sleep");
    machine.wait(ROOT, any_child());
    let said = machine.say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::Idle, 1));
    assert!(said.findings[0].summary.contains("until 2026-"), "{}", said.findings[0].summary);
}

#[test]
fn a_wait_for_a_stopped_child_is_orphaned() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(101).threads[0].state = ThreadState::Stopped;
    machine.wait(ROOT, exit_of(101));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::Stopped));
    assert_eq!((roles(&said, Role::Waiter), roles(&said, Role::Holder)), (vec![ROOT], vec![101]));
}

#[test]
fn waits_for_each_other_s_exit_are_an_exit_wait() {
    use crate::core::evidence::{Access, AnonKind};
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    let pidfd = ObjectId::Anon { kind: AnonKind::PidFd, id: 9 };
    machine.object(pidfd, ObjectFacts::PidFd { target: Some(ROOT), exited: Some(false) });
    machine.fd(101, 5, pidfd, Access::ReadWrite);
    machine.wait(ROOT, exit_of(101));
    machine.wait(
        101,
        Wait::Poll {
            set: Some(vec![crate::core::evidence::PollFd {
                fd: 5,
                events: crate::core::evidence::events::IN,
            }]),
            timeout: Timeout::Never,
        },
    );
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::ExitWait));
}

#[test]
fn a_frozen_child_is_named_as_frozen() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(101).frozen = Some(true);
    machine.wait(ROOT, exit_of(101));
    let said = machine.say();
    assert_eq!(said.findings[0].subtype.as_deref(), Some("frozen"));
}

#[test]
fn an_uncollected_zombie_is_reported_and_is_no_hang() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(101).zombie = true;
    machine.get(101).threads.clear();
    machine.wait(ROOT, SLEEP);
    let said = machine.say();
    assert_eq!(said.verdict, Verdict::Idle);
    let said = Diagnosis {
        findings: said.findings.into_iter().filter(|f| f.class == Class::UnreapedChild).collect(),
        ..said
    };
    assert_eq!(roles(&said, Role::Holder), [ROOT]);
    // A parent that moves will get to it.
    machine.get(ROOT).threads[0].moved = Some(true);
    assert!(machine.say().findings.is_empty());
}

#[test]
fn a_leader_that_ended_before_its_threads_keeps_its_parent_waiting() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(101).threads[0] = Thread { state: ThreadState::Zombie, ..quiet(101) };
    machine.thread(101, 201, SLEEP);
    machine.wait(ROOT, exit_of(101));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::UnreapedChild));
}

#[test]
fn a_server_at_rest_and_its_client_are_no_hang() {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "client");
    machine.socketpair(11, 12, 0);
    let listener = ObjectId::Unix { ino: 13 };
    machine.object(
        listener,
        ObjectFacts::Unix(crate::core::evidence::UnixFacts {
            state: Some(crate::core::evidence::UnixState::Listening),
            receive_queue: Some(0),
            ..Default::default()
        }),
    );
    use crate::core::evidence::{Access, events};
    machine.fd(ROOT, 3, listener, Access::ReadWrite);
    machine.fd(ROOT, 4, ObjectId::Unix { ino: 11 }, Access::ReadWrite);
    machine.fd(101, 3, ObjectId::Unix { ino: 12 }, Access::ReadWrite);
    machine.epoll(ROOT, 5, &[(3, events::IN), (4, events::IN)]);
    machine.wait(ROOT, Wait::Epoll { epfd: 5, timeout: Timeout::Never });
    machine.wait(101, read(3));
    machine.is_calm();
}

#[test]
fn loops_that_lead_to_each_other_alone_are_closed() {
    use crate::core::evidence::{Access, events};
    let mut machine = Machine::new();
    machine.process(101, ROOT, "peer");
    machine.socketpair(11, 12, 0);
    for (tgid, ino) in [(ROOT, 11), (101, 12)] {
        machine.fd(tgid, 4, ObjectId::Unix { ino }, Access::ReadWrite);
        machine.epoll(tgid, 5, &[(4, events::IN)]);
        machine.wait(tgid, Wait::Epoll { epfd: 5, timeout: Timeout::Never });
    }
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::QuiescentLoops));
    // One of them handles SIGTERM: it may be at rest until that comes, but the other waits for its answer.
    machine.get(101).caught = Some(SignalSet(1 << 14));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].confidence), (Verdict::Deadlock, Confidence::Likely));
}
