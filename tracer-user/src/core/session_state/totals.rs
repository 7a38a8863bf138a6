//! Running totals of a session.

use crate::core::anomaly::AnomalyKind;
use crate::core::record::{LostLine, LostPlace, StallLine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resources with totals of their own. Stalls on further ones are added up under the name `others`.
const MAX_RESOURCES: usize = 1024;

/// The running totals of a session.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Processes forked in the session, the root among them when the tracer started it.
    pub forked: u64,
    /// Processes that were found running.
    pub found: u64,
    /// Programs that were executed.
    pub execs: u64,
    /// Processes that ended.
    pub exited: u64,
    /// The largest number of processes alive at the same time.
    pub peak_processes: u64,
    /// Snapshots in the trace.
    pub snapshots: u64,
    /// Samples of all processes.
    pub samples: u64,
    /// Anomalies by kind. A lasting one counts once.
    pub anomalies: BTreeMap<AnomalyKind, u64>,
    /// The largest resident memory of one process, KiB.
    pub peak_rss_kb: Option<u64>,
    /// The highest out-of-memory score of one process.
    pub peak_oom_score: Option<i32>,
    /// The highest ratio of open files to the limit of one process.
    pub peak_fd_ratio: Option<f64>,
    /// CPU time of the processes that ended, nanoseconds.
    pub cpu_ns_of_ended: u64,
    /// Blocked writes.
    pub stalls: StallTotals,
    /// Events that the kernel made and the session never received.
    pub events_lost: u64,
    /// Snapshots that were dropped from the trace to limit its size.
    pub snapshots_dropped: u64,
    /// Lines that could not be written.
    pub lines_lost: u64,
}

impl Totals {
    pub(super) fn add_lost(&mut self, lost: &LostLine) {
        let total = match lost.place {
            LostPlace::Ring | LostPlace::StallLog | LostPlace::Decode => &mut self.events_lost,
            LostPlace::OldSnapshots => &mut self.snapshots_dropped,
            LostPlace::Trace => &mut self.lines_lost,
        };
        *total = total.saturating_add(lost.count);
    }

    /// The number of anomalies of all kinds.
    pub fn anomaly_count(&self) -> u64 {
        self.anomalies.values().sum()
    }
}

/// Blocked writes that are over: they continued, their process ended, or the session did.
#[derive(Clone, Debug, Default)]
pub struct StallTotals {
    /// The number of them.
    pub count: u64,
    /// The longest, nanoseconds.
    pub longest_ns: u64,
    /// The sum of all, nanoseconds.
    pub total_ns: u64,
    /// By the resource that was written to.
    pub by_resource: BTreeMap<String, ResourceTotal>,
}

/// Blocked writes on one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceTotal {
    /// The number of them.
    pub count: u64,
    /// The longest, milliseconds.
    pub longest_ms: u64,
    /// The sum of all, milliseconds.
    pub total_ms: u64,
}

impl StallTotals {
    /// Adds one stall with its whole length.
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

/// The name of a stall's resource, as `/proc/PID/fd` shows it: `pipe:[123]`.
pub fn resource_id(stall: &StallLine) -> String {
    let kind = stall.resource.as_deref().unwrap_or("unknown");
    match stall.inode {
        Some(inode) => format!("{kind}:[{inode}]"),
        None => kind.to_owned(),
    }
}
