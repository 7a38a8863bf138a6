//! Verdict and confidence of a finding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a wait ends, if ever. In order of gravity, gravest last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Progress was observed, and nothing hangs beside it.
    #[default]
    NotHung,
    /// At rest: something outside the job may end every wait: a signal that a process chose to handle, a
    /// connection, a date, a person.
    Idle,
    /// The releaser is not visible from here: a remote peer, a device, another pid namespace, a person.
    External,
    /// The deciding evidence could not be read.
    Unknown,
    /// It runs, and no progress is possible.
    Livelock,
    /// The releaser has no reason to act: idle although it owes the act, stopped, dead, or it never used the
    /// end that it inherited.
    OrphanedWait,
    /// Every releaser waits, directly or not, for the waiter.
    Deadlock,
}

impl Verdict {
    /// Something hangs on this machine: what exit status 1 and `--on-hang` mean.
    pub fn is_hang(self) -> bool {
        matches!(self, Self::Deadlock | Self::OrphanedWait | Self::Livelock)
    }

    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotHung => "not-hung",
            Self::Idle => "idle",
            Self::External => "external",
            Self::Unknown => "unknown",
            Self::Livelock => "livelock",
            Self::OrphanedWait => "orphaned-wait",
            Self::Deadlock => "deadlock",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Some of it is inference.
    Likely,
    /// All of it was observed.
    Proven,
}

impl Confidence {
    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::Likely => "likely",
            Self::Proven => "proven",
        }
    }
}
