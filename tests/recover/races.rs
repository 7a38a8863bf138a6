//! The races of recovery, each with the interleaving that broke the Python tracer from which this tool's
//! traces come.
//!
//! O is the owner of a session, T its root, S a recoverer. R1 is in `faults.rs`. R5 and R15, which need many
//! processes, are in `many.rs`. The tests of sessions show R10 and R17 with kernel events as well.

use std::sync::Arc;
use std::time::Duration;

use tracer_user::core::event::{Event, EventBody, Fork, IdentityExtras};
use tracer_user::core::gates::{GateReason, RecoveryAction, RecoveryPolicy};
use tracer_user::core::identity::{ProcessId, WaitStatus};
use tracer_user::core::record::sidecar::Enrollment;
use tracer_user::core::record::{EndReason, ExitSource, Origin};
use tracer_user::core::session_state::{Input, SampleSet};
use tracer_user::core::snapshot::ProcSnapshot;
use tracer_user::core::summary::OwnerFate;
use tracer_user::procfs_view::ProcRoot;
use tracer_user::procfs_view::snapshot::Sampler;
use tracer_user::session::live::SessionRecorder;
use tracer_user::session::recover::{RecoverConfig, RecoveryOutcome};
use tracer_user::store::{ResolveConfig, TraceDir, TraceDirError};

use crate::sessions::*;
use crate::support::proc::identify;

/// R2. T exits while O still waits for the rest of the job → S sees that T is dead and its trace old, records
/// a crash and deletes the files → O records the session as well: two records. Here: S cannot get the lock
/// while O lives.
#[test]
fn r2_a_live_owner_keeps_its_session_whatever_became_of_the_root() {
    let place = Place::new();
    let mut owner = live(&place, "s", dead_root(0));
    let report = place.recover();
    assert_eq!(reasons(&report, "s")[0], GateReason::OwnerLives);
    assert_eq!((entry(&report, "s").outcome.clone(), place.trace_names().len()), (RecoveryOutcome::Left, 2));
    let now = anchor();
    owner.push_at(&now, now.boot_ns, Input::End(EndReason::RootEnded));
    owner.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    assert_eq!((place.recover().filed(), place.rows()), (0, vec!["s".to_owned()]));
}

/// R3. O cannot read the start of T and writes 0 → T runs on → S reads T's real start, which is not 0, takes
/// the pid for a reused one and records a crash of a live process. Here: unknown is null, and null proves
/// nothing.
#[test]
fn r3_an_unknown_start_does_not_make_a_live_process_a_dead_one() {
    let place = Place::new();
    let (_sleeper, root) = sleeper();
    leave(&place.traces, live_with(&place, Enrollment { starttime_ticks: None, ..enrollment("s", root) }));
    let report = place.recover();
    assert_eq!(entry(&report, "s").verdict.action, RecoveryAction::Skip);
    assert!(matches!(reasons(&report, "s")[..], [GateReason::RootUnknown(_)]));
    // Without a start in the sidecar nothing names the entry of the kernel's record.
    assert_eq!(place.trace_names().len(), 2);
}

/// R4. S finds T's pid in use → T exits with 0 and is reaped → S reads T's start and finds no process → it
/// records a crash of a job that succeeded. Here: the kernel's record has the status and the time, whenever
/// it is read.
#[test]
fn r4_the_kernel_record_has_an_end_that_no_process_saw() {
    let place = Place::new();
    let root = dead_root(0);
    leave(&place.traces, live_with(&place, pinned("s", root)));
    let at = anchor().boot_ns;
    let kernel = FakeKernel::with("s", vec![ended(root, at, 7 << 8)], vec![]);
    let report = recover(&RecoverConfig { kernel: Arc::new(kernel.clone()), ..place.config() }, &mut || true);
    assert_eq!(
        reasons(&report, "s"),
        [GateReason::OwnerDied, GateReason::RootEnded(Some(WaitStatus(7 << 8)))]
    );
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.exit_code), ("EXITED 7", Some(7)));
    assert_eq!((summary.owner_fate, summary.success), (OwnerFate::Died, Some(false)));
    assert!(summary.end_ts.is_some() && summary.duration_seconds.is_some());
    assert_eq!(*kernel.unpinned.lock().unwrap(), ["s"]);

    leave(&place.traces, live_with(&place, pinned("ok", root)));
    let kernel = FakeKernel::with("ok", vec![ended(root, at, 0)], vec![]);
    recover(&RecoverConfig { kernel: Arc::new(kernel), ..place.config() }, &mut || true);
    let summary = place.summary("ok");
    assert_eq!(
        (summary.success, summary.subtype.as_str()),
        (Some(true), "success"),
        "the tracer died, and the job succeeded"
    );
}

