//! The fold, live and over its own recording.

use super::*;
use crate::core::anomaly::{AnomalyKind, Phase};
use crate::core::event::{Exec, Exit, Fork, IdentityExtras, ResourceKind, Stall};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::record::{EndReason, HeaderLine, Origin, Thresholds};
use crate::core::snapshot::{ProcSnapshot, ProcState};
use proptest::prelude::*;
use std::collections::BTreeMap;

const S: u64 = 1_000_000_000;
const ROOT: ProcessId = ProcessId { tgid: 100, start_ticks: 5 };

fn id(n: u32) -> ProcessId {
    ProcessId { tgid: 100 + n, start_ticks: 5 }
}

fn anchor() -> Anchor {
    Anchor { wall: jiff::Timestamp::from_second(1_790_000_000).unwrap(), boot_ns: 0 }
}

fn header() -> Input {
    Input::Header(Box::new(HeaderLine {
        tracer_version: "0".to_owned(),
        kernel: None,
        hostname: None,
        session_id: "s".to_owned(),
        boot_id: None,
        root: ROOT.into(),
        cmdline: vec![],
        kernel_events: true,
        capabilities: vec![],
        offsets_missing: vec![],
        interval_ms: 5_000,
        unchanged_left_out: true,
        thresholds: Thresholds { stall_ms: 1_000, no_progress_ms: 60_000 },
        config: BTreeMap::new(),
    }))
}

fn joined(process: ProcessId) -> Input {
    Input::Joined(Join { comm: Some("root".into()), ..Join::new(process, Origin::Root) })
}

fn fork(at: u64, parent: ProcessId, child: ProcessId) -> Input {
    let body = EventBody::Fork(Fork {
        parent,
        parent_tid: None,
        child,
        extras: IdentityExtras::default(),
        comm: b"sh".to_vec(),
    });
    Input::Kernel(Event { boot_ns: at, body })
}

fn exit(at: u64, process: ProcessId, status: u32, oom_victim: bool) -> Input {
    let body = EventBody::Exit(Exit {
        oom_victim: Some(oom_victim),
        cpu_ns: Some(7),
        comm: b"sh".to_vec(),
        ..Exit::of(process, Some(WaitStatus(status)))
    });
    Input::Kernel(Event { boot_ns: at, body })
}

fn stall(at: u64, process: ProcessId, since: u64, open: bool) -> Input {
    let stall = Stall {
        process,
        tid: process.tgid,
        comm: b"sh".to_vec(),
        since_boot_ns: since,
        fd: Some(1),
        syscall: None,
        kind: ResourceKind::Pipe,
        inode: Some(9),
        device: None,
        socket: None,
        slots: None,
        used_bytes: None,
        capacity_bytes: None,
        ends: None,
        end_seen: None,
    };
    let body = if open { EventBody::StallOpen(stall) } else { EventBody::StallClosed(stall) };
    Input::Kernel(Event { boot_ns: at, body })
}

fn seen(process: ProcessId, change: impl Fn(&mut ProcSnapshot)) -> ProcSnapshot {
    let mut snapshot = ProcSnapshot::unread(process);
    snapshot.state = Some(ProcState::Sleeping);
    snapshot.cpu_ns = Some(10);
    change(&mut snapshot);
    snapshot
}

fn sample(snapshots: Vec<ProcSnapshot>) -> Input {
    Input::Sample(SampleSet { snapshots })
}

