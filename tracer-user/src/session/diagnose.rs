//! `diagnose`: why something hangs now.
//!
//! A look at the machine, and a pure judgement of what was seen. Nothing is changed and nobody is signalled; the job
//! need not have been traced before.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::core::diagnosis::{self, Diagnosis};
use crate::core::evidence::{Evidence, PipeFacts};
use crate::procfs_view::{self, ProcRoot, Request};

pub use crate::procfs_view::{Ask, LookError};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Config {
    /// About what.
    pub ask: Ask,
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
pub fn diagnose(config: &Config) -> Result<Answer, LookError> {
    let evidence = evidence(config)?;
    let diagnosis = diagnosis::diagnose(&evidence);
    Ok(Answer { evidence, diagnosis })
}

/// Gathers the evidence alone.
pub fn evidence(config: &Config) -> Result<Evidence, LookError> {
    let request = Request { ask: config.ask.clone(), quiet_window: config.quiet_window };
    let mut pipes = |_: &HashSet<u64>| -> HashMap<u64, PipeFacts> { HashMap::new() };
    procfs_view::look(&ProcRoot::system(), &request, &mut pipes)
}
