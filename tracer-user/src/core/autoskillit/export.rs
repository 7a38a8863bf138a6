//! A session of this tracer as the documents of a session in AutoSkillit's log.

use super::{snapshot_json, time_text};
use crate::core::anomaly::Phase;
use crate::core::identity::ProcessId;
use crate::core::record::{AnomalyLine, Body, Line, Origin, ProcessKey};
use crate::core::redact;
use crate::core::signal::Signal;
use crate::core::snapshot::ProcSnapshot;
use crate::core::summary::{OwnerFate, Summary};
use crate::core::text::ByteString;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Characters of a command in a row of its index.
const ROW_COMMAND_CHARS: usize = 100;

/// What its log has of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionDocuments {
    /// The name of its directory. Its readers refuse a name with a dot.
    pub dir_name: String,
    /// `summary.json`
    pub summary: Value,
    /// `proc_trace.jsonl`: the snapshots of the root.
    pub snapshots: Vec<Value>,
    /// `anomalies.jsonl`
    pub anomalies: Vec<Value>,
    /// `meta.json`; `None` for a session that belongs to no campaign.
    pub meta: Option<Value>,
    /// Its row in `sessions.jsonl`.
    pub row: Value,
}

/// The documents of a session. `usage` is its attached `token_usage.json`, where there is one.
pub fn documents(summary: &Summary, trace: &[Line], usage: Option<&Value>) -> SessionDocuments {
    let dir_name = safe_name(&summary.dir_name);
    let root = (summary.pid, summary.starttime_ticks);
    let mut snapshots = Vec::new();
    let mut anomalies = Vec::new();
    let mut last: HashMap<ProcessId, (&str, &ProcSnapshot)> = HashMap::new();
    let executed_at = execution_of(trace, root);
    for line in trace {
        match &line.body {
            Body::Snapshot(taken) => {
                let taken = &taken.snapshot;
                last.insert(process_of(taken), (&line.ts, taken));
                if (taken.pid, Some(taken.start_ticks)) == root && line.seq >= executed_at {
                    snapshots.push(trace_row(&line.ts, snapshots.len(), taken));
                }
            }
            // One that lasts is raised when it begins.
            Body::Anomaly(anomaly) if anomaly.phase != Phase::End => {
                let seen = anomaly.process.and_then(|process| last.get(&process.into()));
                anomalies.push(anomaly_row(&line.ts, anomalies.len(), anomaly, seen));
            }
            _ => {}
        }
    }
    let label = |name: &str| summary.labels.get(name).cloned().unwrap_or_default();
    let shared = shared_fields(summary, &dir_name, snapshots.len(), anomalies.len());
    let meta = summary
        .labels
        .contains_key("campaign_id")
        .then(|| json!({ "campaign_id": label("campaign_id"), "dispatch_id": label("dispatch_id") }));
    SessionDocuments {
        summary: summary_json(summary, shared.clone(), &label),
        row: row_json(summary, shared, &label, usage),
        dir_name,
        snapshots,
        anomalies,
        meta,
    }
}

/// A name that its readers accept: letters, digits, `_` and `-`, beginning with a letter or digit.
fn safe_name(name: &str) -> String {
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-', "-");
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { format!("s{name}") }
}

/// The number of the line from which on a root that the tracer started runs its own program: what was seen of
/// it before is the tracer, forked.
fn execution_of(trace: &[Line], root: (u32, Option<u64>)) -> u64 {
    let is_root = |process: &ProcessKey| (process.pid, Some(process.start_ticks)) == root;
    let started = trace.iter().any(|line| {
        matches!(&line.body, Body::Fork(fork) if fork.origin == Origin::Root && is_root(&fork.process))
    });
    let executed = trace.iter().find(|line| matches!(&line.body, Body::Exec(exec) if is_root(&exec.process)));
    executed.filter(|_| started).map_or(0, |line| line.seq)
}

fn process_of(snapshot: &ProcSnapshot) -> ProcessId {
    ProcessKey { pid: snapshot.pid, start_ticks: snapshot.start_ticks }.into()
}

fn trace_row(ts: &str, seq: usize, snapshot: &ProcSnapshot) -> Value {
    let mut row = snapshot_json(ts, snapshot);
    row["ts"] = time_text(ts).into();
    row["seq"] = seq.into();
    row["pid"] = snapshot.pid.into();
    row["event"] = "snapshot".into();
    row
}

fn anomaly_row(ts: &str, seq: usize, anomaly: &AnomalyLine, seen: Option<&(&str, &ProcSnapshot)>) -> Value {
    json!({
        "ts": time_text(ts),
        "seq": seq,
        "event": "anomaly",
        "kind": anomaly.anomaly.name(),
        "severity": anomaly.severity,
        "pid": anomaly.process.map_or(0, |process| process.pid),
        "detail": anomaly.detail,
        "snapshot": seen.map_or_else(|| json!({}), |(ts, snapshot)| snapshot_json(ts, snapshot)),
    })
}

