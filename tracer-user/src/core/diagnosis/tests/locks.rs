//! Locks on files and in memory.

use super::roles;
use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{Class, Confidence, Role, Verdict};
use crate::core::evidence::{
    Access, AnonKind, FutexOp, FutexShared, LockEntry, LockKind, LockMode, ObjectFacts, ObjectId, Progress,
    Timeout, Wait, events,
};
use crate::core::signal::SignalSet;

const LOCK: ObjectId = ObjectId::File { dev: 8, ino: 55 };
const WAITER: u32 = 101;
const HOLDER: u32 = 102;

fn outlived_locker() -> Machine {
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "waiter");
    machine.process(HOLDER, 1, "holder");
    machine.get(HOLDER).in_scope = false;
    machine.fd(WAITER, 3, LOCK, Access::Write);
    machine.fd(HOLDER, 3, LOCK, Access::Write);
    machine.flock(LOCK, 99, &[(HOLDER, 3)]);
    machine.wait(ROOT, exit_of(WAITER));
    machine.wait(WAITER, flock(3));
    machine
}

#[test]
fn a_flock_that_a_child_of_the_dead_locker_keeps() {
    let said = outlived_locker().say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::OrphanedWait, 1));
    assert_eq!((said.findings[0].class, said.findings[0].confidence), (Class::FileLock, Confidence::Proven));
    assert_eq!((roles(&said, Role::Waiter), roles(&said, Role::Holder)), (vec![WAITER, ROOT], vec![HOLDER]));
    assert!(said.findings[0].notes[0].contains("process 99, which has ended"));
}

#[test]
fn a_locker_at_work_is_no_hang() {
    let mut machine = outlived_locker();
    machine.get(HOLDER).threads[0].moved = Some(true);
    machine.is_calm();
}

#[test]
fn a_shared_lock_is_gone_only_when_all_its_holders_are() {
    let mut machine = outlived_locker();
    machine.process(104, ROOT, "reader");
    machine.fd(104, 3, LOCK, Access::Read);
    machine.get(104).threads[0].moved = Some(true);
    machine.flock(LOCK, 104, &[]);
    // The holder alone still blocks it, however busy the other holder is.
    assert_eq!(machine.say().verdict, Verdict::OrphanedWait);
}

fn posix(number: u32, pid: u32, object: ObjectId) -> LockEntry {
    LockEntry {
        number,
        kind: LockKind::Posix,
        mode: LockMode::Write,
        pid: Some(pid),
        object,
        start: 0,
        end: None,
        waiting: false,
    }
}

#[test]
fn locks_in_two_orders_are_a_deadlock() {
    let other = ObjectId::File { dev: 8, ino: 56 };
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "a");
    machine.process(HOLDER, ROOT, "b");
    for tgid in [WAITER, HOLDER] {
        machine.fd(tgid, 3, LOCK, Access::Write);
        machine.fd(tgid, 4, other, Access::Write);
    }
    machine.0.locks = Some(vec![posix(1, WAITER, LOCK), posix(2, HOLDER, other)]);
    machine.wait(ROOT, any_child());
    machine.wait(WAITER, Wait::Lock { fd: 4, kind: LockKind::Posix, exclusive: Some(true) });
    machine.wait(HOLDER, Wait::Lock { fd: 3, kind: LockKind::Posix, exclusive: Some(true) });
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::FileLock));
    assert_eq!(roles(&said, Role::Holder), [HOLDER, WAITER]);
    assert_eq!(roles(&said, Role::Waiter), [WAITER, HOLDER, ROOT]);
}

#[test]
fn a_fork_that_waits_for_a_thread_it_did_not_copy() {
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "root");
    machine.wait(WAITER, private_futex(None));
    machine.wait(ROOT, exit_of(WAITER));
    machine.thread(ROOT, 150, SLEEP);
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::FutexOrphan));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("after-fork"));
}

#[test]
fn a_program_of_one_thread_that_waits_for_a_signal_is_no_hang() {
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "idle");
    machine.wait(WAITER, private_futex(None));
    machine.wait(ROOT, exit_of(WAITER));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].confidence), (Verdict::OrphanedWait, Confidence::Likely));
    machine.get(WAITER).caught = Some(SignalSet(1 << 14));
    machine.is_calm();
    // One that owns the lock it waits for waits for no signal.
    machine.wait(WAITER, private_futex(Some(WAITER)));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::InProcessWait));
    assert!(said.findings[0].summary.contains("it owns that lock itself"));
}