/// R6. O dies with T = p → p is reused for T' before any sweep → O' truncates `trace_p` and T's evidence is
/// lost, or S reads T's sidecar and deletes the files of T'. Here: the names contain the start, so they
/// differ.
#[test]
fn r6_a_reused_pid_has_files_of_its_own() {
    let place = Place::new();
    let (_sleeper, current) = sleeper();
    let before = ProcessId { start_ticks: current.start_ticks - 1, ..current };
    dead(&place, "old", before);
    let new = live(&place, "new", current);
    assert_eq!(place.trace_names().len(), 4);
    let report = place.recover();
    assert!(is_filed(&report, "old"), "{report:#?}");
    assert_eq!(entry(&report, "new").outcome, RecoveryOutcome::Left);
    assert_eq!(place.summary("old").termination_reason, "UNKNOWN");
    let left = new.files().unwrap();
    assert_eq!(place.trace_names(), [left.sidecar().to_str().unwrap(), left.trace().to_str().unwrap()]);
    leave(&place.traces, new);
    let report = place.recover();
    assert_eq!(reasons(&report, "new"), [GateReason::RootRuns], "the new one is not taken for dead");
}

/// R7. O opens the trace → it is killed before the sidecar has its name: a trace that gate 1 always skips,
/// and a temporary file. Here: the sidecar is first, and temporary files of dead writers are swept.
#[test]
fn r7_killed_while_enrolling_leaves_something_to_finish_or_nothing() {
    let place = Place::new();
    dead(&place, "s", dead_root(0));
    std::fs::remove_file(path_in(&place, &place.trace_names()[1])).unwrap();
    std::fs::write(path_in(&place, ".new-0123456789abcdef"), b"{").unwrap();
    std::fs::write(path_in(&place, ".compact-9-9"), b"").unwrap();
    let report = place.recover();
    assert!(is_filed(&report, "s"), "{report:#?}");
    assert_eq!((report.swept.len(), place.trace_names()), (2, vec![]));
    let summary = place.summary("s");
    assert_eq!(
        (summary.processes.forked, summary.processes.exited),
        (1, 1),
        "the root is known from the sidecar"
    );
}

/// R8. O enrolls T as `bash` → T executes, or renames itself to, `worker` before the first sample → O and T
/// die → S finds different names in trace and sidecar and deletes both without a row. Here: a name proves
/// nothing.
#[test]
fn r8_a_changed_name_is_recorded_and_deletes_nothing() {
    let place = Place::new();
    let root = dead_root(0);
    let mut owner = live(&place, "s", root);
    let mut snapshot = ProcSnapshot::unread(root);
    snapshot.comm = Some("worker".into());
    let now = anchor();
    owner.push_at(&now, now.boot_ns, Input::Sample(SampleSet { snapshots: vec![snapshot] }));
    leave(&place.traces, owner);
    assert!(is_filed(&place.recover(), "s"));
    let summary = place.summary("s");
    assert!(summary.tracked_comm_drift);
    assert_eq!(summary.anomalies.get("identity_drift"), Some(&1));
}

/// R9. T exits between two samples → another process gets its pid → the next sample, and the peaks, are of
/// that process. Here: every sample compares the start, through a directory descriptor that stays bound to
/// one process.
#[test]
fn r9_another_process_under_the_pid_is_not_sampled() {
    let (_sleeper, current) = sleeper();
    let gone = ProcessId { start_ticks: current.start_ticks - 1, ..current };
    let mut sampler = Sampler::new(ProcRoot::system());
    assert_eq!(sampler.sample([gone], 1), vec![]);
    assert_eq!(sampler.sample([current], 2).len(), 1);
}