/// The fields that a summary and a row have in common.
fn shared_fields(
    summary: &Summary,
    dir_name: &str,
    snapshots: usize,
    anomalies: usize,
) -> Map<String, Value> {
    let text = |text: &Option<ByteString>| text.as_ref().map(ByteString::escaped);
    let fields = json!({
        "session_id": dir_name,
        "dir_name": dir_name,
        "cwd": text(&summary.cwd).unwrap_or_default(),
        // The log of the client whose sessions it runs.
        "claude_code_log": null,
        "success": summary.success.unwrap_or(false),
        "subtype": subtype(summary),
        "cli_subtype": "",
        "exit_code": exit_code(summary),
        "snapshot_count": snapshots,
        "anomaly_count": anomalies,
        "peak_rss_kb": summary.peak_rss_kb.unwrap_or(0),
        "peak_oom_score": summary.peak_oom_score.unwrap_or(0),
        "write_call_count": 0,
        "tracked_comm": text(&summary.tracked_comm),
        "tracked_comm_drift": summary.tracked_comm_drift,
        "duration_seconds": summary.duration_seconds,
        "github_api_requests": 0,
        "provider_used": "",
        "provider_fallback": false,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn summary_json(summary: &Summary, mut fields: Map<String, Value>, label: &impl Fn(&str) -> String) -> Value {
    let more = json!({
        "pid": summary.pid,
        "skill_command": command(summary),
        "start_ts": time_text(&summary.start_ts),
        "end_ts": summary.end_ts.as_deref().map(time_text).unwrap_or_default(),
        "silent_gap_seconds": null,
        "snapshot_interval_seconds": summary.snapshot_interval_seconds,
        "peak_fd_ratio": summary.peak_fd_ratio.unwrap_or(0.0),
        "termination_reason": termination_reason(summary),
        "kill_reason": "",
        "write_path_warnings": [],
        "clone_contamination_reverted": false,
        "tracer_target_resolution_version": 2,
        "orphaned_tool_result": false,
        "last_stop_reason": "",
        "request_ids": [],
        "turn_timestamps": [],
        "turn_tool_calls": [],
        "campaign_id": label("campaign_id"),
        "dispatch_id": label("dispatch_id"),
        "caller_session_id": label("caller_session_id"),
    });
    fields.extend(more.as_object().cloned().unwrap_or_default());
    fields.into()
}

fn row_json(
    summary: &Summary,
    mut fields: Map<String, Value>,
    label: &impl Fn(&str) -> String,
    usage: Option<&Value>,
) -> Value {
    let tokens = |name: &str| usage.and_then(|usage| usage[name].as_u64()).unwrap_or(0);
    let more = json!({
        "timestamp": time_text(&summary.start_ts),
        "kitchen_id": label("kitchen_id"),
        "order_id": label("order_id"),
        "campaign_id": label("campaign_id"),
        "dispatch_id": label("dispatch_id"),
        "skill_command": command(summary).chars().take(ROW_COMMAND_CHARS).collect::<String>(),
        "step_name": label("step_name"),
        "input_tokens": tokens("input_tokens"),
        "output_tokens": tokens("output_tokens"),
        "cache_creation_input_tokens": tokens("cache_creation_input_tokens"),
        "cache_read_input_tokens": tokens("cache_read_input_tokens"),
        "autoskillit_version": label("autoskillit_version"),
        "claude_code_version": label("claude_code_version"),
        "recipe_name": label("recipe_name"),
        "recipe_content_hash": label("recipe_content_hash"),
        "recipe_composite_hash": label("recipe_composite_hash"),
        "recipe_version": label("recipe_version"),
        "caller_session_id": label("caller_session_id"),
    });
    fields.extend(more.as_object().cloned().unwrap_or_default());
    fields.into()
}

fn command(summary: &Summary) -> String {
    redact::argv(&summary.cmdline).join(" ")
}

/// The owner died and the end of the job is unknown: that is what it calls a crash.
fn is_crash(summary: &Summary) -> bool {
    summary.owner_fate == OwnerFate::Died && summary.success.is_none()
}

fn subtype(summary: &Summary) -> &str {
    if is_crash(summary) { "crashed" } else { &summary.subtype }
}

/// As its client library has it: minus the number of the signal; -1 when it is unknown.
fn exit_code(summary: &Summary) -> i64 {
    let by_signal = || {
        let name = summary.signal.as_deref()?;
        (1..=64).find(|number| Signal(*number).name() == name).map(|number| -i64::from(number))
    };
    summary.exit_code.map(i64::from).or_else(by_signal).unwrap_or(-1)
}

/// One of its own words where there is one for it, else this tracer's.
fn termination_reason(summary: &Summary) -> &str {
    match summary.subtype.as_str() {
        _ if is_crash(summary) => "CRASHED",
        "timeout" => "timed_out",
        "hang" => "stale",
        _ if summary.exit_code.is_some() => "natural_exit",
        _ => &summary.termination_reason,
    }
}