/// Runs a session, and its recording through a second fold; both have to agree.
fn run(inputs: Vec<(u64, Input)>) -> (Vec<Line>, SessionState) {
    let mut live = SessionState::new();
    let lines: Vec<Line> =
        inputs.into_iter().flat_map(|(at, input)| live.push(&anchor(), at, input)).collect();
    let mut replayed = SessionState::new();
    let again: Vec<AnomalyLine> =
        lines.iter().flat_map(|line| replayed.replay(line)).map(AnomalyLine::from).collect();
    assert_eq!(anomalies(&lines), again, "a replay finds the same anomalies");
    assert_eq!(format!("{:?}", live.tracker), format!("{:?}", replayed.tracker), "and the same totals");
    assert_eq!((live.next_seq, live.last_boot_ns), (replayed.next_seq, replayed.last_boot_ns));
    assert!(lines.iter().zip(0..).all(|(line, seq)| line.seq == seq));
    assert!(lines.windows(2).all(|pair| pair[0].ts <= pair[1].ts));
    (lines, live)
}

fn anomalies(lines: &[Line]) -> Vec<AnomalyLine> {
    lines
        .iter()
        .filter_map(|line| match &line.body {
            Body::Anomaly(anomaly) => Some((**anomaly).clone()),
            _ => None,
        })
        .collect()
}

fn found(lines: &[Line]) -> Vec<(AnomalyKind, Phase, Option<u64>)> {
    anomalies(lines).into_iter().map(|anomaly| (anomaly.anomaly, anomaly.phase, anomaly.length_ms)).collect()
}

#[test]
fn processes_are_counted_once_and_the_living_are_known() {
    let (_, state) = run(vec![
        (0, header()),
        (0, joined(ROOT)),
        (1, fork(1, ROOT, id(1))),
        (2, fork(2, id(1), id(2))),
        (2, fork(2, id(1), id(2))),
        (3, exit(3, id(1), 0, false)),
        // The same end, from the kernel's record.
        (4, exit(4, id(1), 0, false)),
        (5, fork(5, id(2), id(1))),
    ]);
    let totals = state.tracker().totals();
    assert_eq!((totals.forked, totals.exited, totals.peak_processes), (3, 1, 3));
    assert_eq!(state.tracker().alive().collect::<Vec<_>>(), [ROOT, id(2)]);
    assert!(state.tracker().has_ended(id(1)));
}

#[test]
fn a_write_stall_lasts_from_its_threshold_to_its_end() {
    let begin = vec![(0, header()), (0, joined(ROOT))];
    let below = [(S - 1, stall(S - 1, ROOT, 0, true)), (S - 1, stall(S - 1, ROOT, 0, false))];
    assert_eq!(found(&run([begin.clone(), below.to_vec()].concat()).0), []);
    let above = [(S, stall(S, ROOT, 0, true)), (3 * S, stall(3 * S, ROOT, 0, false))];
    let (lines, state) = run([begin.clone(), above.to_vec()].concat());
    let both =
        [(AnomalyKind::WriteStall, Phase::Begin, None), (AnomalyKind::WriteStall, Phase::End, Some(3_000))];
    assert_eq!(found(&lines), both);
    let stalls = &state.tracker().totals().stalls;
    assert_eq!((stalls.count, stalls.longest_ns, stalls.by_resource["pipe:[9]"].total_ms), (1, 3 * S, 3_000));
    // Reported only when it was over.
    let late = [(2 * S, stall(2 * S, ROOT, 0, false))];
    let once = [(AnomalyKind::WriteStall, Phase::Once, Some(2_000))];
    assert_eq!(found(&run([begin.clone(), late.to_vec()].concat()).0), once);
    // Ended by a signal, or not at all.
    let killed = [(S, stall(S, ROOT, 0, true)), (4 * S, exit(4 * S, ROOT, 9, false))];
    assert_eq!(found(&run([begin.clone(), killed.to_vec()].concat()).0)[1].2, Some(4_000));
    let open = [(S, stall(S, ROOT, 0, true)), (5 * S, Input::End(EndReason::Recovered))];
    assert_eq!(found(&run([begin, open.to_vec()].concat()).0)[1].2, Some(5_000));
}