/// R10. T lives for less than a poll → it is never identified, and the run is recorded as crashed. Or O is
/// killed while it identifies T, and an orphaned tree runs unrecorded. Here: the session is enrolled before T
/// may exec, so the kernel's record has all of T's life.
#[test]
fn r10_a_root_with_a_very_short_life_is_recorded_with_its_status() {
    let place = Place::new();
    let root = dead_root(0);
    let session = SessionRecorder::create(&place.traces, pinned("s", root), Default::default()).unwrap();
    leave(&place.traces, session);
    let at = anchor().boot_ns;
    let child = dead_root(1);
    let fork = Fork {
        parent: root,
        parent_tid: None,
        child,
        extras: IdentityExtras::default(),
        comm: b"kid".to_vec(),
    };
    let events = vec![Event { boot_ns: at - 2, body: EventBody::Fork(fork) }];
    let kernel = FakeKernel::with("s", vec![ended(root, at, 0), ended(child, at - 1, 9)], events);
    recover(&RecoverConfig { kernel: Arc::new(kernel), ..place.config() }, &mut || true);
    let summary = place.summary("s");
    assert_eq!(summary.termination_reason, "EXITED 0");
    assert_eq!(
        (summary.processes.forked, summary.processes.exited, summary.processes.leaked.len()),
        (2, 2, 0)
    );
}

/// R11. O hangs and does not reap T: pid and start still match → T counts as alive forever. Here: a pidfd
/// decides.
#[test]
fn r11_a_zombie_is_dead_and_its_status_is_read() {
    let place = Place::new();
    let (sleeper, root) = sleeper();
    dead(&place, "s", root);
    assert_eq!(reasons(&place.recover(), "s"), [GateReason::RootRuns]);
    sleeper.kill();
    let report = place.recover();
    assert!(is_filed(&report, "s"), "{report:#?}");
    assert_eq!(place.summary("s").termination_reason, "SIGNALED SIGKILL");
    assert_eq!(place.summary("s").end_ts, None, "the time is unknown");
}

/// R12. Two pid namespaces share a tmpfs → S looks for T's pid in its own namespace, which does not have it →
/// O's live session is recorded as a crash. Here: pids of another, or an unknown, namespace prove nothing.
/// The kernel's record does.
#[test]
fn r12_pids_of_another_namespace_prove_nothing() {
    let place = Place::new();
    let root = dead_root(0);
    let elsewhere = Enrollment { pidns_ino: Some(1), ..enrollment("other", root) };
    let nowhere = Enrollment { pidns_ino: None, ..enrollment("unknown", dead_root(1)) };
    let recorded = Enrollment { pidns_ino: Some(1), ..pinned("recorded", dead_root(2)) };
    for enrollment in [elsewhere, nowhere, recorded] {
        leave(&place.traces, live_with(&place, enrollment));
    }
    let kernel = FakeKernel::with("recorded", vec![ended(dead_root(2), anchor().boot_ns, 0)], vec![]);
    let report = recover(&RecoverConfig { kernel: Arc::new(kernel), ..place.config() }, &mut || true);
    assert_eq!(reasons(&report, "other"), [GateReason::OtherNamespace]);
    assert_eq!(reasons(&report, "unknown"), [GateReason::UnknownNamespace]);
    assert!(is_filed(&report, "recorded"));
}

/// R13. The wall clock is set back → every trace is "fresh" until the clock has caught up, and no crash is
/// recorded. It is set forward → a live session looks old. Here: an age below zero is no reason to wait, and
/// the lock decides.
#[test]
fn r13_a_stepped_clock_neither_blocks_recovery_nor_ends_a_live_session() {
    let place = Place::new();
    dead(&place, "dead", dead_root(0));
    let owner = live(&place, "alive", dead_root(1));
    let policy = RecoveryPolicy { min_age: Duration::from_secs(30), adopt: false };
    let fresh = recover(&RecoverConfig { policy, ..place.config() }, &mut || true);
    assert!(matches!(reasons(&fresh, "dead")[..], [GateReason::Fresh { .. }]));

    let day = jiff::SignedDuration::from_hours(24);
    let mut config = RecoverConfig { policy, ..place.config() };
    config.here.anchor.wall = config.here.anchor.wall.checked_sub(day).unwrap();
    let report = recover(&config, &mut || true);
    assert!(is_filed(&report, "dead"), "set back by a day: {report:#?}");

    config.here.anchor.wall = config.here.anchor.wall.checked_add(day * 2).unwrap();
    assert_eq!(
        reasons(&recover(&config, &mut || true), "alive")[0],
        GateReason::OwnerLives,
        "set forward by a day"
    );
    leave(&place.traces, owner);
}

