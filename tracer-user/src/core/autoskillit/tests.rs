//! A session becomes its documents with every field that its readers look for, and is read back from them.

use super::*;
use crate::core::anomaly::{AnomalyKind, Phase, Severity};
use crate::core::identity::ProcessId;
use crate::core::record::{AnomalyLine, Body, Line, SnapshotLine, TRACE_VERSION};
use crate::core::snapshot::ProcSnapshot;
use crate::core::summary::{OwnerFate, Summary};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ROOT: ProcessId = ProcessId { tgid: 100, start_ticks: 5 };
const CHILD: ProcessId = ProcessId { tgid: 101, start_ticks: 6 };

fn summary() -> Summary {
    serde_json::from_value(json!({
        "v": 1, "session_id": "run.1", "dir_name": "run.1", "pid": 100, "starttime_ticks": 5, "boot_id": "b",
        "cwd": "/work", "cmdline": ["make", "--token", "s3cret"], "success": true, "subtype": "success",
        "exit_code": 0, "signal": null, "start_ts": "2026-05-01T10:00:00.000000Z",
        "end_ts": "2026-05-01T10:00:09.000000Z", "duration_seconds": 9.0, "snapshot_interval_seconds": 5.0,
        "snapshot_count": 3, "anomaly_count": 1, "anomalies": {}, "peak_rss_kb": null, "peak_oom_score": 3,
        "peak_fd_ratio": 0.5, "termination_reason": "EXITED 0", "tracked_comm": "make", "tracked_comm_drift": false,
        "owner_fate": "finished", "processes": {"forked": 2, "found": 0, "exited": 2, "peak": 2, "leaked": []},
        "stalls": {"count": 0, "longest_ms": 0, "total_ms": 0, "by_resource": []}, "events_lost": 0,
        "snapshots_dropped": 0, "degraded": false, "cpu_seconds": 1.0, "kernel_events": true,
        "labels": {"kitchen_id": "k", "campaign_id": "c"}, "tracer_version": "0"
    }))
    .unwrap()
}

fn line(seconds: u64, body: Body) -> Line {
    let ts = format!("2026-05-01T10:00:0{seconds}.000000Z");
    Line { v: TRACE_VERSION, seq: seconds, ts, ts_adjusted: false, boot_ns: seconds * 1_000_000_000, body }
}

fn snapshot(process: ProcessId, comm: &str) -> Body {
    let mut snapshot = ProcSnapshot::unread(process);
    snapshot.comm = Some(comm.into());
    Body::Snapshot(Box::new(SnapshotLine { snapshot }))
}

fn anomaly(phase: Phase) -> Body {
    Body::Anomaly(Box::new(AnomalyLine {
        anomaly: AnomalyKind::HighCpuSustained,
        severity: Severity::Warning,
        phase,
        process: Some(CHILD.into()),
        comm: None,
        length_ms: None,
        detail: BTreeMap::from([("cpu_percent".to_owned(), json!(97.0))]),
    }))
}

fn trace() -> Vec<Line> {
    vec![
        line(1, snapshot(ROOT, "make")),
        line(2, snapshot(CHILD, "cc")),
        line(3, anomaly(Phase::Begin)),
        line(4, snapshot(ROOT, "make")),
        line(5, anomaly(Phase::End)),
    ]
}

#[test]
fn a_session_becomes_documents_with_its_values_for_what_is_unknown() {
    let usage = json!({"input_tokens": 7});
    let out = documents(&summary(), &trace(), Some(&usage));
    assert_eq!(out.dir_name, "run-1", "its readers refuse a dot");
    assert_eq!(out.snapshots.len(), 2, "of the root alone");
    let row = &out.snapshots[1];
    assert_eq!(
        (&row["ts"], &row["seq"], &row["pid"]),
        (&json!("2026-05-01T10:00:04.000000+00:00"), &json!(1), &json!(100))
    );
    assert_eq!(
        (&row["event"], &row["oom_score"], &row["captured_at"]),
        (&json!("snapshot"), &json!(-1), &row["ts"])
    );
    assert_eq!(out.anomalies.len(), 1, "one that lasts is one anomaly");
    let anomaly = &out.anomalies[0];
    assert_eq!((&anomaly["kind"], &anomaly["event"]), (&json!("high_cpu_sustained"), &json!("anomaly")));
    assert_eq!((&anomaly["pid"], &anomaly["snapshot"]["comm"]), (&json!(101), &json!("cc")));
    assert_eq!(out.meta, Some(json!({"campaign_id": "c", "dispatch_id": ""})));
    for (field, value) in [
        ("session_id", json!("run-1")),
        ("kitchen_id", json!("k")),
        ("order_id", json!("")),
        ("timestamp", json!("2026-05-01T10:00:00.000000+00:00")),
        ("skill_command", json!("make --token ***")),
        ("input_tokens", json!(7)),
        ("peak_rss_kb", json!(0)),
        ("exit_code", json!(0)),
    ] {
        assert_eq!(out.row[field], value, "{field}");
    }
    assert!(out.row.get("termination_reason").is_none() && out.row.get("start_ts").is_none());
    let summary = &out.summary;
    assert_eq!(
        (&summary["termination_reason"], &summary["peak_fd_ratio"]),
        (&json!("natural_exit"), &json!(0.5))
    );
    assert_eq!(summary["tracer_target_resolution_version"], 2);
}