#[test]
fn no_progress_needs_the_whole_session_to_stand_still() {
    let begin = vec![(0, header()), (0, joined(ROOT)), (0, fork(0, ROOT, id(1)))];
    let both = |cpu: u64| sample(vec![seen(ROOT, |_| {}), seen(id(1), |s| s.cpu_ns = Some(cpu))]);
    let below = [(S, both(1)), (60 * S, both(1))];
    assert_eq!(found(&run([begin.clone(), below.to_vec()].concat()).0), []);
    let above = [(S, both(1)), (61 * S, both(1)), (70 * S, both(1)), (80 * S, both(2))];
    let (lines, _) = run([begin.clone(), above.to_vec()].concat());
    let raised =
        [(AnomalyKind::NoProgress, Phase::Begin, None), (AnomalyKind::NoProgress, Phase::End, Some(79_000))];
    assert_eq!(found(&lines), raised);
    // One that works is enough, and one that cannot be read raises nothing.
    let one_works = [(S, both(1)), (30 * S, both(2)), (61 * S, both(2))];
    assert_eq!(found(&run([begin.clone(), one_works.to_vec()].concat()).0), []);
    let unread = |s: &mut ProcSnapshot| s.cpu_ns = None;
    let half = || sample(vec![seen(ROOT, |_| {}), seen(id(1), unread)]);
    assert_eq!(found(&run([begin, vec![(S, half()), (90 * S, half())]].concat()).0), []);
}

#[test]
fn unchanged_processes_are_left_out_and_still_count() {
    let stopped = || sample(vec![seen(ROOT, |s| s.state = Some(ProcState::Stopped))]);
    let (lines, state) = run(vec![(0, header()), (0, joined(ROOT)), (S, stopped()), (2 * S, stopped())]);
    assert_eq!(found(&lines), [(AnomalyKind::StoppedSustained, Phase::Begin, None)]);
    assert_eq!(lines.iter().filter(|line| line.body.kind() == "snapshot").count(), 1);
    assert_eq!((state.tracker().totals().snapshots, state.tracker().totals().samples), (1, 2));
    // One that could not be read the second time is not taken for unchanged.
    let (lines, _) = run(vec![(0, header()), (0, joined(ROOT)), (S, stopped()), (2 * S, sample(vec![]))]);
    assert_eq!(found(&lines), []);
}

#[test]
fn leaks_memory_shortage_and_zombies() {
    let (lines, state) = run(vec![
        (0, header()),
        (0, joined(ROOT)),
        (1, fork(1, ROOT, id(1))),
        (2, exit(2, ROOT, 0, false)),
        (3, Input::End(EndReason::RootEnded)),
    ]);
    assert_eq!(found(&lines), [(AnomalyKind::LeakedProcess, Phase::Once, None)]);
    assert_eq!(state.tracker().root_exit().unwrap().1.exit_code, Some(0));
    let ended = vec![
        (0, header()),
        (0, joined(ROOT)),
        (2, exit(2, ROOT, 0, false)),
        (3, Input::End(EndReason::RootEnded)),
    ];
    assert_eq!(found(&run(ended).0), []);
    let oom = vec![(0, header()), (0, joined(ROOT)), (2, exit(2, ROOT, 9, true))];
    assert_eq!(found(&run(oom).0), [(AnomalyKind::KilledByOom, Phase::Once, None)]);
    let killed = vec![(0, header()), (0, joined(ROOT)), (2, exit(2, ROOT, 9, false))];
    assert_eq!(found(&run(killed).0), []);

    // Its end was reported, and it is not reaped: it does not live, and is sampled anyway.
    let zombie = || sample(vec![seen(id(1), |s| s.state = Some(ProcState::Zombie))]);
    let (lines, state) = run(vec![
        (0, header()),
        (0, fork(0, ROOT, id(1))),
        (1, exit(1, id(1), 0, false)),
        (S, zombie()),
        (2 * S, zombie()),
        (3 * S, zombie()),
        (4 * S, sample(vec![])),
    ]);
    let raised: Vec<_> = found(&lines).into_iter().map(|(kind, phase, _)| (kind, phase)).collect();
    assert_eq!(
        raised,
        [
            (AnomalyKind::ZombieDetected, Phase::Once),
            (AnomalyKind::ZombiePersistent, Phase::Begin),
            (AnomalyKind::ZombiePersistent, Phase::End)
        ]
    );
    assert_eq!(state.tracker().alive_count(), 0);
}

