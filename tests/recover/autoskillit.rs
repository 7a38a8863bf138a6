//! AutoSkillit's files of schema 1 and 2, as its own writers leave them, are recovered into this tool's log.

use std::path::Path;

use tracer_user::core::gates::GateReason;
use tracer_user::core::summary::OwnerFate;
use tracer_user::session::recover::{RecoverConfig, RecoveryReport};
use tracer_user::store::autoskillit::Mirror;
use tracer_user::store::{Layout, TraceDir};

use crate::sessions::*;

fn sweep(place: &Place, dir: &Path) -> RecoveryReport {
    let traces = TraceDir::foreign(dir, uid()).unwrap();
    recover(&RecoverConfig { traces, layout: Layout::AutoSkillit, ..place.config() }, &mut || true)
}

/// A snapshot with the nineteen fields of its writer, in its order.
fn snapshot(captured_at: &str, comm: &str, state: &str, oom_score: i32, wchan: &str) -> String {
    serde_json::json!({
        "captured_at": captured_at, "comm": comm, "state": state, "vm_rss_kb": 204_800, "threads": 12, "fd_count": 31,
        "fd_soft_limit": -1, "ctx_switches_voluntary": 1_000, "ctx_switches_involuntary": 7,
        "sig_pnd": "0000000000000000", "sig_blk": "", "sig_cgt": "0000000180004a02", "oom_score": oom_score,
        "wchan": wchan, "cpu_percent": 1.5, "api_connection_established": 1,
        "api_connection_states": {"ESTABLISHED": 1}, "io_read_bytes": null, "io_write_bytes": 4096
    })
    .to_string()
}

fn write(dir: &Path, pid: u32, sidecar: serde_json::Value, trace: &[String]) {
    std::fs::write(dir.join(format!("autoskillit_enrollment_{pid}.json")), sidecar.to_string()).unwrap();
    let text: String = trace.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join(format!("autoskillit_trace_{pid}.jsonl")), text).unwrap();
}

fn schema_2(pid: u32, ticks: u64) -> serde_json::Value {
    serde_json::json!({
        "schema_version": 2, "pid": pid, "boot_id": here().boot_id, "starttime_ticks": ticks, "session_id": "",
        "kitchen_id": "kitchen", "order_id": "", "enrolled_at": "2026-05-01T10:00:00.000000+00:00", "comm": "worker"
    })
}

#[test]
fn schema_2_is_recovered_with_nulls_for_what_it_cannot_express() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let trace = [
        snapshot("2026-05-01T10:00:05.000000+00:00", "worker", "sleeping", -1, ""),
        snapshot("2026-05-01T10:00:10.000000+00:00", "worker", "disk-sleep", 300, "nfs_wait"),
        snapshot("2026-05-01T10:00:15.000000+00:00", "node", "disk-sleep", 900, "nfs_wait"),
        "{\"captured_at\": \"2026-05-01T10:00:2".to_owned(),
    ];
    write(dir.path(), UNUSED_PID, schema_2(UNUSED_PID, 4_711), &trace);
    let report = sweep(&place, dir.path());
    assert_eq!((report.filed(), report.problems.len()), (1, 1), "{report:#?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let id = format!("crashed_{UNUSED_PID}_2026-05-01T10-00-00.000000-00-00");
    assert_eq!(place.filed(), std::slice::from_ref(&id));
    let summary = place.summary(&id);
    assert_eq!((summary.owner_fate, summary.termination_reason.as_str()), (OwnerFate::Died, "UNKNOWN"));
    assert_eq!(
        (summary.snapshot_count, summary.peak_oom_score, summary.peak_rss_kb),
        (3, Some(900), Some(204_800))
    );
    assert_eq!(summary.labels.get("kitchen_id").map(String::as_str), Some("kitchen"));
    let kinds: Vec<_> = summary.anomalies.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["d_state_sustained", "identity_drift", "oom_critical", "oom_spike"], "-1 is no score");
    let lines =
        std::fs::read_to_string(place.temp.path().join("log/sessions").join(&id).join("proc_trace.jsonl"))
            .unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["ts"], "2026-05-01T10:00:05.000000Z");
    for unknown in ["oom_score", "wchan", "sig_blk", "fd_soft_limit", "io_read_bytes"] {
        assert!(first[unknown].is_null(), "{unknown}: {first}");
    }
    assert_eq!((first["comm"].as_str(), first["io_write_bytes"].as_u64()), (Some("worker"), Some(4096)));
}

#[test]
fn schema_1_a_live_process_a_reboot_and_a_trace_without_a_sidecar() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let one = serde_json::json!({
        "schema_version": 1, "pid": UNUSED_PID, "boot_id": null, "starttime_ticks": null,
        "session_id": "from-the-client", "enrolled_at": "2026-05-01T10:00:00+00:00", "comm": ""
    });
    write(dir.path(), UNUSED_PID, one, &[]);
    let (_sleeper, alive) = sleeper();
    write(dir.path(), alive.tgid, schema_2(alive.tgid, alive.start_ticks), &[]);
    let mut rebooted = schema_2(UNUSED_PID + 1, 5);
    rebooted["boot_id"] = "another".into();
    write(
        dir.path(),
        UNUSED_PID + 1,
        rebooted,
        &[snapshot("2026-05-01T10:00:05+00:00", "node", "sleeping", 0, "0")],
    );
    std::fs::write(dir.path().join("autoskillit_trace_77.jsonl"), b"").unwrap();
    std::fs::write(dir.path().join("other.json"), b"").unwrap();

    let report = sweep(&place, dir.path());
    assert_eq!((report.filed(), report.problems.len()), (2, 0), "{report:#?}");
    assert_eq!(place.summary("from-the-client").termination_reason, "UNKNOWN");
    let other = place.filed().into_iter().find(|name| name.starts_with("crashed_")).unwrap();
    assert_eq!(place.summary(&other).termination_reason, "REBOOTED");
    let reasons = |files: &str| {
        let found = report.sessions.iter().find(|entry| entry.files == files);
        found.unwrap().verdict.reasons.clone()
    };
    assert_eq!(reasons(&alive.tgid.to_string()), [GateReason::RootRuns]);
    assert_eq!(reasons("77"), [GateReason::NotEnrolled]);
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 4, "{left:?}");
}

