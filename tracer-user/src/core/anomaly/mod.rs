//! What is worth a look in a session: found as it happens, and again over a recorded trace, with the same result.
//!
//! One that lasts is raised when it begins and when it ends, with its length, and not once a sample. A value that
//! could not be read raises nothing and ends nothing.

mod process;
#[cfg(test)]
mod tests;

pub use process::{BENIGN_WAITS, ProcessWatch};

use super::identity::ProcessId;
use super::record::AnomalyLine;
use super::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// The out-of-memory score rose by more than 200 between two samples.
    OomSpike,
    /// The out-of-memory score is 800 or more.
    OomCritical,
    /// The process has ended and nobody reaped it.
    ZombieDetected,
    /// For three samples in a row.
    ZombiePersistent,
    /// In uninterruptible sleep for two samples in a row, and not in a harmless wait.
    DStateSustained,
    /// 90 % of a CPU or more for two samples in a row.
    HighCpuSustained,
    /// Signals are pending for the process or its main thread.
    SignalsPending,
    /// More than 80 % of the files it may open are open.
    FdHigh,
    /// Resident memory more than doubled, over at least five samples.
    RssGrowth,
    /// The name changed though no program was executed.
    IdentityDrift,
    /// A write has been blocked for longer than the threshold.
    WriteStall,
    /// No CPU time, no context switch and no byte in the whole session for a while.
    NoProgress,
    /// It was alive when the session was over.
    LeakedProcess,
    /// Memory shortage ended it.
    KilledByOom,
    /// Stopped, or held by a debugger, for two samples in a row.
    StoppedSustained,
}

impl AnomalyKind {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::OomSpike,
        Self::OomCritical,
        Self::ZombieDetected,
        Self::ZombiePersistent,
        Self::DStateSustained,
        Self::HighCpuSustained,
        Self::SignalsPending,
        Self::FdHigh,
        Self::RssGrowth,
        Self::IdentityDrift,
        Self::WriteStall,
        Self::NoProgress,
        Self::LeakedProcess,
        Self::KilledByOom,
        Self::StoppedSustained,
    ];

    /// How grave it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::OomCritical | Self::ZombiePersistent | Self::NoProgress | Self::KilledByOom => {
                Severity::Critical
            }
            Self::IdentityDrift => Severity::Info,
            _ => Severity::Warning,
        }
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OomSpike => "oom_spike",
            Self::OomCritical => "oom_critical",
            Self::ZombieDetected => "zombie_detected",
            Self::ZombiePersistent => "zombie_persistent",
            Self::DStateSustained => "d_state_sustained",
            Self::HighCpuSustained => "high_cpu_sustained",
            Self::SignalsPending => "signals_pending",
            Self::FdHigh => "fd_high",
            Self::RssGrowth => "rss_growth",
            Self::IdentityDrift => "identity_drift",
            Self::WriteStall => "write_stall",
            Self::NoProgress => "no_progress",
            Self::LeakedProcess => "leaked_process",
            Self::KilledByOom => "killed_by_oom",
            Self::StoppedSustained => "stopped_sustained",
        }
    }
}

/// How grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Something is wrong.
    Critical,
}

/// Whether it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It happened.
    Once,
    /// It begins.
    Begin,
    /// It is over.
    End,
}

/// The values that made something an anomaly.
pub type Detail = BTreeMap<String, serde_json::Value>;

/// Builds a [`Detail`].
pub(crate) fn detail<const N: usize>(pairs: [(&str, serde_json::Value); N]) -> Detail {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Builds the line of an anomaly.
pub(crate) fn line(
    kind: AnomalyKind,
    phase: Phase,
    process: Option<ProcessId>,
    comm: Option<ByteString>,
    length_ns: Option<u64>,
    detail: Detail,
) -> AnomalyLine {
    AnomalyLine {
        anomaly: kind,
        severity: kind.severity(),
        phase,
        process: process.map(Into::into),
        comm,
        length_ms: length_ns.map(|ns| ns / 1_000_000),
        detail,
    }
}

/// Something that may last: begins after `need` looks in a row, ends at the first look without it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lasting {
    looks: u32,
    since_boot_ns: u64,
    raised: bool,
}

/// What a look changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has now lasted for long enough.
    Begins,
    /// It is over after so many nanoseconds.
    Ends(u64),
}

impl Lasting {
    /// One look; `None` is a look at which nothing could be seen, and changes nothing.
    pub(crate) fn look(&mut self, now: Option<bool>, need: u32, boot_ns: u64) -> Option<Change> {
        match now? {
            true => {
                if self.looks == 0 {
                    self.since_boot_ns = boot_ns;
                }
                self.looks = self.looks.saturating_add(1);
                (!self.raised && self.looks >= need).then(|| {
                    self.raised = true;
                    Change::Begins
                })
            }
            false => {
                let ended = self.raised.then(|| Change::Ends(boot_ns.saturating_sub(self.since_boot_ns)));
                *self = Self::default();
                ended
            }
        }
    }

    /// Looks in a row so far.
    pub(crate) fn looks(&self) -> u32 {
        self.looks
    }
}