#[test]
fn a_resumed_session_goes_on_where_its_recording_ends() {
    let (lines, _) = run(vec![(0, header()), (0, joined(ROOT)), (1, fork(1, ROOT, id(1)))]);
    let mut resumed = SessionState::new();
    for line in &lines {
        resumed.replay(line);
    }
    let stepped = Anchor { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 0 };
    let next = resumed.push(&stepped, 2, Input::Note { code: "adopted".to_owned(), text: String::new() });
    assert_eq!((next[0].seq, next[0].ts_adjusted), (3, true));
    assert!(next[0].ts > lines[2].ts);
    assert_eq!(resumed.tracker().alive_count(), 2);
}

#[test]
fn a_storm_leaves_nothing_behind_but_numbers() {
    let mut state = SessionState::new();
    state.push(&anchor(), 0, header());
    for n in 1..=100_000_u32 {
        let child = ProcessId { tgid: n, start_ticks: 1_000 };
        state.push(&anchor(), n.into(), fork(n.into(), ROOT, child));
        state.push(&anchor(), n.into(), exit(n.into(), child, 0, false));
    }
    let tracker = state.tracker();
    assert_eq!(
        (tracker.totals().forked, tracker.totals().exited, tracker.alive_count()),
        (100_000, 100_000, 0)
    );
}

fn any_input() -> impl Strategy<Value = (u64, Input)> {
    let at = 0..100 * S;
    let who = (0_u32..4).prop_map(id);
    let snapshot =
        (0_u32..4, 0_u8..4, 0_u64..3, proptest::option::of(0_i32..1000)).prop_map(|(n, state, cpu, oom)| {
            seen(id(n), |s| {
                s.state = ProcState::from_letter(*b"SDTZ".get(usize::from(state)).unwrap());
                s.cpu_ns = Some(cpu);
                s.oom_score = oom;
                s.wchan = Some("io_schedule".into());
            })
        });
    let input = prop_oneof![
        who.clone().prop_map(joined),
        (at.clone(), who.clone(), who.clone()).prop_map(|(at, a, b)| fork(at, a, b)),
        (at.clone(), who.clone(), 0_u32..1000, any::<bool>())
            .prop_map(|(at, p, status, oom)| exit(at, p, status, oom)),
        (at.clone(), who.clone(), at.clone(), any::<bool>())
            .prop_map(|(at, p, since, open)| stall(at, p, since, open)),
        (at.clone(), who).prop_map(|(at, process)| Input::Kernel(Event {
            boot_ns: at,
            body: EventBody::Exec(Exec { process, by_thread: None, comm: b"x\xff".to_vec(), filename: None }),
        })),
        proptest::collection::vec(snapshot, 0..4).prop_map(sample),
        Just(Input::End(EndReason::RootEnded)),
    ];
    (at, input)
}

proptest! {
    #[test]
    fn any_session_replays_to_itself(inputs in proptest::collection::vec(any_input(), 0..60)) {
        run([vec![(0, header())], inputs].concat());
    }
}

#[test]
fn an_end_that_was_learnt_otherwise_says_so() {
    let end = || {
        let exit = Exit::of(ROOT, Some(WaitStatus(7 << 8)));
        Input::Ended(Box::new(exit), ExitSource::FateMap)
    };
    let (lines, state) = run(vec![(0, header()), (0, joined(ROOT)), (9, end()), (10, end())]);
    assert_eq!(lines.len(), 3);
    assert_eq!(state.tracker().root_exit().unwrap().0, 9);
}
