//! The types behind `tracer.diagnosis/1`.
//!
//! Text in these types is printable (control bytes and bidirectional marks are `\xNN`) and redacted. A sink
//! that needs more escaping does it itself.

mod code;
mod finding;
mod graph;
mod relieve;
mod ruled_out;
mod verdict;
mod wait_tree;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use code::{CodePlace, Fingerprint, Frame};
pub use finding::{Finding, Halted, Party, Role};
pub use graph::{Edge, End, Graph, Node, NodeKind, NodeState, Resource, ResourceKind, ResourceRef};
pub use relieve::RelieveStep;
pub use ruled_out::RuledOut;
pub use verdict::{Confidence, Verdict};
pub use wait_tree::{ChildDeath, Holder, ProcessWaits, ThreadActivity, ThreadWaits, WaitTree};

/// The schema's name.
pub const SCHEMA: &str = "tracer.diagnosis/1";

/// What hangs in a scope and why, or why nothing hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: String,
    /// Wall clock, RFC 3339 UTC.
    pub taken_at: String,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    /// The machine that the evidence is from.
    pub host: HostInfo,
    /// The evidence includes the kernel events of a session.
    pub kernel_events: bool,
    /// The system calls of the quiet window were counted.
    pub calls_counted: bool,
    /// The scope: the processes that the question is about.
    pub scope: ScopeInfo,
    /// Length of the quiet window, milliseconds.
    pub quiet_window_ms: u64,
    /// The verdict of the gravest finding; without findings, that of the whole scope.
    pub verdict: Verdict,
    /// The processes of the scope that made progress during the quiet window, at most eight.
    pub progress: Vec<Progressing>,
    /// The findings, gravest first.
    pub findings: Vec<Finding>,
    /// What identifies the gravest hang among the findings, in other runs too; null without a hang.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// The wait-for graph of the scope.
    pub graph: Graph,
    /// The processes of the scope as a tree, and what each of their threads waits for: facts, whatever the
    /// verdict.
    pub waits: WaitTree,
    /// The full pipes of the hangs that could be enlarged, which lets this run continue and cures nothing.
    pub relieve: Vec<RelieveStep>,
    /// Usual suspicions that the evidence rules out.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be read, and why.
    pub problems: Vec<String>,
}

impl Diagnosis {
    /// Another diagnosis has the same verdict, and the same findings about the same processes.
    pub fn is_same_answer(&self, other: &Self) -> bool {
        let key = |finding: &Finding| {
            let mut pids: Vec<u32> = finding.processes.iter().map(|party| party.pid).collect();
            pids.sort_unstable();
            (finding.class, finding.verdict, pids)
        };
        let hangs = |diagnosis: &Self| -> Vec<_> {
            let mut keys: Vec<_> =
                diagnosis.findings.iter().filter(|finding| finding.verdict.is_hang()).map(key).collect();
            keys.sort_by_key(|(class, _, pids)| (class.id(), pids.clone()));
            keys
        };
        self.verdict == other.verdict && hangs(self) == hangs(other)
    }
}

/// A process that made progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progressing {
    /// Process number.
    pub pid: u32,
    /// Its name for people.
    pub title: String,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Boot id.
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
}

/// The scope of a diagnosis: exactly one field is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScopeInfo {
    /// This process and its descendants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The id of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}
