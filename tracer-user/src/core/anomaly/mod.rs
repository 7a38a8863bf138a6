//! Anomalies of a session: raised as they happen, and again over a recorded trace, with the same result.
//!
//! A lasting anomaly is raised once when it begins and once when it ends, with its length, and not once per
//! sample. A value that could not be read raises nothing and ends nothing.

mod process;
#[cfg(test)]
mod tests;

pub use process::{BENIGN_WAITS, ProcessWatch};

use super::identity::ProcessId;
use super::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strum::{IntoStaticStr, VariantArray};

/// The kind of an anomaly. The variants are in the order of the documentation.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AnomalyKind {
    /// The out-of-memory score rose by more than 200 between two samples.
    OomSpike,
    /// The out-of-memory score is 800 or more.
    OomCritical,
    /// The process has ended and has not been reaped.
    ZombieDetected,
    /// The process has been a zombie for three samples in a row.
    ZombiePersistent,
    /// In uninterruptible sleep for two samples in a row, in a known wait that is not harmless.
    DStateSustained,
    /// 90 % of a CPU or more for two samples in a row.
    HighCpuSustained,
    /// Signals are pending for the process or its main thread.
    SignalsPending,
    /// More than 80 % of the files that the process may open are open.
    FdHigh,
    /// Resident memory more than doubled, over at least five samples.
    RssGrowth,
    /// The name changed although no program was executed.
    IdentityDrift,
    /// A write has been blocked for longer than the threshold.
    WriteStall,
    /// No CPU time, no context switch and no byte in the whole session for the threshold.
    NoProgress,
    /// The process was alive when the session was over.
    LeakedProcess,
    /// The kernel's out-of-memory killer ended the process.
    KilledByOom,
    /// Stopped, or held by a debugger, for two samples in a row.
    StoppedSustained,
}

impl AnomalyKind {
    /// The severity of every anomaly of this kind.
    pub fn severity(self) -> Severity {
        match self {
            Self::OomCritical | Self::ZombiePersistent | Self::NoProgress | Self::KilledByOom => {
                Severity::Critical
            }
            Self::IdentityDrift => Severity::Info,
            _ => Severity::Warning,
        }
    }

    /// The name in files, such as `write_stall`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The severity of an anomaly.
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

/// Whether an anomaly is a moment, or the beginning or the end of one that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It happened at this moment.
    Once,
    /// It begins.
    Begin,
    /// It is over.
    End,
}

/// The values that made something an anomaly, by name.
pub type Detail = BTreeMap<String, serde_json::Value>;

/// One anomaly, as the rules raise it.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// Its kind.
    pub kind: AnomalyKind,
    /// Whether it is a moment, a beginning or an end.
    pub phase: Phase,
    /// The process; `None` when the anomaly is about the whole session.
    pub process: Option<ProcessId>,
    /// The last known name of the process.
    pub comm: Option<ByteString>,
    /// How long it lasted, nanoseconds; only at its end.
    pub length_ns: Option<u64>,
    /// The values that made it one.
    pub detail: Detail,
}

/// Builds a [`Detail`].
pub(crate) fn detail<const N: usize>(pairs: [(&str, serde_json::Value); N]) -> Detail {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A run of samples that show the same thing: begins after a number of them in a row, ends at the first
/// without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streak {
    samples: u32,
    since_boot_ns: u64,
    raised: bool,
}

/// The change that a sample makes to a [`Streak`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The streak is now long enough.
    Begin,
    /// A streak that was long enough is over. Its length, nanoseconds.
    End(u64),
}

impl Streak {
    /// Takes one sample. `None` is a sample in which the value could not be read: it changes nothing.
    pub(crate) fn observe(&mut self, shows: Option<bool>, need: u32, boot_ns: u64) -> Option<Transition> {
        if !shows? {
            let end = self.raised.then(|| Transition::End(boot_ns.saturating_sub(self.since_boot_ns)));
            *self = Self::default();
            return end;
        }
        if self.samples == 0 {
            self.since_boot_ns = boot_ns;
        }
        self.samples = self.samples.saturating_add(1);
        if self.raised || self.samples < need {
            return None;
        }
        self.raised = true;
        Some(Transition::Begin)
    }

    /// Samples in a row so far.
    pub(crate) fn samples(&self) -> u32 {
        self.samples
    }
}
