//! What `reap` would do about what was found: a plan that says why for each step, before anything is done.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Culprit, Finding, Kind, Ownership, Preflight, Status};
use crate::core::escalation::Termination;
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

/// What is to be reaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is left of these sessions.
    pub sessions: Vec<String>,
    /// Whoever of ours holds these ports.
    pub ports: Vec<u16>,
    /// These processes, if they are ours.
    pub pids: Vec<u32>,
    /// Everything that is left.
    pub all_mine: bool,
}

/// A process that is to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ending {
    /// The process, with the proof that it is ours.
    #[serde(flatten)]
    pub process: Culprit,
    /// Why it is ended.
    pub why: String,
}

/// What would be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Processes to end, in the order in which they are signalled: who started others before those.
    pub end: Vec<Ending>,
    /// Files to remove.
    pub remove: Vec<ByteString>,
    /// What was asked for and is not done, a line each.
    pub refused: Vec<String>,
}

impl Plan {
    /// From what was found.
    pub fn of(report: &Preflight, selection: &Selection) -> Self {
        let mut plan = Self::default();
        let mut seen = BTreeSet::new();
        for finding in &report.findings {
            let Some(why) = selection.wants(finding) else { continue };
            for process in &finding.processes {
                if finding.kind == Kind::Zombie || !seen.insert((process.pid, process.start_ticks)) {
                    continue;
                }
                if process.ownership.is_ours() {
                    plan.end.push(Ending { process: process.clone(), why: why.clone() });
                } else {
                    plan.refused.push(format!(
                        "{}: not ended: {}",
                        finding.sentence,
                        stranger(&process.ownership)
                    ));
                }
            }
            if finding.processes.is_empty() && finding.kind == Kind::Listener {
                plan.refused.push(finding.sentence.clone());
            }
            if finding.status == Status::Left && finding.kind != Kind::Listener {
                plan.remove.extend(finding.path.clone());
            }
        }
        plan.end.sort_by_key(|ending| (ending.process.start_ticks, ending.process.pid));
        for pid in &selection.pids {
            if !report.findings.iter().any(|it| it.processes.iter().any(|process| process.pid == *pid)) {
                plan.refused.push(format!("there is no process {pid}"));
            }
        }
        plan
    }

    /// The processes to end.
    pub fn processes(&self) -> Vec<ProcessId> {
        let id =
            |ending: &Ending| ProcessId { tgid: ending.process.pid, start_ticks: ending.process.start_ticks };
        self.end.iter().map(id).collect()
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.end.is_empty() && self.remove.is_empty()
    }
}

fn stranger(ownership: &Ownership) -> String {
    match ownership {
        Ownership::Session { session, .. } => format!("session {session} still runs"),
        _ => "it is not proved to be yours".to_owned(),
    }
}

impl Selection {
    /// Why a finding is meant; `None` when it is not.
    pub fn wants(&self, finding: &Finding) -> Option<String> {
        if let Some(session) = finding.session.as_ref().filter(|session| self.sessions.contains(session))
            && finding.status == Status::Left
        {
            return Some(format!("left of session {session}"));
        }
        let port = finding.port.filter(|port| finding.namespace.is_none() && self.ports.contains(port));
        if let Some(port) = port {
            return Some(format!("holds port {port}"));
        }
        let processes = matches!(finding.kind, Kind::LeakedProcess | Kind::Orphan | Kind::Process);
        if processes && finding.processes.iter().any(|process| self.pids.contains(&process.pid)) {
            return Some("asked for by its number".to_owned());
        }
        let all = self.all_mine && finding.status == Status::Left && finding.kind != Kind::UnfinishedSession;
        all.then(|| "left behind".to_owned())
    }
}

/// The schema of what `reap` reports.
pub const REAP_SCHEMA: &str = "tracer.reap/1";

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reaped {
    /// `tracer.reap/1`.
    pub schema: String,
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// What was to be done, and why.
    pub plan: Plan,
    /// What became of each process.
    pub ended: Vec<Termination>,
    /// Files that were removed.
    pub removed: Vec<ByteString>,
    /// What went wrong, a line each.
    pub problems: Vec<String>,
    /// What was meant and is still there.
    pub survived: Vec<Finding>,
}

impl Reaped {
    /// Nothing that was asked for is left.
    pub fn clean(&self) -> bool {
        if self.dry_run {
            return self.plan.is_empty() && self.plan.refused.is_empty();
        }
        self.survived.is_empty()
            && self.plan.refused.is_empty()
            && self.ended.iter().all(Termination::is_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: Kind, status: Status, pid: u32, ownership: Ownership) -> Finding {
        let process = Culprit {
            pid,
            start_ticks: u64::from(1000 - pid),
            comm: "x".into(),
            cmdline: vec![],
            age_seconds: 1,
            ownership,
        };
        Finding {
            kind,
            status,
            key: String::new(),
            sentence: format!("pid {pid}"),
            command: None,
            processes: vec![process],
            path: None,
            port: (kind == Kind::Listener).then_some(8080),
            namespace: None,
            session: None,
        }
    }

    fn report(findings: Vec<Finding>) -> Preflight {
        Preflight { schema: String::new(), clean: false, checkout: None, findings, problems: vec![] }
    }

    fn ours() -> Ownership {
        Ownership::Checkout { proof: "cwd".into() }
    }

    #[test]
    fn a_stranger_is_refused_however_he_is_asked_for() {
        let report = report(vec![
            finding(Kind::Listener, Status::InUse, 7, Ownership::Stranger),
            finding(Kind::Process, Status::Note, 8, Ownership::Stranger),
        ]);
        let selection =
            Selection { ports: vec![8080], pids: vec![8, 9], all_mine: true, ..Selection::default() };
        let plan = Plan::of(&report, &selection);
        assert!(plan.is_empty(), "{plan:?}");
        assert_eq!(plan.refused.len(), 3, "{plan:?}");
    }

    #[test]
    fn a_running_sessions_process_is_refused() {
        let running = Ownership::Session { session: "s".into(), running: true, proof: String::new() };
        let report = report(vec![finding(Kind::Listener, Status::InUse, 7, running)]);
        let plan = Plan::of(&report, &Selection { ports: vec![8080], ..Selection::default() });
        assert!(plan.is_empty() && plan.refused[0].contains("still runs"), "{plan:?}");
    }

    #[test]
    fn each_process_is_ended_once_and_the_oldest_first() {
        let report = report(vec![
            finding(Kind::Orphan, Status::Left, 7, ours()),
            finding(Kind::Listener, Status::Left, 7, ours()),
            finding(Kind::Orphan, Status::Left, 9, ours()),
        ]);
        let plan = Plan::of(&report, &Selection { all_mine: true, ..Selection::default() });
        assert_eq!(plan.processes().iter().map(|id| id.tgid).collect::<Vec<_>>(), [9, 7]);
    }

    #[test]
    fn what_is_only_unknown_or_noted_is_not_among_all() {
        let mut file = finding(Kind::SharedMemory, Status::Unknown, 7, ours());
        file.processes.clear();
        file.path = Some("/dev/shm/x".into());
        let note = finding(Kind::Listener, Status::Note, 8, ours());
        let plan = Plan::of(&report(vec![file, note]), &Selection { all_mine: true, ..Selection::default() });
        assert!(plan.is_empty(), "{plan:?}");
    }
}
