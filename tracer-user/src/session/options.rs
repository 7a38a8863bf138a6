//! What the verbs are asked to do, as plain values: made by `cli` from what was typed, valid by construction.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where sessions are kept. `None`: the usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where the directory of live traces is.
    pub trace_dir: Option<PathBuf>,
    /// Where finished sessions are kept.
    pub log_dir: Option<PathBuf>,
}

/// How a session is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Time between two snapshots.
    pub interval: Duration,
    /// A blocked write is reported when it has lasted so long.
    pub stall_threshold: Duration,
    /// The session hangs when nothing in it has made progress for so long.
    pub hang_after: Duration,
    /// What is done about a hang.
    pub on_hang: OnHang,
    /// A trace takes at most so many bytes.
    pub trace_max_bytes: u64,
    /// At most so many finished sessions are kept.
    pub max_sessions: u32,
    /// Do as if BPF were not to be had.
    pub no_kernel: bool,
    /// How long each rung of the ladder of signals is waited for.
    pub grace: Duration,
    /// No status line, no summary.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbosity: u8,
}

/// What is done about a hang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHang {
    /// It is explained.
    #[default]
    Report,
    /// It is explained, and full pipes are enlarged.
    Relieve,
    /// It is explained, and the session is ended by the ladder of signals.
    Interrupt,
}

/// Whose files are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Ours.
    #[default]
    Tracer,
    /// AutoSkillit's, which its own reader takes.
    Autoskillit,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// For a terminal.
    Text,
    /// For programs.
    Json,
    /// For a forge's summary.
    Markdown,
    /// For a browser.
    Html,
    /// For CI's test reports.
    Junit,
    /// The graph, for Graphviz.
    Dot,
    /// The graph, for Markdown pages that draw it.
    Mermaid,
}

/// A report that is to be written at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTo {
    /// How.
    pub format: ReportFormat,
    /// Where to.
    pub path: PathBuf,
}

/// What `run` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Program and arguments; never empty.
    pub command: Vec<OsString>,
    /// Name of the session; one is made up when there is none.
    pub session_id: Option<String>,
    /// What else is noted of it.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: Places,
    /// How it is watched.
    pub watch: Watch,
    /// The job is ended by the ladder of signals when it has run so long.
    pub timeout: Option<Duration>,
    /// Reports to write.
    pub reports: Vec<ReportTo>,
    /// End what is left alive after the job.
    pub reap_leaked: bool,
    /// Whose files are written.
    pub layout: Layout,
}

/// What `attach` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachOptions {
    /// The processes; never empty.
    pub pids: Vec<u32>,
    /// Name of the session; one is made up when there is none.
    pub session_id: Option<String>,
    /// What else is noted of it.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: Places,
    /// How it is watched.
    pub watch: Watch,
}
