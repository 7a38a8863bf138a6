//! What must hold for any evidence whatever.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::core::diagnosis::testkit::*;
use crate::core::diagnosis::{
    Confidence, Diagnosis, Finding, Party, Role, ThreadActivity, Verdict, diagnose,
};
use crate::core::evidence::{
    Access, ChildTarget, Evidence, ObjectFacts, ObjectId, PollFd, Progress, Thread, ThreadState, Timeout,
    Wait, events,
};
use crate::core::signal::{Signal, SignalSet};

const PIPES: u64 = 6;

/// Pipes 0 to 2 are full, 3 to 5 are empty: blocked calls that contradict what the pipe holds do not occur.
fn pipe(number: u64) -> ObjectId {
    ObjectId::Pipe { ino: 500 + number }
}

/// An fd number for each end, the same in every process: 10+n reads pipe n, 20+n writes it, 40+n is lock file
/// n.
fn read_end(number: u64) -> u32 {
    10 + number as u32
}

fn write_end(number: u64) -> u32 {
    20 + number as u32
}

fn lock_file(number: u32) -> ObjectId {
    ObjectId::File { dev: 8, ino: 900 + u64::from(number) }
}

#[derive(Clone, Debug)]
struct Plan {
    parent: usize,
    threads: Vec<(Wait, bool, bool)>,
    ends: Vec<(u64, bool)>,
    locks: Vec<u32>,
}

fn wait(processes: usize) -> impl Strategy<Value = Wait> {
    let pid = move || (0..processes).prop_map(|n| ROOT + n as u32);
    prop_oneof![
        1 => Just(SLEEP),
        1 => Just(Wait::Sleep { timeout: Timeout::After(Some(1_000_000)) }),
        4 => (0..3u64).prop_map(|n| Wait::Write { fd: write_end(n) }),
        4 => (3..PIPES).prop_map(|n| read(read_end(n))),
        1 => (3..PIPES).prop_map(|n| Wait::Read { fd: read_end(n), timeout: Timeout::After(Some(5_000_000)) }),
        4 => pid().prop_map(exit_of),
        2 => Just(any_child()),
        2 => (0..2u32).prop_map(|n| flock(40 + n)),
        2 => proptest::collection::vec((0..PIPES, any::<bool>()), 1..4).prop_map(|set| Wait::Poll {
            set: Some(set.into_iter().map(|(n, out)| if out {
                PollFd { fd: write_end(n), events: events::OUT }
            } else {
                PollFd { fd: read_end(n), events: events::IN }
            }).collect()),
            timeout: Timeout::Never,
        }),
        1 => Just(private_futex(None)),
        1 => Just(Wait::Pause),
    ]
}

fn plan(processes: usize) -> impl Strategy<Value = Plan> {
    (
        0..processes,
        proptest::collection::vec(
            (wait(processes), proptest::bool::weighted(0.06), proptest::bool::weighted(0.06)),
            1..3,
        ),
        proptest::collection::vec((0..PIPES, any::<bool>()), 0..5),
        proptest::collection::vec(0..2u32, 0..2),
    )
        .prop_map(|(parent, threads, ends, locks)| Plan { parent, threads, ends, locks })
}

fn build(plans: &[Plan]) -> Evidence {
    let mut machine = Machine::new();
    for n in 0..3 {
        machine.full(pipe(n));
        machine.empty(pipe(n + 3));
    }
    for object in &mut machine.0.objects {
        if let ObjectFacts::Pipe(facts) = &mut object.facts {
            (facts.readers, facts.writers) = (None, None);
        }
    }
    for (at, plan) in plans.iter().enumerate() {
        let tgid = ROOT + at as u32;
        if at > 0 {
            machine.process(tgid, ROOT + (plan.parent % at) as u32, &format!("p{at}"));
        }
        let threads = plan.threads.iter().enumerate().map(|(n, (wait, moved, stopped))| Thread {
            tid: if n == 0 { tgid } else { 1000 + tgid * 10 + n as u32 },
            wait: wait.clone(),
            moved: Some(*moved),
            state: if *stopped { ThreadState::Stopped } else { ThreadState::Sleeping },
            ..quiet(0)
        });
        machine.get(tgid).threads = threads.collect();
        // A thread that sleeps in a call on an end has that end.
        for (wait, ..) in &plan.threads {
            let fds: Vec<u32> = match wait {
                Wait::Write { fd } | Wait::Read { fd, .. } | Wait::Lock { fd, .. } => vec![*fd],
                Wait::Poll { set: Some(set), .. } => set.iter().map(|p| p.fd).collect(),
                _ => Vec::new(),
            };
            for fd in fds {
                open(&mut machine, tgid, fd);
            }
        }
        for (n, writes) in &plan.ends {
            open(&mut machine, tgid, if *writes { write_end(*n) } else { read_end(*n) });
        }
        for n in &plan.locks {
            open(&mut machine, tgid, 40 + n);
            machine.flock(lock_file(*n), tgid, &[(tgid, 40 + n)]);
        }
    }
    machine.0
}