#[test]
fn a_mutex_whose_owner_is_gone() {
    let mut machine = Machine::new();
    let shared = FutexShared { dev: 1, ino: 9, offset: 0, path: None, mapped_by: Some(vec![ROOT]) };
    let wait = |owner_tid| Wait::Futex {
        addr: 16,
        private: false,
        value: 2,
        word: Some(2),
        op: FutexOp::Wait,
        timeout: Timeout::Never,
        owner_tid,
        shared: Some(shared.clone()),
    };
    machine.wait(ROOT, wait(Some(999)));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::FutexOrphan));
    machine.wait(ROOT, wait(None));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::OrphanedWait, Class::FutexOrphan));
}

#[test]
fn a_lock_in_shared_memory_whose_users_wait_for_each_other() {
    // A parent joins a child that needs the lock which the parent holds: multiprocessing.Lock is a futex in
    // shared memory.
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "child");
    let shared = FutexShared { dev: 1, ino: 9, offset: 0, path: None, mapped_by: Some(vec![ROOT, WAITER]) };
    machine.wait(ROOT, exit_of(WAITER));
    machine.wait(
        WAITER,
        Wait::Futex {
            addr: 16,
            private: false,
            value: 0,
            word: Some(0),
            op: FutexOp::Wait,
            timeout: Timeout::Never,
            owner_tid: None,
            shared: Some(shared),
        },
    );
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::FutexOrphan));
    assert_eq!(said.findings[0].subtype.as_deref(), Some("shared"));
    // Another process that maps it and works may release it.
    machine.process(104, ROOT, "other");
    machine.get(104).threads[0].moved = Some(true);
    let wait = &mut machine.get(WAITER).threads[0].wait;
    if let Wait::Futex { shared: Some(shared), .. } = wait {
        shared.mapped_by = Some(vec![ROOT, WAITER, 104]);
    }
    machine.is_calm();
}

#[test]
fn threads_that_own_each_other_s_locks() {
    let mut machine = Machine::new();
    machine.thread(ROOT, 201, private_futex(Some(202)));
    machine.thread(ROOT, 202, private_futex(Some(201)));
    machine.wait(ROOT, private_futex(None));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::InProcessWait));
    assert_eq!(said.findings[0].confidence, Confidence::Proven);
}

#[test]
fn threads_without_known_owners_are_likely_and_a_signal_handler_refutes() {
    let mut machine = Machine::new();
    machine.thread(ROOT, 201, private_futex(None));
    machine.wait(ROOT, private_futex(None));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].confidence), (Verdict::Deadlock, Confidence::Likely));
    machine.get(ROOT).caught = Some(SignalSet(1 << 14));
    machine.is_calm();
}

#[test]
fn a_pool_beside_a_blocked_main_thread_belongs_to_its_finding() {
    let mut machine = Machine::new();
    machine.process(WAITER, ROOT, "child");
    machine.full(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(WAITER, 1, PIPE, Access::Write);
    machine.wait(ROOT, exit_of(WAITER));
    machine.wait(WAITER, WRITE_OUT);
    machine.thread(WAITER, 201, private_futex(None));
    machine.thread(ROOT, 202, private_futex(None));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings.len()), (Verdict::Deadlock, 1));
    assert_eq!(said.findings[0].class, Class::PipeFull);
    assert_eq!(said.findings[0].processes[0].tid, WAITER);
}

/// A client (the root) with two backends of one postmaster: 102 waits for a lock, and 103 does what `title`
/// says.
fn database(title: &str) -> Machine {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "postmaster");
    machine.wait(101, Wait::Epoll { epfd: 4, timeout: Timeout::Never });
    let titles = [(102, "postgres: u d [local] DROP TABLE waiting"), (103, title)];
    for (at, (backend, title)) in titles.into_iter().enumerate() {
        let (client, server) = (20 + 2 * at as u64, 21 + 2 * at as u64);
        machine.process(backend, 101, "backend");
        machine.socketpair(client, server, 0);
        let server_end = ObjectId::Unix { ino: server };
        let object = machine.0.objects.iter_mut().find(|object| object.id == server_end).unwrap();
        if let ObjectFacts::Unix(facts) = &mut object.facts {
            facts.path = Some("/run/postgresql/.s.PGSQL.5432".into());
        }
        machine.fd(ROOT, 3 + at as u32, ObjectId::Unix { ino: client }, Access::ReadWrite);
        machine.fd(backend, 9, server_end, Access::ReadWrite);
        machine.get(backend).cmdline = Some(vec![title.into()]);
        machine.wait(backend, read(9));
    }
    machine.wait(102, private_futex(None));
    machine
}

