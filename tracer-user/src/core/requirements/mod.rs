//! What the tracer needs of a machine: from what was found there to verdicts, with what is lost and what to do.

mod judge;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use judge::judge;

/// The report's schema.
pub const SCHEMA: &str = "tracer.doctor/1";

/// What was found on a machine. `None`: could not be read, or is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// `uname -r`.
    pub kernel_release: Option<String>,
    /// `uname -m`.
    pub machine: Option<String>,
    /// `/proc` shows processes.
    pub proc_readable: bool,
    /// The kernel's type information: its size in bytes, or why it cannot be read.
    pub btf: Option<Result<u64, String>>,
    /// The mode in brackets in `/sys/kernel/security/lockdown`; `None` where there is no lockdown.
    pub lockdown: Option<String>,
    /// Effective user.
    pub uid: u32,
    /// Effective capabilities, bit by number.
    pub capabilities: Option<u64>,
    /// The user namespace is the machine's first: capabilities count everywhere.
    pub initial_user_namespace: Option<bool>,
    /// The pid namespace is the machine's first.
    pub initial_pid_namespace: Option<bool>,
    /// The BPF file system is mounted where it belongs.
    pub bpffs_mounted: bool,
    /// Loading the kernel programs was tried; `None` when it was not to be.
    pub kernel_events: Option<Tried>,
    /// pidfd_open(2) on ourselves: none, or what it said.
    pub pidfd: Result<(), String>,
    /// Subscribing to the proc connector: none, or what it said.
    pub proc_connector: Result<(), String>,
    /// `hidepid` of the mount of `/proc`, when it is not off.
    pub hidepid: Option<String>,
    /// `kernel.yama.ptrace_scope`; `None` without Yama.
    pub ptrace_scope: Option<u32>,
    /// `kernel.bpf_stats_enabled`.
    pub bpf_stats: Option<bool>,
    /// `fs.pipe-max-size`, bytes.
    pub pipe_max_size: Option<u64>,
    /// `fs.pipe-user-pages-soft`, pages; 0 is no limit.
    pub pipe_user_pages_soft: Option<u64>,
    /// Soft and hard limit of open files; `None`: unlimited.
    pub open_files: (Option<u64>, Option<u64>),
    /// Where traces would be kept: path, and whether that is in memory; or why nowhere.
    pub trace_dir: Result<(String, bool), String>,
    /// Where sessions would be kept; or why nowhere.
    pub log_dir: Result<String, String>,
    /// Places at which this build can be told to die; `None` when it cannot.
    pub fault_points: Option<Vec<String>>,
}

/// What came of loading the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// They were loaded, attached and removed again; these kernel fields were missing.
    Worked {
        /// Fields without which something is not told.
        missing_fields: Vec<String>,
    },
    /// They were not.
    Failed(String),
}

/// A verdict; of the whole, the gravest that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is lost.
    Works,
    /// Something is lost.
    Degraded,
    /// It is not to be had.
    Not,
}

/// A requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// Stable name.
    pub id: String,
    /// What was found.
    pub found: String,
    /// What that means.
    pub verdict: Verdict,
    /// What is lost; null when nothing is.
    pub lost: Option<String>,
    /// What to do about it; null when nothing is to be done.
    pub remedy: Option<String>,
    /// Without it nothing works at all; without others only what is said to be lost.
    pub essential: bool,
}

/// What `doctor` reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// `tracer.doctor/1`.
    pub schema: String,
    /// Of the whole: `not` only when something essential is missing.
    pub verdict: Verdict,
    /// Whether kernel events are to be had; null when that was not tried.
    pub kernel_events: Option<bool>,
    /// Each requirement, in the order in which they build on each other.
    pub requirements: Vec<Requirement>,
    /// A test build: it dies at one of these places when `TRACER_FAULT_KILL` names it. Null in any other build.
    pub fault_points: Option<Vec<String>>,
}

impl Doctor {
    /// From what was found.
    pub fn of(findings: &Findings) -> Self {
        let requirements = judge(findings);
        let verdict = requirements
            .iter()
            .map(|it| if it.essential { it.verdict } else { it.verdict.min(Verdict::Degraded) })
            .max()
            .unwrap_or(Verdict::Works);
        Self {
            schema: SCHEMA.to_owned(),
            verdict,
            kernel_events: findings.kernel_events.as_ref().map(|tried| matches!(tried, Tried::Worked { .. })),
            requirements,
            fault_points: findings.fault_points.clone(),
        }
    }
}
