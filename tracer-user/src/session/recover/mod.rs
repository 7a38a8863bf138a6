//! `recover`: finishes the sessions whose owner died.
//!
//! Each session is claimed by its lock, examined, judged by [`crate::core::gates`], and only then acted on. A
//! dry run does everything but the acting, so both print the same plan. A bad file costs an entry among the
//! problems and never the sweep. The process that holds a session's lock while it is filed is the only one
//! that files it. Others find the lock held, or the session gone.

pub mod adopt;
mod autoskillit;
mod finish;
mod gather;
mod on_start;
mod pinned;
mod replay;
mod source;
mod sweep;

pub use adopt::Adoption;
pub use finish::reconcile;
pub use on_start::{StartRecovery, on_start};
pub use pinned::Pinned;
pub use source::{FateSource, KernelRecord, NoKernel, PinError, pin_name};
pub use sweep::recover;

use super::clock;
use super::options::Places;
use super::problems::Problems;
use crate::core::gates::{GateVerdict, RecoveryPolicy};
use crate::core::record::SessionIdError;
use crate::core::retention::{RetentionPlan, RetentionPolicy};
use crate::core::time::Anchor;
use crate::procfs_view::{ProcRoot, table};
use crate::store::{Layout, LogConfig, LogError, ResolveConfig, TraceDir};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How to recover.
#[derive(Clone)]
pub struct RecoverConfig {
    /// Where the traces are.
    pub traces: TraceDir,
    /// How the files of sessions are named and written.
    pub layout: Layout,
    /// Where finished sessions go.
    pub log: LogConfig,
    /// Which sessions are left alone, and whether live ones are adopted.
    pub policy: RecoveryPolicy,
    /// Only report what would be done.
    pub dry_run: bool,
    /// This machine, now.
    pub here: LocalHost,
    /// The kernel's records.
    pub kernel: Arc<dyn FateSource>,
}

/// How to recover, as plain values.
#[derive(Clone, Debug)]
pub struct RecoverOptions {
    /// Where sessions are kept.
    pub places: Places,
    /// How the files of sessions are named and written. AutoSkillit's need a trace directory among the
    /// places.
    pub layout: Layout,
    /// Sessions that were written to more recently than this are left alone.
    pub min_age: Duration,
    /// Adopt sessions whose job runs.
    pub adopt: bool,
    /// Only report what would be done.
    pub dry_run: bool,
    /// Which finished sessions are kept.
    pub retention: RetentionPolicy,
    /// Do not use BPF.
    pub no_kernel: bool,
}

impl RecoverOptions {
    /// Opens the trace directory and examines this machine.
    ///
    /// # Errors
    /// When the trace directory is refused or unusable.
    pub fn resolve(&self) -> anyhow::Result<RecoverConfig> {
        let traces = match (self.layout, &self.places.trace_dir) {
            (Layout::Own, dir) => TraceDir::resolve(&ResolveConfig::from_environment(dir.clone()))?,
            (Layout::AutoSkillit, Some(dir)) => TraceDir::foreign(dir, rustix::process::geteuid().as_raw())?,
            (Layout::AutoSkillit, None) => {
                anyhow::bail!("AutoSkillit's files: name their directory with --trace-dir")
            }
        };
        Ok(RecoverConfig {
            traces,
            layout: self.layout,
            log: LogConfig::from_environment(self.places.log_dir.clone(), self.retention.clone()),
            policy: RecoveryPolicy { min_age: self.min_age, adopt: self.adopt },
            dry_run: self.dry_run,
            here: LocalHost::now(ProcRoot::system()),
            kernel: fate_source(self.no_kernel),
        })
    }
}

/// The kernel's records, unless BPF is not to be used.
pub fn fate_source(no_kernel: bool) -> Arc<dyn FateSource> {
    if no_kernel { Arc::new(NoKernel) } else { Arc::new(Pinned) }
}

/// This machine, as far as recovery has to know it.
#[derive(Clone, Debug)]
pub struct LocalHost {
    /// `/proc`.
    pub proc: ProcRoot,
    /// The id of this boot; `None` when it cannot be read.
    pub boot_id: Option<String>,
    /// Inode of this process's pid namespace; `None` when it cannot be read.
    pub pidns_ino: Option<u64>,
    /// The present time.
    pub anchor: Anchor,
}

impl LocalHost {
    /// This machine, now.
    pub fn now(proc: ProcRoot) -> Self {
        let pidns_ino = table::own_namespaces(&proc).pid;
        Self { boot_id: table::boot_id(&proc), proc, pidns_ino, anchor: clock::anchor() }
    }
}

/// Why a session could not be finished or adopted. Its files stay for the next recovery.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// This process does not hold its lock, or has not read its sidecar.
    #[error("it is not claimed")]
    NotClaimed,
    /// Its id may not become a file name.
    #[error(transparent)]
    SessionId(#[from] SessionIdError),
    /// Its trace cannot be read, or not be created.
    #[error("its trace cannot be read: {0}")]
    Trace(#[source] std::io::Error),
    /// It cannot be filed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a recovery found and did.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct RecoveryReport {
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// One entry per session, in the order of their file names.
    pub sessions: Vec<RecoveryEntry>,
    /// What is in the way or not understood, one line each.
    pub problems: Problems,
    /// Files of dead writers and pins of dead sessions that were removed.
    pub swept: Vec<String>,
    /// Finished sessions that retention removed to make room for these.
    pub retention: RetentionPlan,
    /// Sessions that were adopted. The caller continues to trace them.
    #[serde(skip)]
    pub adopted: Vec<Adoption>,
}

/// One session in the report of a recovery.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RecoveryEntry {
    /// The part of its file names that identifies it.
    pub files: String,
    /// Its id; null when its sidecar cannot be read.
    pub session_id: Option<String>,
    /// The pid of its root; null when its sidecar cannot be read.
    pub pid: Option<u32>,
    /// What to do, and why.
    #[serde(flatten)]
    pub verdict: GateVerdict,
    /// What was done.
    pub outcome: RecoveryOutcome,
}

/// What was done with a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryOutcome {
    /// Nothing: that was the plan, or this is a dry run.
    Left,
    /// It was filed.
    Filed {
        /// Its directory in the session log.
        dir_name: String,
        /// The fate of its root.
        termination_reason: String,
        /// It was in the log before, and only its evidence was removed.
        already: bool,
    },
    /// This process continues it.
    Adopted,
    /// It could not be finished, and why. Its files stay for the next recovery.
    Failed(String),
}

impl RecoveryReport {
    /// The number of sessions with such an outcome.
    pub fn count(&self, which: impl Fn(&RecoveryOutcome) -> bool) -> usize {
        self.sessions.iter().filter(|entry| which(&entry.outcome)).count()
    }

    /// The number of sessions that were filed.
    pub fn filed(&self) -> usize {
        self.count(|outcome| matches!(outcome, RecoveryOutcome::Filed { .. }))
    }

    /// The number of sessions that could not be finished.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, RecoveryOutcome::Failed(_)))
    }
}
