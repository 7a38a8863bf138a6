//! Its snapshots: nineteen fields of one process.

use super::time_text;
use crate::core::identity::ProcessId;
use crate::core::signal::SignalSet;
use crate::core::snapshot::ProcSnapshot;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// Why a line of its trace is not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not JSON, or lacks a field.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its time cannot be parsed.
    #[error(transparent)]
    Time(#[from] jiff::Error),
}

/// A line of its trace, or of the trace in its log, as a snapshot of this process; and when it was taken.
///
/// # Errors
/// When the line is not a snapshot.
pub fn read_snapshot(bytes: &[u8], root: ProcessId) -> Result<(Timestamp, ProcSnapshot), SnapshotError> {
    let raw: RawSnapshot = serde_json::from_slice(bytes)?;
    let at = raw.captured_at.parse::<Timestamp>()?;
    let mut snapshot = ProcSnapshot::unread(root);
    let known = |text: Option<String>| text.filter(|text| !text.is_empty());
    let set = |text: Option<String>| u64::from_str_radix(&text?, 16).ok().map(SignalSet);
    snapshot.comm = known(raw.comm).map(|comm| comm.as_str().into());
    snapshot.state = raw.state.and_then(|state| serde_json::from_value(state).ok());
    snapshot.vm_rss_kb = raw.vm_rss_kb;
    snapshot.threads = raw.threads;
    snapshot.fd_count = raw.fd_count;
    snapshot.fd_soft_limit = raw.fd_soft_limit.and_then(|limit| u64::try_from(limit).ok());
    snapshot.ctx_switches_voluntary = raw.ctx_switches_voluntary;
    snapshot.ctx_switches_involuntary = raw.ctx_switches_involuntary;
    snapshot.sig_pnd = set(raw.sig_pnd);
    snapshot.sig_blk = set(raw.sig_blk);
    snapshot.sig_cgt = set(raw.sig_cgt);
    snapshot.oom_score = raw.oom_score.filter(|score| *score >= 0);
    snapshot.wchan = known(raw.wchan).map(|wchan| wchan.as_str().into());
    snapshot.cpu_percent = raw.cpu_percent;
    snapshot.io_read_bytes = raw.io_read_bytes;
    snapshot.io_write_bytes = raw.io_write_bytes;
    Ok((at, snapshot))
}

/// A snapshot with all of its fields, under its names.
pub fn snapshot_json(ts: &str, snapshot: &ProcSnapshot) -> Value {
    let set = |set: Option<SignalSet>| set.map_or_else(|| json!(""), |set| json!(set));
    json!({
        "captured_at": time_text(ts),
        "comm": snapshot.comm.as_ref().map(|comm| comm.escaped()).unwrap_or_default(),
        "state": snapshot.state.map_or_else(|| json!(""), |state| json!(state)),
        "vm_rss_kb": snapshot.vm_rss_kb.unwrap_or(0),
        "threads": snapshot.threads.unwrap_or(0),
        "fd_count": snapshot.fd_count.unwrap_or(0),
        "fd_soft_limit": snapshot.fd_soft_limit.map_or(json!(-1), |limit| json!(limit)),
        "ctx_switches_voluntary": snapshot.ctx_switches_voluntary.unwrap_or(0),
        "ctx_switches_involuntary": snapshot.ctx_switches_involuntary.unwrap_or(0),
        "sig_pnd": set(snapshot.sig_pnd),
        "sig_blk": set(snapshot.sig_blk),
        "sig_cgt": set(snapshot.sig_cgt),
        "oom_score": snapshot.oom_score.unwrap_or(-1),
        "wchan": snapshot.wchan.as_ref().map(|wchan| wchan.escaped()).unwrap_or_default(),
        "cpu_percent": snapshot.cpu_percent.unwrap_or(0.0),
        // This counts connections to port 443 of the whole network namespace; those of the process are
        // another fact.
        "api_connection_established": null,
        "api_connection_states": {},
        "io_read_bytes": snapshot.io_read_bytes,
        "io_write_bytes": snapshot.io_write_bytes,
    })
}

/// A line of its trace. Its values for "unreadable" (-1, "", 0) are converted by [`read_snapshot`].
#[derive(Deserialize)]
struct RawSnapshot {
    captured_at: String,
    comm: Option<String>,
    state: Option<serde_json::Value>,
    vm_rss_kb: Option<u64>,
    threads: Option<u32>,
    fd_count: Option<u64>,
    fd_soft_limit: Option<i64>,
    ctx_switches_voluntary: Option<u64>,
    ctx_switches_involuntary: Option<u64>,
    sig_pnd: Option<String>,
    sig_blk: Option<String>,
    sig_cgt: Option<String>,
    oom_score: Option<i32>,
    wchan: Option<String>,
    cpu_percent: Option<f64>,
    io_read_bytes: Option<u64>,
    io_write_bytes: Option<u64>,
}
