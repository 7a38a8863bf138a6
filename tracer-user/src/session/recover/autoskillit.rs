//! AutoSkillit's sessions, converted to the tracer's own format.

use crate::core::identity::ProcessId;
use crate::core::record::SessionId;
use crate::core::record::sidecar::{Enrollment, ForeignEnrollment, Owner, SIDECAR_SCHEMA};
use crate::core::signal::SignalSet;
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use crate::store::SessionFiles;
use jiff::Timestamp;
use serde::Deserialize;

/// A sidecar of schema 1 or 2 as one of schema 3. What it does not contain stays unknown.
pub fn enrollment(foreign: &ForeignEnrollment, files: &SessionFiles) -> Enrollment {
    let id = |text: &str| SessionId::parse(text).is_ok();
    let session_id =
        foreign.session_id.clone().filter(|text| id(text)).unwrap_or_else(|| generated_id(foreign, files));
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id,
        labels: foreign.labels.clone(),
        boot_id: foreign.boot_id.clone(),
        pid: foreign.pid,
        starttime_ticks: foreign.starttime_ticks,
        start_boottime_ns: None,
        pidfd_ino: None,
        pidns_ino: None,
        ns_pid: None,
        comm: foreign.comm.clone(),
        cmdline: Vec::new(),
        cwd: None,
        uid: None,
        enrolled_at: foreign.enrolled_at.clone().unwrap_or_else(|| "1970-01-01T00:00:00.000000Z".to_owned()),
        owner: Owner { pid: 0, starttime_ticks: None, version: "autoskillit".to_owned() },
        bpf_pins: None,
        interval_ms: 0,
        log_dir: None,
    }
}

/// An id that is the same whenever the same session is recovered, so that it is never filed twice.
fn generated_id(foreign: &ForeignEnrollment, files: &SessionFiles) -> String {
    let safe = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "-");
    let when = foreign.enrolled_at.as_deref().map_or_else(|| "unknown".to_owned(), safe);
    let mut id = format!("crashed_{}_{when}", safe(files.stem()));
    id.truncate(90);
    id
}

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

/// A line of its trace as a snapshot, and when it was taken.
///
/// # Errors
/// When the line is not a snapshot.
pub fn snapshot(bytes: &[u8], enrollment: &Enrollment) -> Result<(Timestamp, ProcSnapshot), SnapshotError> {
    let raw: RawSnapshot = serde_json::from_slice(bytes)?;
    let at = raw.captured_at.parse::<Timestamp>()?;
    let start_ticks = enrollment.starttime_ticks.unwrap_or(0);
    let mut snapshot = ProcSnapshot::unread(ProcessId { tgid: enrollment.pid, start_ticks });
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

/// The name that most snapshots have, the first of them where several are as frequent. A sidecar of schema 1
/// does not contain the name.
pub fn usual_name(snapshots: &[(Timestamp, ProcSnapshot)]) -> Option<ByteString> {
    let mut counts: Vec<(&ByteString, usize)> = Vec::new();
    for comm in snapshots.iter().filter_map(|(_, snapshot)| snapshot.comm.as_ref()) {
        match counts.iter_mut().find(|(name, _)| *name == comm) {
            Some((_, count)) => *count += 1,
            None => counts.push((comm, 1)),
        }
    }
    // `max_by_key` returns the last of several equal ones.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
}

/// A line of its trace. Its values for "unreadable" (-1, "", 0) are converted by [`snapshot`].
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