/// R14. A trace has a byte that is not UTF-8, or a line that is JSON but no object → the exception ends every
/// sweep, before the sessions after it. Here: it costs a line among the problems.
#[test]
fn r14_a_bad_byte_costs_one_reported_problem() {
    let place = Place::new();
    for (n, poison) in [&b"\xff\xfe\n"[..], b"7\n", b"{\"v\":1,\"kind\":\"snapsh", b"null\n[]\n\"\"\n", b""]
        .iter()
        .enumerate()
    {
        let id = format!("s{n}");
        let owner = live(&place, &id, dead_root(n as u32));
        let trace = place.traces.path().join(owner.files().unwrap().trace());
        leave(&place.traces, owner);
        let mut bytes = std::fs::read(&trace).unwrap();
        bytes.extend_from_slice(poison);
        std::fs::write(&trace, bytes).unwrap();
    }
    let report = place.recover();
    assert_eq!((report.filed(), report.failed()), (5, 0), "{report:#?}");
    assert_eq!(report.problems.len(), 5, "two with one, one with three: {:?}", report.problems);
    assert!(place.summary("s0").degraded && !place.summary("s2").degraded, "a torn last line is no damage");
}

/// R16. A touches the probe file → B touches it → A unlinks it → B's unlink fails → B takes another directory
/// than A. Here: no file is made to probe a directory.
#[test]
fn r16_sixteen_processes_agree_on_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let config = resolve_config(temp.path());
    let paths: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let config = &config;
                scope.spawn(move || {
                    (0..100).map(|_| TraceDir::resolve(config).unwrap().path().to_owned()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(paths.len(), 1);
    assert_eq!(std::fs::read_dir(paths.first().unwrap()).unwrap().count(), 0);
}

/// R17. A process forks twice and the middle process exits → the grandchild is no descendant of T any more,
/// and a walk down from T misses it. Here: the kernel records it as a member of the session, so it is
/// reported as leaked.
#[test]
fn r17_an_orphaned_grandchild_still_belongs_to_the_session() {
    let place = Place::new();
    let root = dead_root(0);
    leave(&place.traces, live_with(&place, pinned("s", root)));
    let (_sleeper, grandchild) = sleeper();
    let at = anchor().boot_ns;
    let kernel =
        FakeKernel::with("s", vec![ended(root, at, 0), ended(dead_root(1), at, 0), runs(grandchild)], vec![]);
    recover(&RecoverConfig { kernel: Arc::new(kernel), ..place.config() }, &mut || true);
    let summary = place.summary("s");
    let leaked: Vec<ProcessId> = summary.processes.leaked.iter().map(|it| it.process.into()).collect();
    assert_eq!((leaked, summary.anomalies.get("leaked_process")), (vec![grandchild], Some(&1)));
    assert_eq!(identify(grandchild.tgid), grandchild, "it was not touched");
}

/// R18. Another user plants files with guessable names in a world-writable directory, or a link in place of a
/// trace → a crash that never happened is recorded as the user's, or a file of the user is overwritten. Here:
/// only the user's own directory counts, and in it only the user's regular files with one name.
#[test]
fn r18_planted_and_linked_files_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let refuse = |path: &std::path::Path| {
        let config = ResolveConfig { requested: Some(path.to_owned()), ..resolve_config(path) };
        match TraceDir::resolve(&config) {
            Err(TraceDirError::Requested { reason, .. }) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let own = format!("tracer-user-{}", uid());
    let real = temp.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, temp.path().join("link")).unwrap();
    assert!(refuse(&temp.path().join("link")).contains("symbolic link"));
    std::fs::create_dir(temp.path().join("planted")).unwrap();
    std::os::unix::fs::symlink(&real, temp.path().join("planted").join(&own)).unwrap();
    assert!(refuse(&temp.path().join("planted")).contains("symbolic link"));
    std::fs::create_dir_all(temp.path().join("open").join(&own)).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let open = temp.path().join("open").join(&own);
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refuse(&temp.path().join("open")).contains("mode 777"));
    std::fs::write(temp.path().join("file"), b"").unwrap();
    assert!(refuse(&temp.path().join("file")).contains("not a directory"));
    if uid() == 0 {
        std::fs::create_dir_all(temp.path().join("foreign").join(&own)).unwrap();
        std::os::unix::fs::chown(temp.path().join("foreign").join(&own), Some(65_534), None).unwrap();
        assert!(refuse(&temp.path().join("foreign")).contains("belongs to user 65534"));
    }

    let place = Place::new();
    for n in 0..3 {
        dead(&place, &format!("s{n}"), dead_root(n));
    }
    let names = place.trace_names();
    let target = place.temp.path().join("precious");
    std::fs::copy(path_in(&place, &names[0]), &target).unwrap();
    // Three sidecars: a link, one with a second name, and (as root) one of another user.
    std::fs::remove_file(path_in(&place, &names[0])).unwrap();
    std::os::unix::fs::symlink(&target, path_in(&place, &names[0])).unwrap();
    std::fs::hard_link(path_in(&place, &names[1]), place.temp.path().join("second name")).unwrap();
    let foreign = uid() == 0;
    if foreign {
        std::os::unix::fs::chown(path_in(&place, &names[2]), Some(65_534), None).unwrap();
    }
    let report = place.recover();
    assert_eq!(report.filed(), usize::from(!foreign));
    assert!(target.exists() && path_in(&place, &names[1]).exists());
    let is_unsafe = |entry: &&tracer_user::session::recover::RecoveryEntry| {
        matches!(entry.verdict.reasons[..], [GateReason::SidecarUnsafe(_)])
    };
    assert_eq!(report.sessions.iter().filter(is_unsafe).count(), 2 + usize::from(foreign), "{report:#?}");
}

/// B1. T's name is cut inside a character → the decoder raises in the monitor → the task group is canceled,
/// and the run with it. Here: names are bytes, from the sample to the log.
#[test]
fn b1_a_name_that_is_not_utf8_stops_nothing() {
    let place = Place::new();
    let root = dead_root(0);
    let name = [&b"l\xc3\xa4ufer-f\xc3\xbcr-\xc3"[..], b"\x1b[2J\n\xff\\"];
    let mut owner = live(&place, "s", root);
    let now = anchor();
    for (n, name) in name.into_iter().enumerate() {
        let mut snapshot = ProcSnapshot::unread(root);
        snapshot.comm = Some(name.into());
        let child = dead_root(1 + n as u32);
        let fork = Fork {
            parent: root,
            parent_tid: None,
            child,
            extras: IdentityExtras::default(),
            comm: name.to_vec(),
        };
        owner.push_at(
            &now,
            now.boot_ns,
            Input::Kernel(Event { boot_ns: now.boot_ns, body: EventBody::Fork(fork) }),
        );
        owner.push_at(&now, now.boot_ns, Input::Sample(SampleSet { snapshots: vec![snapshot] }));
    }
    leave(&place.traces, owner);
    let report = place.recover();
    assert!(is_filed(&report, "s") && report.problems.is_empty(), "{report:#?}");
    let trace = std::fs::read_to_string(place.temp.path().join("log/sessions/s/proc_trace.jsonl")).unwrap();
    assert!(trace.contains("läufer-für-\\\\xc3") && !trace.contains('\x1b'));
}

/// After a reboot the process under the root's pid is another one, and the session is over.
#[test]
fn a_session_of_an_earlier_boot_is_recorded_as_rebooted() {
    let place = Place::new();
    let (_sleeper, root) = sleeper();
    let mut owner = live_with(&place, Enrollment { boot_id: Some("before".into()), ..enrollment("s", root) });
    let now = anchor();
    owner.push_at(&now, now.boot_ns, joined(dead_root(5), Origin::Found));
    leave(&place.traces, owner);
    let report = place.recover();
    assert_eq!(reasons(&report, "s"), [GateReason::OwnerDied, GateReason::Rebooted]);
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.subtype.as_str()), ("REBOOTED", "rebooted"));
    assert_eq!((summary.processes.leaked.len(), summary.end_ts, place.trace_names()), (0, None, vec![]));
}