fn open(machine: &mut Machine, tgid: u32, fd: u32) {
    if machine.get(tgid).fd(fd).is_some() {
        return;
    }
    match fd {
        10..20 => machine.fd(tgid, fd, pipe(u64::from(fd - 10)), Access::Read),
        20..30 => machine.fd(tgid, fd, pipe(u64::from(fd - 20)), Access::Write),
        _ => machine.fd(tgid, fd, lock_file(fd - 40), Access::ReadWrite),
    }
}

fn evidence() -> impl Strategy<Value = Evidence> {
    (2usize..7).prop_flat_map(|n| proptest::collection::vec(plan(n), n)).prop_map(|plans| build(&plans))
}

/// The waiters of all deadlocks: pid, and the class of the finding.
fn deadlocked(said: &Diagnosis) -> Vec<(u32, u32)> {
    let findings = said.findings.iter().filter(|f| f.verdict == Verdict::Deadlock);
    findings.filter_map(|f| f.processes.first()).map(|p| (p.pid, p.tid)).collect()
}

/// The proven hangs: class, and the first party.
fn proven(said: &Diagnosis) -> BTreeSet<(&'static str, u32, u32)> {
    let findings = said.findings.iter().filter(|f| f.verdict.is_hang() && f.confidence == Confidence::Proven);
    findings.filter_map(|f| f.processes.first().map(|p| (f.class.id(), p.pid, p.tid))).collect()
}

/// A thread that woke by its time-out during the window and is back in the same wait.
fn ticking(tid: u32) -> Thread {
    let progress =
        Progress { switches: 4, cpu_ns: 100_000, same_call: true, sleeps: Some(4), ..Progress::default() };
    Thread {
        moved: Some(true),
        progress: Some(progress),
        wait: Wait::Sleep { timeout: Timeout::After(Some(100_000_000)) },
        ..quiet(tid)
    }
}

