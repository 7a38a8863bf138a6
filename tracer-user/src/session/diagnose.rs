//! `diagnose`: why something hangs now.
//!
//! Evidence is collected, and judged by pure code. Nothing is changed and no process is signaled. The job
//! need not have been traced before.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::core::diagnosis::{self, Diagnosis};
use crate::core::evidence::Evidence;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::Sidecar;
use crate::procfs_view::{Ask, Request};
use crate::session::look;
use crate::store::{Claim, Layout, ResolveConfig, SessionFiles, TraceDir};

/// The processes that a diagnosis is about.
#[derive(Clone, Debug)]
pub enum DiagnoseScope {
    /// Every process of the machine.
    Machine,
    /// The process that has this pid now, and its descendants.
    Tree(u32),
    /// A session that is traced now: its root, the root's descendants, and the processes of its login
    /// session.
    Session {
        /// Its id, or a beginning of it that no other session shares.
        id: String,
        /// The trace directory; `None`: the default place.
        trace_dir: Option<PathBuf>,
    },
    /// Evidence that an earlier look recorded.
    Recorded(PathBuf),
}

/// Recorded evidence is read up to this size, bytes.
const MOST_RECORDED: u64 = 256 << 20;

/// How long stacks may take to read.
const STACKS_WITHIN: Duration = Duration::from_secs(3);

/// The options of `diagnose`.
#[derive(Clone, Debug)]
pub struct DiagnoseOptions {
    /// The processes in question.
    pub scope: DiagnoseScope,
    /// Time between the two readings of every thread.
    pub quiet_window: Duration,
    /// Read the user-space stacks of the threads that the diagnosis names.
    pub stacks: bool,
}

/// Evidence and the diagnosis of it.
#[derive(Clone, Debug)]
pub struct DiagnoseResult {
    /// The evidence.
    pub evidence: Evidence,
    /// The diagnosis.
    pub diagnosis: Diagnosis,
}

/// Collects evidence and judges it. Takes the quiet window, and the time of the readings.
pub fn diagnose(config: &DiagnoseOptions) -> anyhow::Result<DiagnoseResult> {
    let mut evidence = evidence(config)?;
    // What a thread does when its time-out comes may decide: then the look lasts until it has come.
    if !matches!(config.scope, DiagnoseScope::Recorded(_))
        && let Some(ns) = diagnosis::decided_after(&evidence)
    {
        let quiet_window = Duration::from_nanos(ns) + config.quiet_window;
        evidence = self::evidence(&DiagnoseOptions { quiet_window, ..config.clone() })?;
    }
    let mut diagnosis = diagnosis::diagnose(&evidence);
    if config.stacks && !matches!(config.scope, DiagnoseScope::Recorded(_)) {
        look::add_stacks(&mut evidence, &diagnosis, STACKS_WITHIN);
        diagnosis = diagnosis::diagnose(&evidence);
    }
    Ok(DiagnoseResult { evidence, diagnosis })
}

/// Collects evidence without judging it.
pub fn evidence(config: &DiagnoseOptions) -> anyhow::Result<Evidence> {
    let ask = match &config.scope {
        DiagnoseScope::Recorded(path) => return recorded(path),
        DiagnoseScope::Machine => Ask::All,
        DiagnoseScope::Tree(pid) => Ask::Tree(*pid),
        DiagnoseScope::Session { id, trace_dir } => {
            let (id, root) = live_session(id, trace_dir.clone())?;
            Ask::Session { id, members: vec![root] }
        }
    };
    let request = Request { ask, quiet_window: config.quiet_window };
    Ok(look::collect(&request, true)?)
}

/// Reads evidence that an earlier look recorded; `-` is standard input.
fn recorded(path: &Path) -> anyhow::Result<Evidence> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MOST_RECORDED).read_to_end(&mut bytes).context("standard input")?;
    } else {
        // A FIFO would wait for its writer for ever.
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .with_context(|| path.display().to_string())?;
        anyhow::ensure!(file.metadata()?.is_file(), "{}: it is no regular file", path.display());
        file.take(MOST_RECORDED).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    }
    Evidence::from_json(&bytes).with_context(|| path.display().to_string())
}

/// Id and root of the one live session whose id begins like this.
fn live_session(wanted: &str, trace_dir: Option<PathBuf>) -> anyhow::Result<(String, ProcessId)> {
    let directory = TraceDir::resolve(&ResolveConfig::from_environment(trace_dir))?;
    let mut found = Vec::new();
    for name in directory.dir().list()? {
        let Some(files) = SessionFiles::of_sidecar(Layout::Own, &name) else { continue };
        // A sidecar that cannot be read is of another session, and `recover` reports it.
        let Ok(Sidecar::Own(enrollment)) = Claim::read_unclaimed(directory.dir(), &files, directory.uid())
        else {
            continue;
        };
        let id = enrollment.session_id.to_string();
        let Some(start_ticks) = enrollment.starttime_ticks else { continue };
        let root = ProcessId { tgid: enrollment.pid, start_ticks };
        if id == wanted {
            return Ok((id, root));
        }
        if id.starts_with(wanted) {
            found.push((id, root));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("no session {wanted:?} is traced now in {}", directory.path().display()),
        several => bail!("{several} sessions begin with {wanted:?}"),
    }
}
