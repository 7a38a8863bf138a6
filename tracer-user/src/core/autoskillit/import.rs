//! The documents of a session in AutoSkillit's log, as a session of this tracer.

use super::read_snapshot;
use crate::core::anomaly::{AnomalyKind, Phase, Severity};
use crate::core::identity::ProcessId;
use crate::core::record::{AnomalyLine, Body, Line, NoteLine, ProcessKey, SnapshotLine, TRACE_VERSION};
use crate::core::signal::Signal;
use crate::core::summary::{IndexRow, OwnerFate, ProcessCounts, SUMMARY_VERSION, StallSummary, Summary};
use crate::core::text::ByteString;
use crate::core::time::{self, Anchor};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields of a row of its index that are labels here.
const LABELS: [&str; 6] =
    ["kitchen_id", "order_id", "campaign_id", "dispatch_id", "step_name", "caller_session_id"];

/// What a row and a summary have in common. Older versions lack fields.
#[derive(Deserialize)]
struct Known {
    session_id: String,
    dir_name: String,
    #[serde(default, alias = "start_ts")]
    timestamp: String,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    skill_command: Option<String>,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    subtype: String,
    #[serde(default)]
    exit_code: Option<i64>,
    #[serde(default)]
    snapshot_count: u64,
    #[serde(default)]
    anomaly_count: u64,
    #[serde(default)]
    peak_rss_kb: Option<u64>,
    #[serde(default)]
    peak_oom_score: Option<i32>,
    #[serde(default)]
    tracked_comm: Option<String>,
    #[serde(default)]
    tracked_comm_drift: bool,
    #[serde(default)]
    duration_seconds: Option<f64>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl Known {
    fn labels(&self) -> BTreeMap<String, String> {
        let value = |name: &&str| self.rest.get(*name)?.as_str().filter(|text| !text.is_empty());
        LABELS.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?.to_owned()))).collect()
    }

    /// It writes -1 for a session whose owner died, and also when the exit code is unknown.
    fn crashed(&self) -> bool {
        self.subtype == "crashed"
    }

    fn exit_code(&self) -> Option<u8> {
        u8::try_from(self.exit_code?).ok()
    }

    fn signal(&self) -> Option<String> {
        let number = u32::try_from(-self.exit_code?).ok().filter(|number| (1..=64).contains(number))?;
        // -1 is its value for "unknown", and a hangup is far rarer.
        (number != 1).then(|| Signal(number).name())
    }

    fn termination_reason(&self) -> String {
        match (self.exit_code(), self.signal()) {
            (Some(code), _) => format!("EXITED {code}"),
            (None, Some(signal)) => format!("SIGNALED {signal}"),
            (None, None) => "UNKNOWN".to_owned(),
        }
    }

    /// It has no value for "unknown" here.
    fn success(&self) -> Option<bool> {
        (self.success || !self.crashed()).then_some(self.success)
    }

    fn owner_fate(&self) -> OwnerFate {
        if self.crashed() { OwnerFate::Died } else { OwnerFate::Finished }
    }

    fn began(&self) -> String {
        self.timestamp.parse().map_or_else(|_| self.timestamp.clone(), time::render)
    }
}

fn known(text: &Option<String>) -> Option<ByteString> {
    text.as_deref().filter(|text| !text.is_empty()).map(ByteString::from)
}

/// A row of its index.
///
/// # Errors
/// When it is not one.
pub fn index_row(bytes: &[u8]) -> serde_json::Result<IndexRow> {
    let row: Known = serde_json::from_slice(bytes)?;
    let labels = row.labels();
    let column = |name: &str| labels.get(name).cloned();
    Ok(IndexRow {
        hang: None,
        v: SUMMARY_VERSION,
        timestamp: row.began(),
        cwd: known(&row.cwd),
        command: row.skill_command.as_deref().unwrap_or_default().into(),
        kitchen_id: column("kitchen_id"),
        order_id: column("order_id"),
        campaign_id: column("campaign_id"),
        dispatch_id: column("dispatch_id"),
        labels,
        success: row.success(),
        exit_code: row.exit_code(),
        termination_reason: row.termination_reason(),
        owner_fate: row.owner_fate(),
        duration_seconds: row.duration_seconds,
        snapshot_count: row.snapshot_count,
        anomaly_count: row.anomaly_count,
        stall_count: 0,
        peak_rss_kb: row.peak_rss_kb.filter(|_| row.snapshot_count > 0),
        peak_oom_score: row.peak_oom_score.filter(|_| row.snapshot_count > 0),
        tracked_comm: known(&row.tracked_comm),
        tracked_comm_drift: row.tracked_comm_drift,
        subtype: row.subtype,
        session_id: row.session_id,
        dir_name: row.dir_name,
    })
}

/// What only a summary has.
#[derive(Deserialize)]
struct More {
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    end_ts: Option<String>,
    #[serde(default)]
    snapshot_interval_seconds: f64,
    #[serde(default)]
    peak_fd_ratio: Option<f64>,
}

/// A session of its log.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedSession {
    /// Its summary.
    pub summary: Summary,
    /// Snapshots and anomalies, in the order of their times.
    pub trace: Vec<Line>,
    /// Lines that are not understood: the file, the number of the line, and the cause.
    pub problems: Vec<String>,
}

