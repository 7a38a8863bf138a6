//! The processes of the CI job in which this process runs, found by what the CI system gives all of them.
//!
//! Runners mark the processes of a job with a variable, by which they also end what a job has left. Without
//! one the control group is taken, which container executors and systemd make for each job.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::bail;

use crate::core::identity::ProcessId;
use crate::procfs_view::{ProcRoot, table};

/// Variables that are different in each job: GitHub Actions, GitLab CI, Buildkite, Jenkins.
const VARIABLES: [&str; 4] = ["RUNNER_TRACKING_ID", "CI_JOB_ID", "BUILDKITE_JOB_ID", "BUILD_ID"];
/// kthreadd, whose children are all other kernel threads.
const KTHREADD: u32 = 2;

/// What the processes of a job have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
enum JobMarker {
    /// `NAME=VALUE`, in the environment that a process was executed with.
    Variable(Vec<u8>),
    /// The contents of `/proc/PID/cgroup`.
    ControlGroup(Vec<u8>),
}

/// The search for the members of a job.
#[derive(Debug)]
pub struct JobMembers {
    marker: JobMarker,
    /// Processes that were looked at. The environment of one may still be its parent's when it is new, so one
    /// without the marker is looked at twice.
    seen: HashSet<ProcessId>,
    once: HashSet<ProcessId>,
}

impl JobMembers {
    /// The job of this process.
    ///
    /// # Errors
    /// When nothing distinguishes its processes from others.
    pub fn of_this_job() -> anyhow::Result<Self> {
        let own_group = table::control_group(&ProcRoot::system(), std::process::id());
        let Some(marker) = marker(|name| std::env::var_os(name), own_group) else {
            bail!(
                "--job: no marker of a CI job is in the environment ({}), and this process is in the root control \
                 group: give pids instead",
                VARIABLES.join(", ")
            );
        };
        Ok(Self { marker, seen: HashSet::new(), once: HashSet::new() })
    }

    /// Members that were not returned before, the oldest first.
    pub fn new_ones(&mut self, proc_root: &ProcRoot) -> Vec<ProcessId> {
        let own = std::process::id();
        let all = table::all(proc_root).unwrap_or_default();
        let running: HashSet<ProcessId> = all.iter().map(|row| row.process).collect();
        self.seen.retain(|process| running.contains(process));
        self.once.retain(|process| running.contains(process));
        let mut new = Vec::new();
        for row in all {
            let is_kernel = row.ppid == KTHREADD || row.process.tgid == KTHREADD;
            if row.zombie || is_kernel || row.process.tgid == own || self.seen.contains(&row.process) {
                continue;
            }
            if self.has_marker(proc_root, row.process.tgid) {
                self.seen.insert(row.process);
                new.push(row.process);
            } else if !self.once.insert(row.process) {
                self.seen.insert(row.process);
            }
        }
        new.sort_by_key(|process| (process.start_ticks, process.tgid));
        new
    }

    fn has_marker(&self, proc_root: &ProcRoot, tgid: u32) -> bool {
        match &self.marker {
            JobMarker::Variable(entry) => table::has_variable(proc_root, tgid, entry),
            JobMarker::ControlGroup(group) => table::control_group(proc_root, tgid).as_ref() == Some(group),
        }
    }
}

fn marker(variable: impl Fn(&str) -> Option<OsString>, group: Option<Vec<u8>>) -> Option<JobMarker> {
    for name in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            return Some(JobMarker::Variable([name.as_bytes(), b"=", value.as_bytes()].concat()));
        }
    }
    // In the root group is everything that nothing has put elsewhere.
    let is_root = |group: &Vec<u8>| {
        group.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.ends_with(b":/"))
    };
    group.filter(|group| !is_root(group)).map(JobMarker::ControlGroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_the_runner_comes_before_the_control_group() {
        let with = |name: &'static str| move |asked: &str| (asked == name).then(|| OsString::from("7"));
        let group = || Some(b"0::/job\n".to_vec());
        assert_eq!(marker(with("CI_JOB_ID"), group()), Some(JobMarker::Variable(b"CI_JOB_ID=7".to_vec())));
        assert_eq!(marker(with("HOME"), group()), Some(JobMarker::ControlGroup(b"0::/job\n".to_vec())));
        assert_eq!(marker(with("HOME"), Some(b"1:cpu:/\n0::/\n".to_vec())), None);
        assert_eq!(marker(with("HOME"), None), None);
    }
}
