//! May a process that is not its owner finish a session? Evidence in, one verdict with all its reasons out.
//!
//! The gates, in order: is it fresh (a courtesy), is its owner gone (its lock), is it enrolled, is it of this
//! boot, and what is the fate of its root. The last two decide what to do; each of the others can only
//! refuse. Nothing here guesses: a fact that could not be established is a reason to leave the session where
//! it is.

#[cfg(test)]
mod tests;

use super::identity::WaitStatus;
use super::record::ExitSource;
use super::signal::Signal;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The facts about a session that the gates need.
#[derive(Clone, Debug, PartialEq)]
pub struct GateEvidence {
    /// Time since something was last written; `None` when the clocks contradict each other.
    pub age: Option<Duration>,
    /// The holder of its lock.
    pub lock: OwnerLock,
    /// The state of its sidecar.
    pub sidecar: SidecarState,
    /// Whether it is of this boot.
    pub boot: BootMatch,
    /// Whether its process numbers are of this pid namespace.
    pub namespace: NamespaceMatch,
    /// The fate of its root.
    pub root: RootFate,
}

/// The holder of a session's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerLock {
    /// This process.
    Ours,
    /// Its owner, or another process that is finishing it.
    Held,
    /// Its files have no lock, and a process has its trace open for writing.
    TraceOpen,
    /// Unknown: the lock could not be tried.
    Unknown,
}

/// The state of a session's sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SidecarState {
    /// It is safe and readable.
    Valid,
    /// There is none.
    Absent,
    /// It is not a regular file of this user with one name. What it is instead.
    Unsafe(String),
    /// It cannot be read or parsed. The cause.
    Unreadable(String),
}

/// Whether a session is of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootMatch {
    /// It is of this boot.
    Same,
    /// It is of another boot.
    Other,
    /// One of the boot ids is unknown.
    Unknown,
}

/// Whether a session's process numbers are of this pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMatch {
    /// They are.
    Same,
    /// They are of another pid namespace.
    Other,
    /// One of the namespaces is unknown.
    Unknown,
    /// The layout does not record it, and the user asked to recover the layout anyway.
    Unsaid,
}

/// The fate of a session's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RootFate {
    /// It ended.
    Ended {
        /// Its wait status; `None` when unknown.
        status: Option<WaitStatus>,
        /// When, CLOCK_BOOTTIME nanoseconds; `None` when unknown.
        boot_ns: Option<u64>,
        /// The source of this fact.
        source: ExitSource,
    },
    /// It runs.
    Runs {
        /// The source of this fact.
        source: ExitSource,
    },
    /// Unknown, and why.
    Unknown(String),
}

impl RootFate {
    /// It is from the kernel's own record, which needs no process number of this namespace.
    fn is_from_kernel(&self) -> bool {
        matches!(self, Self::Ended { source, .. } | Self::Runs { source } if *source == ExitSource::FateMap)
    }
}

/// What a recovery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryPolicy {
    /// Sessions that were written to more recently than this are left alone.
    pub min_age: Duration,
    /// Sessions whose root runs are taken over.
    pub adopt: bool,
}

/// What to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryAction {
    /// Nothing.
    Skip,
    /// Finish it: its root has ended.
    Recover,
    /// Finish it: the machine was rebooted since.
    FinishRebooted,
    /// Continue to trace it: its root runs.
    Adopt,
}

/// A reason to do something, or to leave the session alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// It was written to recently.
    Fresh {
        /// How long ago, milliseconds.
        age_ms: u64,
        /// How long ago it would have to be, milliseconds.
        min_age_ms: u64,
    },
    /// Its lock is held: its owner lives, or another process is finishing it.
    OwnerLives,
    /// Its files have no lock, and its trace is open for writing: its owner lives.
    TraceOpen,
    /// Its lock could not be tried.
    LockUnknown,
    /// It is a trace without a sidecar, which has no known owner.
    NotEnrolled,
    /// Its sidecar is not a regular file of this user with one name. What it is instead.
    SidecarUnsafe(String),
    /// Its sidecar cannot be read or parsed. The cause.
    SidecarUnreadable(String),
    /// It is of an earlier boot.
    Rebooted,
    /// Its process numbers are of another pid namespace, and the kernel has no record of it.
    OtherNamespace,
    /// The pid namespace of its process numbers is unknown, and the kernel has no record of it.
    UnknownNamespace,
    /// Its root runs.
    RootRuns,
    /// Its root ended with this wait status; `None` when that is unknown.
    RootEnded(Option<WaitStatus>),
    /// The fate of its root is unknown. The cause.
    RootUnknown(String),
    /// Its owner died.
    OwnerDied,
}

