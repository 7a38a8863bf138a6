//! What a diagnosis says: the types behind `tracer.diagnosis/1`.
//!
//! Text in here is printable (control bytes and bidirectional marks are `\xNN`) and masked; what else a sink needs escaped is the sink's business.

use serde::{Deserialize, Serialize};

use super::class::Class;

/// The schema's name.
pub const SCHEMA: &str = "tracer.diagnosis/1";

/// How a wait ends, if ever. In order of gravity, gravest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Progress was seen, or nothing waits for longer than its own time-out.
    #[default]
    NotHung,
    /// The party is outside what can be seen: a remote peer, a device, another pid namespace, a human.
    External,
    /// The party that could act has no reason to: idle, stopped, dead, or it never used the end it inherited.
    OrphanedWait,
    /// Proved: every party that could act waits, directly or not, for the waiter.
    Deadlock,
}

impl Verdict {
    /// Something hangs on this machine: what exit status 1 and `--on-hang` mean.
    pub fn is_hang(self) -> bool {
        matches!(self, Self::Deadlock | Self::OrphanedWait)
    }

    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotHung => "not-hung",
            Self::External => "external",
            Self::OrphanedWait => "orphaned-wait",
            Self::Deadlock => "deadlock",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Some of it is inference.
    Likely,
    /// All of it was seen.
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

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: String,
    /// Wall clock, RFC 3339 UTC.
    pub taken_at: String,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    /// The machine.
    pub host: HostInfo,
    /// A session's kernel events helped.
    pub kernel_events: bool,
    /// What was asked about.
    pub scope: ScopeInfo,
    /// Length of the quiet window, milliseconds.
    pub quiet_window_ms: u64,
    /// The gravest finding's.
    pub verdict: Verdict,
    /// Gravest first.
    pub findings: Vec<Finding>,
    /// Who waits for whom, as far as the question reaches.
    pub graph: Graph,
    /// What was suspected and is not so, a line each.
    pub refuted: Vec<String>,
    /// What could not be read, and why.
    pub problems: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Boot id.
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
}

/// What was asked about: one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScopeInfo {
    /// This process and its descendants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// A session of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// One explained wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of hang.
    pub class: Class,
    /// A finer name where the class has several shapes.
    pub subtype: Option<String>,
    /// How it ends.
    pub verdict: Verdict,
    /// How sure.
    pub confidence: Confidence,
    /// One sentence that explains it.
    pub summary: String,
    /// Since when, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: Option<u64>,
    /// For how long, milliseconds.
    pub blocked_ms: Option<u64>,
    /// Who takes part.
    pub processes: Vec<Party>,
    /// What they wait on.
    pub resources: Vec<Resource>,
    /// The chain, link by link.
    pub edges: Vec<Edge>,
    /// What the graph and the class do not show and a reader should know: what the proof rests on, what it lacks.
    pub notes: Vec<String>,
    /// The change that cures it.
    pub advice: Vec<String>,
    /// What would let this run go on now.
    pub go_on: Vec<String>,
    /// Position of the finding that this one follows from.
    pub follows: Option<usize>,
}

impl Finding {
    /// A finding that rests on a sentence alone, to be filled in.
    pub(super) fn told(class: Class, verdict: Verdict, confidence: Confidence, summary: String) -> Self {
        Self {
            class,
            subtype: None,
            verdict,
            confidence,
            summary,
            since_boot_ns: None,
            blocked_ms: None,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Cannot go on.
    Waiter,
    /// Could let it go on.
    Holder,
    /// Between them.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// argv, an element an argument; secrets are masked.
    pub cmdline: Vec<String>,
    /// What it waits in: `write(fd 1)`, `wait4(845)`; null when it runs or is stopped.
    pub waits_in: Option<String>,
    /// The test that it belongs to.
    pub test: Option<String>,
    /// The session of ours that it belongs to.
    pub session: Option<String>,
}

/// Something that processes wait on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// `pipe`, `fifo`, `unix-socket`, `tcp-socket`, `pty`, `file`, …
    pub kind: String,
    /// `pipe:[23425]`, a path, `[::1]:80 -> …`.
    pub id: String,
    /// Bytes in it.
    pub used: Option<u64>,
    /// Bytes it takes.
    pub capacity: Option<u64>,
    /// Pipe buffers in use.
    pub slots_used: Option<u32>,
    /// Pipe buffers there are.
    pub slots: Option<u32>,
    /// Who can read from it, or shares it where it has no modes (then `writers` is empty).
    pub readers: Vec<End>,
    /// Who can write to it.
    pub writers: Vec<End>,
}

/// An fd on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct End {
    /// Process number.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// fd.
    pub fd: u32,
}

/// `from` cannot go on until `to` acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Node id: `812/815` (process/thread) or a resource's id.
    pub from: String,
    /// Node id.
    pub to: String,
    /// Through what: `fd 1`, `pipe:[23425]`, `child`.
    pub via: String,
    /// What has to happen: `write`, `read`, `exit`, `lock`, …
    pub op: String,
}

/// The graph of all that waits in the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Threads and resources.
    pub nodes: Vec<Node>,
    /// Who waits for whom.
    pub edges: Vec<Edge>,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the graph.
    pub id: String,
    /// `thread` or `resource`.
    pub kind: String,
    /// For a reader.
    pub label: String,
    /// The hope in it: `stuck`, `orphaned`, `waiting`, `external`, `soon`, `active`; null for a resource.
    pub state: Option<String>,
}