#[test]
fn ends_have_its_codes_and_words() {
    let end = |subtype: &str, change: &dyn Fn(&mut Summary)| {
        let mut summary = Summary { subtype: subtype.to_owned(), ..summary() };
        change(&mut summary);
        let out = documents(&summary, &[], None).summary;
        (
            out["exit_code"].as_i64().unwrap(),
            out["subtype"].as_str().unwrap().to_owned(),
            out["termination_reason"].as_str().unwrap().to_owned(),
        )
    };
    let killed = |summary: &mut Summary| {
        (summary.success, summary.exit_code) = (Some(false), None);
        summary.signal = Some("SIGKILL".to_owned());
        summary.termination_reason = "SIGNALED SIGKILL".to_owned();
    };
    assert_eq!(end("killed", &killed), (-9, "killed".into(), "SIGNALED SIGKILL".into()));
    assert_eq!(end("timeout", &killed), (-9, "timeout".into(), "timed_out".into()));
    let unknown = |summary: &mut Summary| {
        (summary.success, summary.exit_code) = (None, None);
        summary.owner_fate = OwnerFate::Died;
    };
    assert_eq!(end("unknown", &unknown), (-1, "crashed".into(), "CRASHED".into()));
    // A job that succeeded while its tracer was dead is a success.
    let survived = |summary: &mut Summary| summary.owner_fate = OwnerFate::Died;
    assert_eq!(end("success", &survived), (0, "success".into(), "natural_exit".into()));
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    let out = documents(&summary(), &trace(), None);
    let row = index_row(&bytes(&out.row)).unwrap();
    assert_eq!(
        (row.kitchen_id.as_deref(), row.order_id, row.campaign_id.as_deref()),
        (Some("k"), None, Some("c"))
    );
    assert_eq!(
        (row.success, row.exit_code, row.termination_reason.as_str()),
        (Some(true), Some(0), "EXITED 0")
    );
    assert_eq!(row.timestamp, "2026-05-01T10:00:00.000000Z");
    let mut session = LoggedSession::new(&bytes(&out.summary)).unwrap();
    let rows: Vec<_> = out.snapshots.iter().map(bytes).collect();
    session.add_snapshots("s", rows.iter().map(Vec::as_slice));
    let more = [
        bytes(&out.anomalies[0]),
        bytes(&json!({"ts": "2026-05-01T10:00:06+00:00", "kind": "new", "detail": {}})),
        b"7".to_vec(),
    ];
    session.add_anomalies("a", more.iter().map(Vec::as_slice));
    session.finish();
    let kinds: Vec<_> = session.trace.iter().map(|line| line.body.kind()).collect();
    assert_eq!(kinds, ["snapshot", "anomaly", "snapshot", "note"], "in the order of their times");
    assert_eq!(session.trace[1].boot_ns, 3_000_000_000, "since the beginning");
    assert_eq!(session.problems.len(), 1, "{:?}", session.problems);
    assert_eq!((session.summary.pid, session.summary.duration_seconds), (100, Some(9.0)));
    assert_eq!(session.summary.anomalies.get("high_cpu_sustained"), Some(&1));
}

/// A row of an old version, of a session whose owner died: -1 is no exit code, and "" is no label.
#[test]
fn a_crash_has_no_exit_code() {
    let row = json!({
        "session_id": "crashed_7_x", "dir_name": "crashed_7_x", "timestamp": "2026-05-01T10:00:00+00:00", "cwd": "",
        "kitchen_id": "", "success": false, "subtype": "crashed", "exit_code": -1, "snapshot_count": 0,
        "peak_rss_kb": 0, "peak_oom_score": 0, "tracked_comm": null
    });
    let row = index_row(&bytes(&row)).unwrap();
    assert_eq!((row.success, row.exit_code, row.owner_fate), (None, None, OwnerFate::Died));
    assert_eq!((row.termination_reason.as_str(), row.peak_rss_kb, row.cwd), ("UNKNOWN", None, None));
    assert!(row.labels.is_empty());
    assert!(index_row(b"{}").is_err());
}
