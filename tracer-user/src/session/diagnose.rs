//! `diagnose`: why something hangs now.
//!
//! A look at the machine, and a pure judgement of what was seen. Nothing is changed and nobody is signalled; the job
//! need not have been traced before.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use super::live::kernel_reader;
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::evidence::Evidence;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::Sidecar;
use crate::procfs_view::{self, Ask, ProcRoot, Request};
use crate::store::{Claim, Layout, ResolveConfig, SessionFiles, TraceDir};

/// About what the question is.
#[derive(Clone, Debug)]
pub enum About {
    /// Every process of the machine.
    Machine,
    /// The process that has this pid now, and its descendants.
    Tree(u32),
    /// A session of ours that is traced now: its root process, the descendants of that, and who belongs to its login session.
    Session {
        /// Its id, or the beginning of it that no other one shares.
        id: String,
        /// Where sessions are kept; the usual place when there is none.
        trace_dir: Option<PathBuf>,
    },
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Config {
    /// About what.
    pub about: About,
    /// Time between the two readings of every thread.
    pub quiet_window: Duration,
}

/// What was seen, and what it means.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was seen.
    pub evidence: Evidence,
    /// What it means.
    pub diagnosis: Diagnosis,
}

/// Looks and judges. Takes the quiet window, and as much longer as reading takes.
pub fn diagnose(config: &Config) -> anyhow::Result<Answer> {
    let evidence = evidence(config)?;
    let diagnosis = diagnosis::diagnose(&evidence);
    Ok(Answer { evidence, diagnosis })
}

/// Gathers the evidence alone.
pub fn evidence(config: &Config) -> anyhow::Result<Evidence> {
    let ask = match &config.about {
        About::Machine => Ask::All,
        About::Tree(pid) => Ask::Tree(*pid),
        About::Session { id, trace_dir } => {
            let (id, root) = live_session(id, trace_dir.clone())?;
            Ask::Session { id, members: vec![root] }
        }
    };
    let request = Request { ask, quiet_window: config.quiet_window };
    Ok(procfs_view::collect(&ProcRoot::system(), &request, &mut kernel_reader::reader(true))?)
}

/// Id and root process of the one live session whose id begins like this.
fn live_session(wanted: &str, trace_dir: Option<PathBuf>) -> anyhow::Result<(String, ProcessId)> {
    let directory = TraceDir::resolve(&ResolveConfig::from_environment(trace_dir))?;
    let mut found = Vec::new();
    for name in directory.dir().list()? {
        let Some(files) = SessionFiles::of_sidecar(Layout::Own, &name) else { continue };
        // A sidecar that cannot be read is some other session's trouble, which `recover` tells of.
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
