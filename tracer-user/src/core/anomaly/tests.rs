//! Every kind that one process's snapshots can raise, just below and just above its beginning.

use super::*;
use crate::core::signal::SignalSet;
use crate::core::snapshot::{ProcSnapshot, ProcState};

const ID: ProcessId = ProcessId { tgid: 42, start_ticks: 7 };

fn watch(snapshots: &[ProcSnapshot]) -> Vec<(AnomalyKind, Phase, Option<u64>)> {
    let mut watch = ProcessWatch::new(ID, None);
    let found =
        snapshots.iter().zip(1..).flat_map(|(s, i)| watch.observe(s, i * 1_000_000_000)).collect::<Vec<_>>();
    found.into_iter().map(|raised| (raised.kind, raised.phase, raised.length_ns)).collect()
}

fn snapshot(change: impl Fn(&mut ProcSnapshot)) -> ProcSnapshot {
    let mut snapshot = ProcSnapshot::unread(ID);
    change(&mut snapshot);
    snapshot
}

fn raises(kind: AnomalyKind, below: &[ProcSnapshot], above: &[ProcSnapshot]) {
    let count = |found: Vec<(AnomalyKind, Phase, Option<u64>)>| {
        found.into_iter().filter(|(k, phase, _)| *k == kind && *phase != Phase::End).count()
    };
    assert_eq!(count(watch(below)), 0, "{kind:?} below");
    assert_eq!(count(watch(above)), 1, "{kind:?} above");
}

fn oom(score: i32) -> ProcSnapshot {
    snapshot(|s| s.oom_score = Some(score))
}

fn state(state: ProcState) -> ProcSnapshot {
    snapshot(|s| s.state = Some(state))
}

fn d_state(wchan: Option<&str>) -> ProcSnapshot {
    snapshot(|s| {
        s.state = Some(ProcState::DiskSleep);
        s.wchan = wchan.map(ByteString::from);
    })
}

fn cpu(percent: f64) -> ProcSnapshot {
    snapshot(|s| s.cpu_percent = Some(percent))
}

fn fds(count: u64, limit: Option<u64>) -> ProcSnapshot {
    snapshot(|s| {
        s.fd_count = Some(count);
        s.fd_soft_limit = limit;
    })
}

fn rss(kb: u64) -> ProcSnapshot {
    snapshot(|s| s.vm_rss_kb = Some(kb))
}

fn comm(name: &[u8]) -> ProcSnapshot {
    snapshot(|s| s.comm = Some(name.into()))
}

#[test]
fn out_of_memory_scores() {
    raises(AnomalyKind::OomSpike, &[oom(100), oom(300)], &[oom(100), oom(301)]);
    raises(AnomalyKind::OomCritical, &[oom(799), oom(799)], &[oom(800), oom(800), oom(900)]);
    // Unreadable is no score: neither a fall to it nor a rise from it counts.
    let unread = ProcSnapshot::unread(ID);
    raises(AnomalyKind::OomSpike, &[unread.clone(), oom(300)], &[oom(10), unread, oom(300)]);
}

#[test]
fn zombies() {
    let (alive, zombie) = (state(ProcState::Sleeping), state(ProcState::Zombie));
    raises(
        AnomalyKind::ZombieDetected,
        &[alive.clone(), alive.clone()],
        &[alive, zombie.clone(), zombie.clone()],
    );
    let (two, three) = (vec![zombie.clone(); 2], vec![zombie; 3]);
    raises(AnomalyKind::ZombiePersistent, &two, &three);
}

#[test]
fn uninterruptible_sleep() {
    let nfs = d_state(Some("nfs_wait_bit_killable"));
    raises(
        AnomalyKind::DStateSustained,
        std::slice::from_ref(&nfs),
        &[nfs.clone(), nfs.clone(), nfs.clone()],
    );
    for benign in BENIGN_WAITS {
        raises(AnomalyKind::DStateSustained, &vec![d_state(Some(benign)); 4], &[nfs.clone(), nfs.clone()]);
    }
    raises(AnomalyKind::DStateSustained, &vec![d_state(None); 4], &[nfs.clone(), d_state(None), nfs]);
}

#[test]
fn busy_stopped_and_pending() {
    raises(
        AnomalyKind::HighCpuSustained,
        &[cpu(90.0), cpu(89.9), cpu(90.0)],
        &[cpu(90.0), cpu(90.0), cpu(400.0)],
    );
    for stop in [ProcState::Stopped, ProcState::TracingStop] {
        raises(AnomalyKind::StoppedSustained, &[state(stop)], &[state(stop), state(stop), state(stop)]);
    }
    let pending = |thread: u64, process: u64| {
        snapshot(|s| {
            s.sig_pnd = Some(SignalSet(thread));
            s.shd_pnd = Some(SignalSet(process));
        })
    };
    raises(AnomalyKind::SignalsPending, &[pending(0, 0)], &[pending(0, 0x4000), pending(0, 0x4000)]);
    raises(AnomalyKind::SignalsPending, &[ProcSnapshot::unread(ID)], &[pending(1, 0)]);
}

#[test]
fn files_memory_and_names() {
    raises(AnomalyKind::FdHigh, &[fds(80, Some(100))], &[fds(81, Some(100)), fds(82, Some(100))]);
    raises(AnomalyKind::FdHigh, &[fds(5, None), fds(5, Some(0))], &[fds(9, Some(10))]);
    let grow =
        |last: u64, n: usize| (0..n).map(|i| rss(if i + 1 == n { last } else { 100 })).collect::<Vec<_>>();
    raises(AnomalyKind::RssGrowth, &grow(200, 5), &grow(201, 5));
    raises(AnomalyKind::RssGrowth, &grow(900, 4), &grow(900, 6));
    raises(
        AnomalyKind::IdentityDrift,
        &[comm(b"node"), ProcSnapshot::unread(ID), comm(b"node")],
        &[comm(b"node"), comm(b"worker"), comm(b"other")],
    );
    // A name cut inside a character is a name like any other.
    raises(AnomalyKind::IdentityDrift, &[comm(b"l\xc3"), comm(b"l\xc3")], &[comm(b"l\xc3"), comm(b"l\xc4")]);
}

#[test]
fn a_program_executed_explains_a_new_name() {
    let mut watch = ProcessWatch::new(ID, None);
    assert!(watch.observe(&comm(b"sh"), 1).is_empty());
    watch.execed("make".into());
    assert!(watch.observe(&comm(b"make"), 2).is_empty());
}

#[test]
fn a_lasting_anomaly_is_raised_at_both_ends_with_its_length() {
    let all = [cpu(95.0), cpu(95.0), cpu(95.0), cpu(1.0), cpu(1.0)];
    assert_eq!(
        watch(&all),
        [
            (AnomalyKind::HighCpuSustained, Phase::Begin, None),
            (AnomalyKind::HighCpuSustained, Phase::End, Some(3_000_000_000))
        ]
    );
    let mut watch = ProcessWatch::new(ID, None);
    watch.observe(&oom(900), 1_000_000);
    let ended = watch.gone(6_000_000);
    assert_eq!((ended.len(), ended[0].phase, ended[0].length_ns), (1, Phase::End, Some(5_000_000)));
}

#[test]
fn names_are_those_that_are_written() {
    for kind in AnomalyKind::VARIANTS {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}
