//! A finding, and the processes that take part in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::code::CodePlace;
use super::graph::{Edge, Resource};
use super::verdict::{Confidence, Verdict};
use crate::core::diagnosis::class::Class;

/// One explained wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The kind of hang.
    pub class: Class,
    /// A subtype where the class has several forms.
    pub subtype: Option<String>,
    /// The verdict about this wait.
    pub verdict: Verdict,
    /// Proven or likely.
    pub confidence: Confidence,
    /// One sentence that explains it.
    pub summary: String,
    /// Start of the wait, CLOCK_BOOTTIME nanoseconds; null when unknown.
    pub since_boot_ns: Option<u64>,
    /// Duration of the wait, milliseconds; null when unknown.
    pub blocked_ms: Option<u64>,
    /// The date at which the wait ends by itself, RFC 3339 UTC; null when it does not.
    pub ends_at: Option<String>,
    /// The processes that take part, with their roles.
    pub processes: Vec<Party>,
    /// The resources that they wait on.
    pub resources: Vec<Resource>,
    /// The chain, link by link.
    pub edges: Vec<Edge>,
    /// Further facts: what the proof rests on, and what it lacks.
    pub notes: Vec<String>,
    /// Changes that cure it.
    pub advice: Vec<String>,
    /// Actions that let this run continue now.
    pub go_on: Vec<String>,
    /// Position of the finding that this one follows from.
    pub follows: Option<usize>,
}

impl Finding {
    /// A finding with only a sentence, to be filled in.
    pub(crate) fn new(class: Class, verdict: Verdict, confidence: Confidence, summary: String) -> Self {
        Self {
            class,
            subtype: None,
            verdict,
            confidence,
            summary,
            since_boot_ns: None,
            blocked_ms: None,
            ends_at: None,
            processes: Vec::new(),
            resources: Vec::new(),
            edges: Vec::new(),
            notes: Vec::new(),
            advice: Vec::new(),
            go_on: Vec::new(),
            follows: None,
        }
    }
}

/// A process's part in a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It cannot continue.
    Waiter,
    /// It could let the waiter continue.
    Holder,
    /// It is between them.
    Link,
}

impl Role {
    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::Waiter => "waiter",
            Self::Holder => "holder",
            Self::Link => "link",
        }
    }
}

/// A process in a role. A process that has two roles is listed twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Party {
    /// The role.
    pub role: Role,
    /// Process number.
    pub pid: u32,
    /// The thread that matters.
    pub tid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// comm.
    pub comm: String,
    /// argv, one element for each argument, with secrets redacted.
    pub cmdline: Vec<String>,
    /// What it waits in: `write(fd 1)`, `wait4(845)`; null when it runs or is stopped.
    pub waits_in: Option<String>,
    /// Where in the user's own code it waits; null when its stack was not read, or shows none.
    #[serde(default)]
    pub at: Option<CodePlace>,
    /// The test that it belongs to.
    pub test: Option<String>,
    /// The id of the session that it belongs to.
    pub session: Option<String>,
}

/// Why a process does not run although it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Halted {
    /// By SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU.
    Stopped,
    /// By its tracer.
    Traced,
    /// By its cgroup.
    Frozen,
}

impl Halted {
    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Frozen => "frozen",
        }
    }
}
