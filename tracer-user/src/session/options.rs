//! The options of the verbs, as plain values: `cli` makes them from the command line, valid by construction.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use strum::IntoStaticStr;

use crate::core::retention::RetentionPolicy;
pub use crate::store::Layout;

/// Where sessions are kept. `None`: the default place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The directory under which live traces are.
    pub trace_dir: Option<PathBuf>,
    /// The directory of finished sessions.
    pub log_dir: Option<PathBuf>,
}

/// How a session is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Time between two samples of all processes.
    pub interval: Duration,
    /// A blocked write is reported when it has lasted this long.
    pub stall_threshold: Duration,
    /// A hang is looked for when anything in the session has waited for this long.
    pub hang_after: Duration,
    /// What is done about a hang.
    pub on_hang: OnHang,
    /// How long each step of an escalation is waited for.
    pub grace: Duration,
    /// Read the user-space stacks of the threads that a diagnosis names.
    pub stacks: bool,
}

/// How a session is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The largest size of a trace, bytes.
    pub trace_max_bytes: u64,
    /// Which finished sessions are kept.
    pub retention: RetentionPolicy,
    /// Do not use BPF.
    pub no_kernel: bool,
    /// Record command lines with the secrets in them.
    pub keep_arguments: bool,
    /// Report the kernel programs' own debug log.
    pub kernel_log: bool,
}

/// When a job is ended by escalation. `None`: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// After this long.
    pub timeout: Option<Duration>,
    /// When nothing in it has made progress for this long.
    pub max_idle: Option<Duration>,
}

/// What is done about a hang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum OnHang {
    /// It is explained.
    #[default]
    Report,
    /// It is explained, and full pipes are enlarged.
    Relieve,
    /// It is explained, and the session is ended by escalation.
    Interrupt,
}

impl OnHang {
    /// The name in the header of a trace.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The options of `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Program and arguments; never empty.
    pub command: Vec<OsString>,
    /// Id of the session; `None`: one is generated.
    pub session_id: Option<String>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: Places,
    /// How it is watched.
    pub watch: Watch,
    /// How it is recorded.
    pub recording: Recording,
    /// When the job is ended.
    pub limits: TimeLimits,
    /// End the processes that outlive the job.
    pub reap_leaked: bool,
    /// Do not run a job that cannot be traced.
    pub require_tracing: bool,
    /// Whose files are written. With AutoSkillit's, the tracer's own are written as well.
    pub layout: Layout,
    /// AutoSkillit's log, to which the session is added with its layout; `None`: the default one.
    pub autoskillit_log: Option<PathBuf>,
    /// The files of this directory are attached to the session.
    pub keep: Option<PathBuf>,
}

/// What `attach` traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachTargets {
    /// These processes, never none, and their descendants.
    Pids(Vec<u32>),
    /// Everything that carries the marker of the CI job in which the tracer runs, until the tracer is ended.
    Job,
}

/// The options of `attach`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachOptions {
    /// The processes.
    pub targets: AttachTargets,
    /// Id of the session; `None`: one is generated.
    pub session_id: Option<String>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: Places,
    /// How it is watched.
    pub watch: Watch,
    /// How it is recorded.
    pub recording: Recording,
    /// Tracing ends after this long; the processes are left alone.
    pub timeout: Option<Duration>,
}