#[test]
fn a_transaction_that_its_client_left_open_blocks_the_other_one() {
    let mut machine = database("postgres: u d [local] idle in transaction");
    machine.wait(ROOT, read(3));
    let said = machine.say();
    assert_eq!((said.verdict, said.findings[0].class), (Verdict::Deadlock, Class::DatabaseLock));
    // The state of the backends is taken from their titles.
    assert_eq!(said.findings[0].confidence, Confidence::Likely);
    // A backend that executes a statement will end it.
    let mut machine = database("postgres: u d [local] VACUUM");
    machine.wait(ROOT, read(3));
    machine.get(103).threads[0].moved = Some(true);
    machine.wait(103, Wait::Running);
    machine.is_calm();
    machine.get(103).threads[0].moved = Some(false);
    machine.wait(103, Wait::Sleep { timeout: Timeout::After(Some(600_000_000_000)) });
    machine.is_calm();
    // So does a client that is at work.
    let mut machine = database("postgres: u d [local] idle in transaction");
    machine.get(ROOT).threads[0].moved = Some(true);
    machine.wait(ROOT, Wait::Running);
    machine.is_calm();
}

/// A program of this runtime whose two threads wait in memory.
fn waits_in_memory(exe: &str) -> Machine {
    let mut machine = Machine::new();
    machine.get(ROOT).exe = Some(exe.into());
    machine.wait(ROOT, private_futex(None));
    machine.thread(ROOT, 201, private_futex(None));
    machine
}

#[test]
fn a_runtime_that_ends_deadlocks_waits_for_a_signal() {
    assert_eq!(waits_in_memory("/usr/bin/python3.11").say().verdict, Verdict::Deadlock);
    waits_in_memory("/usr/bin/ruby3.1").is_calm();
    let mut go = waits_in_memory("/srv/app/server");
    go.get(ROOT).caught = Some(SignalSet(0xffff_ffff_ffc1_feff));
    go.is_calm();
    // A thread that waits for another process is another matter.
    go.process(101, ROOT, "child");
    go.empty(PIPE);
    go.fd(ROOT, 3, PIPE, Access::Read);
    go.fd(101, 4, PIPE, Access::Write);
    go.wait(ROOT, read(3));
    go.fd(101, 5, PIPE_2, Access::Read);
    go.fd(ROOT, 6, PIPE_2, Access::Write);
    go.empty(PIPE_2);
    go.wait(101, read(5));
    assert_eq!(go.say().verdict, Verdict::Deadlock);
}

#[test]
fn a_task_that_sleeps_in_an_executor_is_work() {
    let mut machine = waits_in_memory("/usr/lib/jvm/bin/java");
    let mut sleeps = private_futex(None);
    if let Wait::Futex { timeout, .. } = &mut sleeps {
        *timeout = Timeout::After(Some(14_000_000_000));
    }
    machine.get(ROOT).threads[1].wait = sleeps;
    machine.get(ROOT).threads[1].comm = Some("pool-1-thread-4".into());
    machine.is_calm();
    // A thread that the JVM keeps for itself gives the program nothing.
    machine.get(ROOT).threads[1].comm = Some("Common-Cleaner".into());
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
    // At work it does: it may compile what the program waits for.
    machine.get(ROOT).threads[1].comm = Some("C2 CompilerThre".into());
    machine.get(ROOT).threads[1].moved = Some(true);
    machine.get(ROOT).threads[1].wait = Wait::Running;
    machine.is_calm();
}

#[test]
fn an_event_loop_with_several_timers_waits_for_a_date() {
    let mut machine = waits_in_memory("/usr/bin/node");
    machine.0.clock.quiet_window_ns = 8_000_000_000;
    let wake_up = ObjectId::Anon { kind: AnonKind::EventFd, id: 9 };
    machine.fd(ROOT, 15, wake_up, Access::ReadWrite);
    machine.object(wake_up, ObjectFacts::EventFd { count: Some(0) });
    machine.epoll(ROOT, 14, &[(15, events::IN)]);
    machine.wait(ROOT, Wait::Epoll { epfd: 14, timeout: Timeout::After(Some(13_000_000_000)) });
    let thread = &mut machine.get(ROOT).threads[0];
    thread.moved = Some(true);
    thread.calls = Some(Vec::new());
    let woke = Progress { switches: 1, cpu_ns: 90_000, sleeps: Some(1), ..Progress::default() };
    // It woke once, and waits for another time than before.
    thread.progress = Some(Progress { same_call: false, ..woke });
    machine.is_calm();
    // One that waits for the same time again and again does nothing else.
    machine.get(ROOT).threads[0].progress = Some(Progress { same_call: true, ..woke });
    assert_eq!(machine.say().verdict, Verdict::Deadlock);
}