/// A job that outlives its tracer is left alone, or taken over with everything that was recorded about it.
#[test]
fn a_live_root_is_skipped_or_adopted() {
    let place = Place::new();
    let (_sleeper, root) = sleeper();
    leave(&place.traces, live_with(&place, pinned("s", root)));
    let kernel = FakeKernel::with("s", vec![runs(root)], vec![]);
    let config = RecoverConfig { kernel: Arc::new(kernel.clone()), ..place.config() };
    assert_eq!(reasons(&recover(&config, &mut || true), "s"), [GateReason::RootRuns]);

    let config = RecoverConfig { policy: RecoveryPolicy { min_age: Duration::ZERO, adopt: true }, ..config };
    let mut report = recover(&config, &mut || true);
    assert_eq!(entry(&report, "s").outcome, RecoveryOutcome::Adopted);
    let adoption = report.adopted.pop().unwrap();
    assert_eq!(adoption.pins.as_deref(), Some("s"));
    assert!(kernel.unpinned.lock().unwrap().is_empty());
    assert_eq!(reasons(&place.recover(), "s")[0], GateReason::OwnerLives, "it has an owner again");
    let now = anchor();
    let mut session = adoption.resume();
    tracer_user::session::recover::reconcile(&mut session, vec![ended(root, now.boot_ns, 3 << 8)], &now);
    session.push_at(&now, now.boot_ns, Input::End(EndReason::RootEnded));
    let finished = session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    assert_eq!(finished.summary.termination_reason, "EXITED 3");
    let events = std::fs::read_to_string(place.temp.path().join("log/sessions/s/events.jsonl")).unwrap();
    let seqs: Vec<u64> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "one trace without a gap");
    assert!(events.contains("\"adopted\"") && events.contains("\"fate_map\""));
}