/// A start of 0 means "unreadable" there. It is no reason to take a live process for another one.
#[test]
fn an_unreadable_start_is_unknown() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let (_sleeper, alive) = sleeper();
    write(dir.path(), alive.tgid, schema_2(alive.tgid, 0), &[]);
    let report = sweep(&place, dir.path());
    assert_eq!(report.filed(), 0);
    assert!(matches!(report.sessions[0].verdict.reasons[..], [GateReason::RootUnknown(_)]), "{report:#?}");
}

/// The copy for AutoSkillit's readers has all of its fields, and recovery accepts it too.
#[test]
fn a_run_writes_what_autoskillit_reads() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let (sleeper, root) = sleeper();
    let mut session = live(&place, "mirrored", root);
    session.subscribe(Mirror::create(dir.path(), session.enrollment(), None).unwrap());
    let mut sampler = tracer_user::procfs_view::snapshot::Sampler::new(here().proc);
    let now = anchor();
    let snapshots = sampler.sample([root], now.boot_ns);
    let sample = tracer_user::core::session_state::SampleSet { snapshots };
    session.push_at(&now, now.boot_ns, tracer_user::core::session_state::Input::Sample(sample));

    let read = |name: String| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let line: serde_json::Value =
        serde_json::from_str(read(format!("autoskillit_trace_{}.jsonl", root.tgid)).trim()).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&snapshot("", "", "", 0, "")).unwrap();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&line), fields(&expected));
    // It may not sleep yet.
    assert!(matches!(line["state"].as_str(), Some("sleeping" | "running" | "disk-sleep")), "{line}");
    assert_eq!(line["comm"].as_str(), Some("sleep"));
    assert!(
        line["captured_at"].as_str().unwrap().ends_with("+00:00") && line["vm_rss_kb"].as_u64().unwrap() > 0
    );
    let sidecar: serde_json::Value =
        serde_json::from_str(&read(format!("autoskillit_enrollment_{}.json", root.tgid))).unwrap();
    assert_eq!(fields(&sidecar), fields(&schema_2(1, 1)));
    assert_eq!(
        (sidecar["schema_version"].as_u64(), sidecar["starttime_ticks"].as_u64()),
        (Some(2), Some(root.start_ticks))
    );

    // After its tracer died the copy can be recovered, as well as the session.
    leave(&place.traces, session);
    sleeper.kill();
    assert_eq!(sweep(&place, dir.path()).filed(), 1);
    assert_eq!(place.summary("mirrored").snapshot_count, 1);
}

/// A mirror replaces no file of other sessions, and its removal leaves nothing for its readers.
#[test]
fn a_mirror_replaces_nothing_and_leaves_nothing() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let mut mirror;
    let mut session = live(&place, "s", dead_root(0));
    mirror = Mirror::create(dir.path(), session.enrollment(), None).unwrap();
    session.subscribe(&mut mirror);
    let other = live(&place, "other", dead_root(0));
    assert!(
        Mirror::create(dir.path(), other.enrollment(), None).is_err(),
        "files of other sessions are not replaced"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    mirror.remove().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Its owner has no lock. As long as it has the trace open for writing, it lives, whatever its target does.
#[test]
fn a_live_owner_whose_target_ended_keeps_its_files() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let trace: Vec<_> = (10..28)
        .map(|second| {
            snapshot(&format!("2026-05-01T10:00:{second}.000000+00:00"), "worker", "sleeping", 0, "0")
        })
        .collect();
    write(dir.path(), UNUSED_PID, schema_2(UNUSED_PID, 4_711), &trace);
    let path = dir.path().join(format!("autoskillit_trace_{UNUSED_PID}.jsonl"));
    let owner = std::fs::OpenOptions::new().append(true).open(&path).unwrap();

    let report = sweep(&place, dir.path());
    assert_eq!(report.filed(), 0, "{report:#?}");
    assert_eq!(report.sessions[0].verdict.reasons, [GateReason::TraceOpen]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 18);
    // A reader is no owner.
    let reader = std::fs::File::open(&path).unwrap();
    drop(owner);
    let report = sweep(&place, dir.path());
    assert_eq!(report.filed(), 1, "{report:#?}");
    assert_eq!(place.summary(&place.filed()[0]).snapshot_count, 18);
    drop(reader);
}

/// Schema 1 does not contain the name of the target. Most snapshots do.
#[test]
fn without_a_name_in_the_sidecar_the_usual_one_counts() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let mut sidecar = schema_2(UNUSED_PID, 4_711);
    sidecar["schema_version"] = 1.into();
    sidecar.as_object_mut().unwrap().remove("comm");
    let trace: Vec<_> = (["script", "node", "node", "", "other"].iter().enumerate())
        .map(|(at, comm)| snapshot(&format!("2026-05-01T10:00:1{at}.000000+00:00"), comm, "sleeping", 0, "0"))
        .collect();
    write(dir.path(), UNUSED_PID, sidecar, &trace);
    assert_eq!(sweep(&place, dir.path()).filed(), 1);
    let summary = place.summary(&place.filed()[0]);
    assert_eq!(summary.tracked_comm.map(|comm| comm.escaped()).as_deref(), Some("node"));
    assert!(summary.tracked_comm_drift);
}