impl std::fmt::Display for GateReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh { age_ms, min_age_ms } => {
                write!(f, "written {:.1} s ago, less than {:.1} s", secs(*age_ms), secs(*min_age_ms))
            }
            Self::OwnerLives => f.write_str("its lock is held: its owner lives"),
            Self::TraceOpen => f.write_str("its trace is open for writing: its owner lives"),
            Self::LockUnknown => f.write_str("its lock could not be tried"),
            Self::NotEnrolled => f.write_str("a trace without a sidecar"),
            Self::SidecarUnsafe(why) => write!(f, "its sidecar is {why}"),
            Self::SidecarUnreadable(why) => write!(f, "its sidecar cannot be read: {why}"),
            Self::Rebooted => f.write_str("of an earlier boot"),
            Self::OtherNamespace => f.write_str("of another pid namespace"),
            Self::UnknownNamespace => f.write_str("of an unknown pid namespace"),
            Self::RootRuns => f.write_str("its root still runs"),
            Self::RootEnded(Some(status)) => match (status.exit_code(), status.signal()) {
                (Some(code), _) => write!(f, "its root exited with {code}"),
                (_, Some(signal)) => {
                    write!(f, "its root was ended by {}", Signal(signal.into()).name())
                }
                _ => f.write_str("its root has ended"),
            },
            Self::RootEnded(None) => f.write_str("its root is gone"),
            Self::RootUnknown(why) => write!(f, "the fate of its root is unknown: {why}"),
            Self::OwnerDied => f.write_str("its owner died"),
        }
    }
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// What to do with a session, and every reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GateVerdict {
    /// What to do.
    pub action: RecoveryAction,
    /// Every reason to leave it alone; when there is none, the reasons for the action.
    pub reasons: Vec<GateReason>,
}

/// Decides what to do with a session.
pub fn judge(evidence: &GateEvidence, policy: RecoveryPolicy) -> GateVerdict {
    let mut against = Vec::new();
    if let Some(age) = evidence.age.filter(|age| *age < policy.min_age) {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        against.push(GateReason::Fresh { age_ms: ms(age), min_age_ms: ms(policy.min_age) });
    }
    match evidence.lock {
        OwnerLock::Ours => {}
        OwnerLock::Held => against.push(GateReason::OwnerLives),
        OwnerLock::TraceOpen => against.push(GateReason::TraceOpen),
        OwnerLock::Unknown if evidence.sidecar == SidecarState::Valid => {
            against.push(GateReason::LockUnknown)
        }
        OwnerLock::Unknown => {}
    }
    match &evidence.sidecar {
        SidecarState::Valid => {}
        // The gates below need an enrollment.
        not => {
            against.push(match not {
                SidecarState::Unsafe(why) => GateReason::SidecarUnsafe(why.clone()),
                SidecarState::Unreadable(why) => GateReason::SidecarUnreadable(why.clone()),
                SidecarState::Valid | SidecarState::Absent => GateReason::NotEnrolled,
            });
            return GateVerdict { action: RecoveryAction::Skip, reasons: against };
        }
    }
    let mut reasons = Vec::new();
    if evidence.lock == OwnerLock::Ours {
        reasons.push(GateReason::OwnerDied);
    }
    let action = if evidence.boot == BootMatch::Other {
        reasons.push(GateReason::Rebooted);
        RecoveryAction::FinishRebooted
    } else {
        if !evidence.root.is_from_kernel() {
            match evidence.namespace {
                NamespaceMatch::Same | NamespaceMatch::Unsaid => {}
                NamespaceMatch::Other => against.push(GateReason::OtherNamespace),
                NamespaceMatch::Unknown => against.push(GateReason::UnknownNamespace),
            }
        }
        match &evidence.root {
            RootFate::Ended { status, .. } => {
                reasons.push(GateReason::RootEnded(*status));
                RecoveryAction::Recover
            }
            RootFate::Runs { .. } if policy.adopt => {
                reasons.push(GateReason::RootRuns);
                RecoveryAction::Adopt
            }
            RootFate::Runs { .. } => {
                against.push(GateReason::RootRuns);
                RecoveryAction::Skip
            }
            RootFate::Unknown(why) => {
                against.push(GateReason::RootUnknown(why.clone()));
                RecoveryAction::Skip
            }
        }
    };
    if against.is_empty() {
        GateVerdict { action, reasons }
    } else {
        GateVerdict { action: RecoveryAction::Skip, reasons: against }
    }
}
