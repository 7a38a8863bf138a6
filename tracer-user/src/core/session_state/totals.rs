//! Running totals of a session.

use crate::core::anomaly::AnomalyKind;
use crate::core::record::StallLine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resources with totals of their own; stalls on others are added up under one name.
const MAX_RESOURCES: usize = 1024;

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Processes forked in the session, the root among them when the tracer started it.
    pub forked: u64,
    /// Processes found running.
    pub found: u64,
    /// Programs executed.
    pub execs: u64,
    /// Processes that ended.
    pub exited: u64,
    /// Most processes alive at a time.
    pub peak_processes: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Samples.
    pub samples: u64,
    /// Anomalies by kind; those that last count once.
    pub anomalies: BTreeMap<AnomalyKind, u64>,
    /// Most resident memory of one process, KiB.
    pub peak_rss_kb: Option<u64>,
    /// Highest out-of-memory score of one process.
    pub peak_oom_score: Option<i32>,
    /// Highest open files over the limit of one process.
    pub peak_fd_ratio: Option<f64>,
    /// CPU time of the processes that ended, nanoseconds.
    pub cpu_ns_of_ended: u64,
    /// Stalls.
    pub stalls: StallTotals,
    /// Events the kernel made and the session never saw.
    pub events_lost: u64,
    /// Snapshots dropped from the trace to keep its size.
    pub snapshots_dropped: u64,
    /// Lines that could not be written.
    pub lines_lost: u64,
}

impl Totals {
    /// All anomalies.
    pub fn anomaly_count(&self) -> u64 {
        self.anomalies.values().sum()
    }
}

/// Stalls that have ended, or whose process has, or that were open at the end.
#[derive(Clone, Debug, Default)]
pub struct StallTotals {
    /// How many.
    pub count: u64,
    /// The longest.
    pub longest_ns: u64,
    /// All of them.
    pub total_ns: u64,
    /// By what was written to.
    pub by_resource: BTreeMap<String, ResourceTotal>,
}

/// Stalls on one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceTotal {
    /// How many.
    pub count: u64,
    /// The longest, milliseconds.
    pub longest_ms: u64,
    /// All of them, milliseconds.
    pub total_ms: u64,
}

impl StallTotals {
    /// One more stall, with its whole length.
    pub fn add(&mut self, resource: &str, length_ns: u64) {
        self.count += 1;
        self.longest_ns = self.longest_ns.max(length_ns);
        self.total_ns = self.total_ns.saturating_add(length_ns);
        let full = self.by_resource.len() >= MAX_RESOURCES && !self.by_resource.contains_key(resource);
        let total = self.by_resource.entry(if full { "others" } else { resource }.to_owned()).or_default();
        let ms = length_ns / 1_000_000;
        total.count += 1;
        total.longest_ms = total.longest_ms.max(ms);
        total.total_ms = total.total_ms.saturating_add(ms);
    }
}

/// How a stall's resource is called: `pipe:[123]`, as `/proc/PID/fd` shows it.
pub fn resource_id(stall: &StallLine) -> String {
    let kind = stall.resource.as_deref().unwrap_or("unknown");
    match stall.inode {
        Some(inode) => format!("{kind}:[{inode}]"),
        None => kind.to_owned(),
    }
}
