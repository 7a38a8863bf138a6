//! `recover`: finishes the sessions whose owner died.
//!
//! Each session is claimed by its lock, looked at, judged by [`crate::core::gates`], and only then acted on. A dry run does
//! all but the acting, so both print the same plan. One bad file costs an entry among the problems and never the sweep.
//! Whoever holds a session's lock when it is filed is the only one to file it; the others find it held, or gone.

mod act;
mod autoskillit;
mod gather;
mod on_start;
mod pinned;
mod probe;
mod source;
mod sweep;

pub use act::{Adoption, reconcile};
pub use on_start::{Quick, quick};
pub use pinned::Pinned;
pub use probe::{ProcessRef, probe};
pub use source::{FateSource, KernelRecord, NoKernel, pin_name};
pub use sweep::recover;

use crate::core::gates::{Judgement, Policy};
use crate::core::time::Anchor;
use crate::procfs_view::{ProcRoot, table};
use crate::session::clock;
use crate::session::options::Places;
use crate::store::{Layout, LogConfig, ResolveConfig, TraceDir};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What recovery is to do.
#[derive(Clone)]
pub struct RecoverConfig {
    /// Where the traces are.
    pub traces: TraceDir,
    /// Whose way of naming files.
    pub layout: Layout,
    /// Where finished sessions go.
    pub log: LogConfig,
    /// What is left alone and what is taken over.
    pub policy: Policy,
    /// Only say what would be done.
    pub dry_run: bool,
    /// This machine, now.
    pub here: LocalHost,
    /// The kernel's records.
    pub kernel: Arc<dyn FateSource>,
}

/// What was asked for, as plain values.
#[derive(Clone, Debug)]
pub struct RecoverOptions {
    /// Where sessions are kept.
    pub places: Places,
    /// Read AutoSkillit's files in the trace directory that was given.
    pub autoskillit: bool,
    /// Sessions written to more lately are left alone.
    pub min_age: Duration,
    /// Sessions whose job runs are taken over.
    pub adopt: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Sessions that are kept.
    pub max_sessions: u32,
    /// Do as if BPF were not to be had.
    pub no_kernel: bool,
}

impl RecoverOptions {
    /// Looks at this machine and opens what has to be there.
    ///
    /// # Errors
    /// When the trace directory is refused or unusable.
    pub fn resolve(&self) -> anyhow::Result<RecoverConfig> {
        let (layout, traces) = match (self.autoskillit, &self.places.trace_dir) {
            (false, dir) => (Layout::Own, TraceDir::resolve(&ResolveConfig::from_environment(dir.clone()))),
            (true, Some(dir)) => {
                (Layout::AutoSkillit, TraceDir::foreign(dir, rustix::process::geteuid().as_raw()))
            }
            (true, None) => anyhow::bail!("AutoSkillit's files: name their directory with --trace-dir"),
        };
        let kernel: Arc<dyn FateSource> = if self.no_kernel { Arc::new(NoKernel) } else { Arc::new(Pinned) };
        Ok(RecoverConfig {
            traces: traces?,
            layout,
            log: LogConfig::from_environment(self.places.log_dir.clone(), self.max_sessions as usize),
            policy: Policy { min_age: self.min_age, adopt: self.adopt },
            dry_run: self.dry_run,
            here: LocalHost::now(ProcRoot::system()),
            kernel,
        })
    }
}

/// This machine, as far as recovery has to know it.
#[derive(Clone, Debug)]
pub struct LocalHost {
    /// `/proc`.
    pub proc: ProcRoot,
    /// Which boot this is; `None` when it cannot be read.
    pub boot_id: Option<String>,
    /// Inode of this process's pid namespace; `None` when it cannot be read.
    pub pidns_ino: Option<u64>,
    /// Now.
    pub anchor: Anchor,
}

impl LocalHost {
    /// Looks.
    pub fn now(proc: ProcRoot) -> Self {
        let pidns_ino = rustix::fs::stat(proc.path().join("self/ns/pid")).ok().map(|stat| stat.st_ino);
        Self { boot_id: table::boot_id(&proc), proc, pidns_ino, anchor: clock::anchor() }
    }
}

/// What was found, and what was done.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// A session each, in the order of their names.
    pub sessions: Vec<Entry>,
    /// What is in the way, or not understood; one line each.
    pub problems: Vec<String>,
    /// Files of dead writers, and pins of dead sessions, that were removed.
    pub swept: Vec<String>,
    /// Sessions that were taken over; who asked for it goes on tracing them.
    #[serde(skip)]
    pub adopted: Vec<Adoption>,
}

/// One session.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The part of its file names that tells sessions apart.
    pub files: String,
    /// Its id, where its sidecar tells.
    pub session_id: Option<String>,
    /// The root's number.
    pub pid: Option<u32>,
    /// What to do, and why.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was left as it is: that was the plan, or this is a dry run.
    Left,
    /// It was filed, under this name.
    Filed {
        /// Its directory in the session log.
        dir_name: String,
        /// What became of its root.
        termination_reason: String,
        /// It was in the log before, and only its remains were removed.
        already: bool,
    },
    /// It goes on with us.
    Adopted,
    /// It could not be done; its files stay for the next time.
    Failed(String),
}

impl Report {
    /// How many came out in a certain way.
    pub fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.sessions.iter().filter(|entry| which(&entry.outcome)).count()
    }

    /// Sessions that were filed.
    pub fn filed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Filed { .. }))
    }

    /// Sessions that could not be.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }
}