impl LoggedSession {
    /// Reads its summary.
    ///
    /// # Errors
    /// When it is not one.
    pub fn new(summary: &[u8]) -> serde_json::Result<Self> {
        let known_fields: Known = serde_json::from_slice(summary)?;
        let more: More = serde_json::from_slice(summary)?;
        Ok(Self { summary: summary_of(known_fields, more), trace: Vec::new(), problems: Vec::new() })
    }

    /// Adds the rows of `proc_trace.jsonl`.
    pub fn add_snapshots<'a>(&mut self, name: &str, rows: impl Iterator<Item = &'a [u8]>) {
        let root = ProcessId { tgid: self.summary.pid, start_ticks: 0 };
        for (row, number) in rows.zip(1_u64..) {
            match read_snapshot(row, root) {
                Ok((at, snapshot)) => self.push(at, Body::Snapshot(Box::new(SnapshotLine { snapshot }))),
                Err(error) => self.problems.push(format!("{name}, line {number}: {error}")),
            }
        }
    }

    /// Adds the rows of `anomalies.jsonl`.
    pub fn add_anomalies<'a>(&mut self, name: &str, rows: impl Iterator<Item = &'a [u8]>) {
        for (row, number) in rows.zip(1_u64..) {
            match anomaly(row) {
                Ok((at, body)) => self.push(at, body),
                Err(error) => self.problems.push(format!("{name}, line {number}: {error}")),
            }
        }
    }

    /// Puts the lines in order, and counts the anomalies by kind.
    pub fn finish(&mut self) {
        self.trace.sort_by_key(|line| line.boot_ns);
        for (line, seq) in self.trace.iter_mut().zip(0..) {
            line.seq = seq;
        }
        let kinds = self.trace.iter().filter_map(|line| match &line.body {
            Body::Anomaly(anomaly) => Some(anomaly.anomaly.name().to_owned()),
            Body::Note(note) => Some(note.code.clone()),
            _ => None,
        });
        for kind in kinds {
            *self.summary.anomalies.entry(kind).or_default() += 1;
        }
    }

    fn push(&mut self, at: Timestamp, body: Body) {
        // Its log has no CLOCK_BOOTTIME: a clock that begins with the session orders its lines as well.
        let began = self.summary.start_ts.parse().unwrap_or(at);
        let boot_ns = Anchor { wall: began, boot_ns: 0 }.boot_ns_at(at).unwrap_or(0);
        let ts = time::render(at);
        self.trace.push(Line { v: TRACE_VERSION, seq: 0, ts, ts_adjusted: false, boot_ns, body });
    }
}

/// An anomaly. A kind that this tracer does not have becomes a note.
fn anomaly(bytes: &[u8]) -> Result<(Timestamp, Body), super::SnapshotError> {
    #[derive(Deserialize)]
    struct Raw {
        ts: String,
        kind: String,
        #[serde(default)]
        severity: Option<Severity>,
        #[serde(default)]
        pid: u32,
        #[serde(default)]
        detail: BTreeMap<String, Value>,
    }
    let raw: Raw = serde_json::from_slice(bytes)?;
    let at = raw.ts.parse()?;
    let Ok(kind) = serde_json::from_value::<AnomalyKind>(raw.kind.clone().into()) else {
        let text = serde_json::to_string(&raw.detail)?;
        return Ok((at, Body::Note(NoteLine { code: raw.kind, text })));
    };
    let process = (raw.pid != 0).then_some(ProcessKey { pid: raw.pid, start_ticks: 0 });
    let line = AnomalyLine {
        anomaly: kind,
        severity: raw.severity.unwrap_or_else(|| kind.severity()),
        phase: Phase::Once,
        process,
        comm: None,
        length_ms: None,
        detail: raw.detail,
    };
    Ok((at, Body::Anomaly(Box::new(line))))
}

fn summary_of(fields: Known, more: More) -> Summary {
    let end = more.end_ts.filter(|end| !end.is_empty());
    Summary {
        hang: None,
        v: SUMMARY_VERSION,
        pid: more.pid,
        starttime_ticks: None,
        boot_id: None,
        cwd: known(&fields.cwd),
        cmdline: known(&fields.skill_command).into_iter().collect(),
        success: fields.success(),
        exit_code: fields.exit_code(),
        signal: fields.signal(),
        start_ts: fields.began(),
        end_ts: end.map(|end| end.parse().map_or(end, time::render)),
        duration_seconds: fields.duration_seconds,
        snapshot_interval_seconds: more.snapshot_interval_seconds,
        snapshot_count: fields.snapshot_count,
        anomaly_count: fields.anomaly_count,
        anomalies: BTreeMap::new(),
        peak_rss_kb: fields.peak_rss_kb.filter(|_| fields.snapshot_count > 0),
        peak_oom_score: fields.peak_oom_score.filter(|_| fields.snapshot_count > 0),
        peak_fd_ratio: more.peak_fd_ratio.filter(|_| fields.snapshot_count > 0),
        termination_reason: fields.termination_reason(),
        tracked_comm: known(&fields.tracked_comm),
        tracked_comm_drift: fields.tracked_comm_drift,
        owner_fate: fields.owner_fate(),
        processes: ProcessCounts::default(),
        stalls: StallSummary::default(),
        events_lost: 0,
        snapshots_dropped: 0,
        degraded: false,
        cpu_seconds: 0.0,
        kernel_events: Some(false),
        labels: fields.labels(),
        tracer_version: "autoskillit".to_owned(),
        subtype: fields.subtype,
        session_id: fields.session_id,
        dir_name: fields.dir_name,
    }
}