#[test]
fn a_dry_run_prints_the_same_plan_and_does_nothing() {
    let place = Place::new();
    dead(&place, "dead", dead_root(0));
    dead(&place, "dead2", dead_root(1));
    let _owner = live(&place, "alive", dead_root(2));
    std::fs::write(path_in(&place, "trace_7-7.jsonl"), b"").unwrap();
    let plan = |report: &tracer_user::session::recover::RecoveryReport| {
        report.sessions.iter().map(|e| (e.files.clone(), e.verdict.clone())).collect::<Vec<_>>()
    };
    let names = place.trace_names();
    let dry = recover(&RecoverConfig { dry_run: true, ..place.config() }, &mut || true);
    assert_eq!((place.trace_names(), place.filed()), (names, vec![]));
    assert!(!place.temp.path().join("log").exists());
    let real = place.recover();
    assert_eq!(plan(&dry), plan(&real));
    assert_eq!(real.filed(), 2);
    assert_eq!(entry_of(&real, "7-7").verdict.reasons, [GateReason::NotEnrolled]);
    assert!(path_in(&place, "trace_7-7.jsonl").exists(), "a trace without an enrollment is left alone");
}

fn entry_of<'a>(
    report: &'a tracer_user::session::recover::RecoveryReport,
    files: &str,
) -> &'a tracer_user::session::recover::RecoveryEntry {
    report.sessions.iter().find(|entry| entry.files == files).unwrap()
}

/// The trace records the source of an end that only `/proc` shows.
#[test]
fn an_end_that_no_process_saw_has_proc_as_its_source() {
    let place = Place::new();
    dead(&place, "s", dead_root(0));
    place.recover();
    let events = std::fs::read_to_string(place.temp.path().join("log/sessions/s/events.jsonl")).unwrap();
    let exit = events.lines().find(|line| line.contains("\"exit\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(exit).unwrap();
    assert_eq!(line["source"], serde_json::to_value(ExitSource::Proc).unwrap());
    assert!(line["status"].is_null());
}
