//! Options that several verbs share, each defined once.

use std::path::PathBuf;
use std::time::Duration;

use super::value;
use crate::core::retention::RetentionPolicy;
use crate::session::options::{Layout, OnHang, Places, Recording, Watch};

/// Where sessions are kept.
#[derive(clap::Args, Clone, Debug)]
pub struct PlaceArgs {
    /// Keep live traces in tracer-user-UID/ under this directory, preferably on a tmpfs [default: /dev/shm,
    /// or the next usable directory]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    trace_dir: Option<PathBuf>,
    /// Keep finished sessions in this directory [default: /var/log/tracer-user for root, else under
    /// $XDG_STATE_HOME]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    log_dir: Option<PathBuf>,
}

impl PlaceArgs {
    /// The options of the session function.
    pub fn resolve(&self) -> Places {
        Places { trace_dir: self.trace_dir.clone(), log_dir: self.log_dir.clone() }
    }
}

/// How a session is watched.
#[derive(clap::Args, Clone, Debug)]
pub struct WatchArgs {
    /// Time between two samples of all processes
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration, default_value = "5s")]
    interval: Duration,
    /// Report a blocked write after this long
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration, default_value = "1s")]
    stall_threshold: Duration,
    /// Look for a hang when anything in the session has waited for this long
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration, default_value = "60s")]
    hang_after: Duration,
    /// What to do about a hang
    #[arg(long, value_enum, value_name = "ACTION", default_value_t = OnHangArg::Report)]
    on_hang: OnHangArg,
    /// How long to wait after each of SIGINT, SIGTERM and SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "3s")]
    grace: Duration,
    /// Do not read the stacks of the threads that wait
    #[arg(long)]
    no_stacks: bool,
    /// Maximum size of a trace; past it the oldest snapshots are removed
    #[arg(long, value_name = "SIZE", value_parser = value::size, default_value = "64MiB", help_heading = "Files")]
    trace_max_bytes: u64,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Do not use BPF; poll /proc instead
    #[arg(long)]
    no_kernel: bool,
    /// Record command lines as they are, with the secrets in them
    #[arg(long, help_heading = "Files")]
    keep_arguments: bool,
    /// Show no status line and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

impl WatchArgs {
    /// How the session is watched.
    pub fn watch(&self) -> Watch {
        Watch {
            interval: self.interval,
            stall_threshold: self.stall_threshold,
            hang_after: self.hang_after,
            on_hang: self.on_hang.into(),
            grace: self.grace,
            stacks: !self.no_stacks,
        }
    }

    /// How the session is recorded.
    pub fn recording(&self, verbosity: u8) -> Recording {
        Recording {
            trace_max_bytes: self.trace_max_bytes,
            retention: self.retention.policy(),
            no_kernel: self.no_kernel,
            keep_arguments: self.keep_arguments,
            kernel_log: verbosity >= 2,
        }
    }
}

/// Which finished sessions are kept.
#[derive(clap::Args, Clone, Debug)]
pub struct RetentionArgs {
    /// Keep at most this many finished sessions
    #[arg(long, value_name = "N", default_value_t = RetentionPolicy::MAX_SESSIONS, help_heading = "Files")]
    max_sessions: usize,
    /// Remove finished sessions that began longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration, help_heading = "Files")]
    max_session_age: Option<Duration>,
    /// Remove the oldest finished sessions when all of them together are larger than this
    #[arg(long, value_name = "SIZE", value_parser = value::size, default_value = "1GiB", help_heading = "Files")]
    max_log_bytes: u64,
    /// Remove the oldest finished sessions, down to 64 MiB, until this share of the file system is free
    #[arg(long, value_name = "PERCENT", value_parser = value::percent, default_value = "15%", help_heading = "Files")]
    keep_free: u8,
    /// Never remove finished sessions with this label, such as those of a whole campaign; may be repeated
    #[arg(long = "protect", value_name = "KEY=VALUE", value_parser = value::key_value, help_heading = "Files")]
    protect: Vec<(String, String)>,
}

impl RetentionArgs {
    /// The policy.
    pub fn policy(&self) -> RetentionPolicy {
        RetentionPolicy {
            max_sessions: self.max_sessions,
            max_age: self.max_session_age,
            max_bytes: Some(self.max_log_bytes),
            keep_free_percent: self.keep_free,
            protected_labels: self.protect.clone(),
        }
    }
}

/// The layout of session files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutArg {
    /// The layout of this tool
    Tracer,
    /// The layout of AutoSkillit
    Autoskillit,
}

impl From<LayoutArg> for Layout {
    fn from(arg: LayoutArg) -> Self {
        match arg {
            LayoutArg::Tracer => Self::Own,
            LayoutArg::Autoskillit => Self::AutoSkillit,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnHangArg {
    /// Report it
    Report,
    /// Report it and enlarge full pipes, so that this run can go on
    Relieve,
    /// Report it and end the session: SIGINT, SIGTERM, SIGKILL
    Interrupt,
}

impl From<OnHangArg> for OnHang {
    fn from(arg: OnHangArg) -> Self {
        match arg {
            OnHangArg::Report => Self::Report,
            OnHangArg::Relieve => Self::Relieve,
            OnHangArg::Interrupt => Self::Interrupt,
        }
    }
}
