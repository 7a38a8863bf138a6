//! The tracer's requirements of a machine: the facts about it, and a verdict for each, with what is lost and
//! the remedy.

mod judge;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use judge::judge;

/// The report's schema.
pub const SCHEMA: &str = "tracer.doctor/1";

/// The facts about a machine. `None`: not available, or not readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineFacts {
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
    /// The user namespace is the initial one: capabilities apply to the whole machine.
    pub initial_user_namespace: Option<bool>,
    /// The pid namespace is the initial one.
    pub initial_pid_namespace: Option<bool>,
    /// The BPF file system is mounted at `/sys/fs/bpf`.
    pub bpffs_mounted: bool,
    /// The result of loading the kernel programs; `None` when that was not tried.
    pub kernel_events: Option<KernelTrial>,
    /// Pins of dead tracers that were found and removed, or why that failed; `None` when that was not tried.
    pub collected_pins: Option<Result<Vec<String>, String>>,
    /// pidfd_open(2) on this process works, or its error.
    pub pidfd: Result<(), String>,
    /// Subscribing to the proc connector works, or its error.
    pub proc_connector: Result<(), String>,
    /// `hidepid` of the mount of `/proc`; `None` when it is off.
    pub hidepid: Option<String>,
    /// `kernel.yama.ptrace_scope`; `None` without Yama.
    pub ptrace_scope: Option<u32>,
    /// `kernel.bpf_stats_enabled`.
    pub bpf_stats: Option<bool>,
    /// `fs.pipe-max-size`, bytes.
    pub pipe_max_size: Option<u64>,
    /// `fs.pipe-user-pages-soft`, pages; 0 means no limit.
    pub pipe_user_pages_soft: Option<u64>,
    /// Soft and hard limit of open files; `None`: unlimited.
    pub open_files: (Option<u64>, Option<u64>),
    /// The trace directory, and whether it is in memory; or why there is none.
    pub trace_dir: Result<(String, bool), String>,
    /// The directory of the session log, or why it cannot be used.
    pub log_dir: Result<String, String>,
    /// The fault points of this build; `None` in a build without fault injection.
    pub fault_points: Option<Vec<String>>,
}

/// The result of loading the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelTrial {
    /// They were loaded, attached and removed again. Some kernel fields may be missing.
    Worked {
        /// Missing kernel fields. What depends on them is not reported.
        missing_fields: Vec<String>,
    },
    /// They could not be loaded or attached. The cause.
    Failed(String),
}

/// The verdict on a requirement, or on the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequirementVerdict {
    /// Nothing is lost.
    Works,
    /// Something is lost.
    Degraded,
    /// It is not met.
    Not,
}

/// A requirement and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// Stable name, such as `btf`.
    pub id: String,
    /// What was found.
    pub found: String,
    /// The verdict.
    pub verdict: RequirementVerdict,
    /// What is lost; null when nothing is.
    pub lost: Option<String>,
    /// What to do about it; null when nothing is lost.
    pub remedy: Option<String>,
    /// Without it nothing works. Without another requirement, only what `lost` names does not.
    pub essential: bool,
}

/// The report of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReport {
    /// `tracer.doctor/1`.
    pub schema: String,
    /// The verdict on the machine: `not` only when an essential requirement is not met.
    pub verdict: RequirementVerdict,
    /// Kernel events are available; null when that was not tried.
    pub kernel_events: Option<bool>,
    /// The requirements, in the order in which they build on each other.
    pub requirements: Vec<Requirement>,
    /// The points at which a test build kills itself when `TRACER_FAULT_KILL` names one. Null in any other
    /// build.
    pub fault_points: Option<Vec<String>>,
}

impl DoctorReport {
    /// Judges the facts about a machine.
    pub fn of(findings: &MachineFacts) -> Self {
        let requirements = judge(findings);
        let verdict = requirements
            .iter()
            .map(|it| if it.essential { it.verdict } else { it.verdict.min(RequirementVerdict::Degraded) })
            .max()
            .unwrap_or(RequirementVerdict::Works);
        Self {
            schema: SCHEMA.to_owned(),
            verdict,
            kernel_events: findings
                .kernel_events
                .as_ref()
                .map(|tried| matches!(tried, KernelTrial::Worked { .. })),
            requirements,
            fault_points: findings.fault_points.clone(),
        }
    }
}