/// Something of the evidence that could not be read after all.
fn forget(evidence: &mut Evidence, what: u32, which: usize) {
    let at = which % evidence.processes.len();
    let process = &mut evidence.processes[at];
    let threads = process.threads.len().max(1);
    match what {
        0 => process.fds = None,
        1 => process.threads.iter_mut().for_each(|t| t.wait = Wait::Unreadable),
        2 => process.threads.iter_mut().for_each(|t| t.moved = None),
        3 => process.threads.iter_mut().for_each(|t| {
            if let Wait::Poll { set, .. } = &mut t.wait {
                *set = None;
            }
        }),
        4 => evidence.locks = None,
        5 => evidence.reach = Default::default(),
        6 => (process.caught, process.io, process.cmdline) = (None, None, None),
        7 => {
            let objects = evidence.objects.len().max(1);
            if let Some(object) = evidence.objects.get_mut(which % objects) {
                object.facts = ObjectFacts::Nothing;
            }
        }
        8 => evidence.objects.clear(),
        9 => {
            if let Some(fds) = &mut process.fds {
                fds.iter_mut().for_each(|fd| fd.object = ObjectId::Unknown);
            }
        }
        10 => {
            let thread = which / 7 % threads;
            if let Some(thread) = process.threads.get_mut(thread) {
                thread.wait = Wait::Other { nr: 999 };
            }
        }
        _ => process.threads.clear(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_evidence_gives_the_same_diagnosis(evidence in evidence()) {
        prop_assert_eq!(diagnose(&evidence), diagnose(&evidence));
    }

    #[test]
    fn a_party_that_can_act_is_in_no_deadlock(evidence in evidence(), moving in proptest::collection::vec(any::<bool>(), 8)) {
        let mut evidence = evidence;
        for (process, moves) in evidence.processes.iter_mut().zip(&moving) {
            if *moves {
                process.threads[0].moved = Some(true);
            }
        }
        let said = diagnose(&evidence);
        let moves = |party: &Party| {
            let process = evidence.processes.iter().find(|p| p.id.tgid == party.pid).unwrap();
            // Any thread of a holder could act; a waiter is one thread.
            process.threads.iter().filter(|t| party.role != Role::Waiter || t.tid == party.tid).any(|t| t.moved == Some(true))
        };
        for finding in said.findings.iter().filter(|f| f.verdict == Verdict::Deadlock) {
            for party in &finding.processes {
                prop_assert!(!moves(party), "{finding:#?}");
            }
        }
    }

    #[test]
    fn a_holder_that_begins_to_move_ends_the_deadlock(evidence in evidence()) {
        let said = diagnose(&evidence);
        for finding in said.findings.iter().filter(|f| f.verdict == Verdict::Deadlock) {
            let waiter = (finding.processes[0].pid, finding.processes[0].tid);
            // Of an exclusive lock with several holders, all would have to go: one that moves proves nothing.
            let locks = finding.edges.first().is_some_and(|e| e.op == "lock");
            let holders = finding.processes.iter().filter(|p| p.role == Role::Holder && !locks);
            let first = finding.edges.iter().filter(|e| e.from.starts_with("pipe:")).map(|e| e.to.clone()).next();
            for holder in holders.filter(|h| first.as_ref().is_some_and(|f| f.starts_with(&format!("{}/", h.pid)))) {
                let mut moved = evidence.clone();
                let process = moved.processes.iter_mut().find(|p| p.id.tgid == holder.pid).unwrap();
                process.threads.iter_mut().for_each(|t| t.moved = Some(true));
                let again = deadlocked(&diagnose(&moved));
                prop_assert!(!again.contains(&waiter), "{finding:#?}");
            }
        }
    }

    #[test]
    fn less_evidence_never_makes_a_hang(
        evidence in evidence(),
        gone in proptest::collection::vec((0u32..12, any::<usize>()), 1..4),
    ) {
        let hangs = |d: &Diagnosis| if d.verdict.is_hang() { d.verdict } else { Verdict::Unknown };
        let before = hangs(&diagnose(&evidence));
        let mut less = evidence.clone();
        for (what, which) in &gone {
            forget(&mut less, *what, *which);
        }
        let after = diagnose(&less);
        prop_assert!(hangs(&after) <= before, "{before:?} became {:?}\n{:#?}", after.verdict, after.findings);
    }

    #[test]
    fn a_tick_or_a_process_at_rest_hides_no_hang_and_proves_none(
        evidence in evidence(),
        at in any::<usize>(),
        ticks in any::<bool>(),
    ) {
        let before = diagnose(&evidence);
        let mut more = Machine(evidence);
        // In a process that takes part in a hang, such a thread might be the one that acts.
        let hung = before.findings.iter().filter(|finding| finding.verdict.is_hang());
        let parties: BTreeSet<u32> = hung.flat_map(|finding| &finding.processes).map(|party| party.pid).collect();
        let mut others: Vec<_> =
            more.0.processes.iter_mut().filter(|process| !parties.contains(&process.id.tgid)).collect();
        if ticks && !others.is_empty() {
            let count = others.len();
            others[at % count].threads.push(ticking(90_000));
        } else {
            let parents: Vec<u32> = more.0.processes.iter().map(|process| process.id.tgid).collect();
            more.process(80_000, parents[at % parents.len()], "rests");
            more.wait(80_000, Wait::Pause);
        }
        let after = more.say();
        prop_assert!(!before.verdict.is_hang() || after.verdict != Verdict::NotHung, "{:#?}", before.findings);
        let (before, after) = (proven(&before), proven(&after));
        prop_assert!(after.is_subset(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn a_handled_signal_proves_nothing(evidence in evidence(), at in any::<usize>(), signal in 0usize..4) {
        let before = proven(&diagnose(&evidence)).len();
        let mut more = evidence;
        let count = more.processes.len();
        let process = &mut more.processes[at % count];
        let handled = SignalSet::of(&[[Signal::HUP, Signal::USR1, Signal::TERM, Signal::WINCH][signal]]);
        process.caught = process.caught.map(|caught| caught.or(handled));
        let said = diagnose(&more);
        prop_assert!(proven(&said).len() <= before, "{:#?}", said.findings);
    }

    #[test]
    fn neither_order_nor_strangers_matter(evidence in evidence(), turn in any::<usize>()) {
        let answer = |said: Diagnosis| -> (Verdict, BTreeSet<_>) {
            let key = |f: &Finding| (f.class.id(), f.verdict, f.processes.iter().map(|p| p.pid).collect::<BTreeSet<_>>());
            (said.verdict, said.findings.iter().map(key).collect())
        };
        let before = answer(diagnose(&evidence));
        let mut other = Machine(evidence);
        // A stranger at work and one at rest, of another login session.
        for (tgid, wait) in [(70_000, Wait::Running), (70_001, Wait::Pause)] {
            other.process(tgid, 1, "stranger");
            other.wait(tgid, wait);
            let process = other.get(tgid);
            (process.in_scope, process.sid, process.pgrp) = (false, Some(tgid), tgid);
        }
        let count = other.0.objects.len().max(1);
        other.0.objects.rotate_left(turn % count);
        prop_assert_eq!(answer(other.say()), before);
    }

    #[test]
    fn nothing_is_said_to_have_moved_that_did_not(evidence in evidence()) {
        let said = diagnose(&evidence);
        let moved = |pid: u32, tid: Option<u32>| {
            let process = evidence.processes.iter().find(|process| process.id.tgid == pid).unwrap();
            process.threads.iter().any(|t| tid.is_none_or(|tid| t.tid == tid) && t.moved == Some(true))
        };
        for progress in &said.progress {
            prop_assert!(moved(progress.pid, None), "{progress:?}");
        }
        for process in &said.waits.processes {
            for thread in process.threads.iter().filter(|thread| thread.activity >= ThreadActivity::Tick) {
                prop_assert!(moved(process.pid, Some(thread.tid)), "{thread:?}");
            }
        }
        prop_assert!(said.verdict != Verdict::NotHung || !said.progress.is_empty() || said.waits.processes.is_empty());
    }

    #[test]
    fn what_waits_downwards_alone_is_no_cycle(
        targets in proptest::collection::vec(any::<usize>(), 2..8),
        by_pipe in proptest::collection::vec(any::<bool>(), 8),
    ) {
        // Each process waits for one that comes later; several may wait for the same: diamonds. The last one
        // sleeps.
        let mut machine = Machine::new();
        let count = targets.len();
        for n in 1..count {
            machine.process(ROOT + n as u32, ROOT, &format!("p{n}"));
        }
        for n in 0..count - 1 {
            let (tgid, target) = (ROOT + n as u32, ROOT + (n + 1 + targets[n] % (count - 1 - n)) as u32);
            if by_pipe[n] {
                let id = ObjectId::Pipe { ino: 600 + n as u64 };
                machine.empty(id);
                machine.fd(tgid, 3, id, Access::Read);
                machine.fd(target, 50 + n as u32, id, Access::Write);
                machine.wait(tgid, read(3));
            } else {
                machine.wait(tgid, Wait::WaitChild { target: ChildTarget::Pid(target), options: 0 });
            }
        }
        prop_assert_ne!(machine.say().verdict, Verdict::Deadlock);
    }

    #[test]
    fn any_evidence_is_judged(
        evidence in evidence(),
        numbers in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 0..8),
    ) {
        // Numbers that lead nowhere, parents in circles, fds that are not there.
        let mut evidence = evidence;
        for (at, (a, b, c)) in numbers.into_iter().enumerate() {
            let count = evidence.processes.len();
            let process = &mut evidence.processes[at % count];
            process.ppid = if a % 3 == 0 { process.id.tgid } else { ROOT + a % 8 };
            process.sid = Some(b % 200).filter(|sid| *sid != 0);
            let fd = a % 60;
            let wait = match b % 12 {
                0 => Wait::Epoll { epfd: fd, timeout: Timeout::Never },
                1 => Wait::Semaphore { id: a, timeout: Timeout::Unknown },
                2 => Wait::Open { path: None, object: Some(ObjectId::Fifo { dev: 1, ino: c }), flags: 1 },
                3 => Wait::Connect { fd, peer: None },
                4 => Wait::Splice { input: fd, output: b % 60 },
                5 => Wait::Vfork { child: Some(b) },
                6 => Wait::WaitChild { target: ChildTarget::PidFd(fd), options: 0 },
                7 => private_futex(Some(b % 1100)),
                8 => Wait::Accept { fd },
                9 => Wait::Control { fd, request: c },
                10 => Wait::AsyncIo { fd: None, timeout: Timeout::Never },
                _ => Wait::NoCall,
            };
            if let Some(thread) = process.threads.first_mut() {
                thread.wait = wait;
            }
            process.zombie = c % 11 == 0;
        }
        let said = diagnose(&evidence);
        prop_assert!(said.verdict >= said.findings.iter().map(|f| f.verdict).max().unwrap_or_default());
        for finding in &said.findings {
            prop_assert!(finding.follows.is_none_or(|n| n < said.findings.len()));
            prop_assert!(!finding.processes.is_empty() && finding.summary.ends_with('.'));
        }
    }
}
