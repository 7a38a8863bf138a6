//! The plan of `reap`: what it would do about the findings, with a reason for each step, before anything is
//! done.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LeftoverFinding, LeftoverKind, LeftoverProcess, LeftoverStatus, Ownership, PreflightReport};
use crate::core::escalation::Termination;
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

/// What the user wants to be reaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReapSelection {
    /// The leftovers of these sessions.
    pub sessions: Vec<String>,
    /// Owned processes that hold these ports.
    pub ports: Vec<u16>,
    /// These processes, if they are owned.
    pub pids: Vec<u32>,
    /// The sockets that were requested of `preflight`.
    pub sockets: bool,
    /// All leftovers.
    pub all_mine: bool,
}

/// A process that is to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedEnd {
    /// The process, with the proof that it is owned.
    #[serde(flatten)]
    pub process: LeftoverProcess,
    /// Why it is ended.
    pub why: String,
}

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReapPlan {
    /// Processes to end, in the order in which they are signaled: parents before their children.
    pub end: Vec<PlannedEnd>,
    /// Files to remove.
    pub remove: Vec<ByteString>,
    /// What was requested and is not done, one line each.
    pub refused: Vec<String>,
}

impl ReapPlan {
    /// The plan for a selection of the findings.
    pub fn of(report: &PreflightReport, selection: &ReapSelection) -> Self {
        let mut plan = Self::default();
        let mut seen = BTreeSet::new();
        for finding in &report.findings {
            let Some(why) = selection.wants(finding) else { continue };
            for process in &finding.processes {
                if finding.kind == LeftoverKind::Zombie || !seen.insert((process.pid, process.start_ticks)) {
                    continue;
                }
                if let Some(user) = selection.other_user(report.uid, process) {
                    plan.refused.push(format!(
                        "{}: not ended: it runs as user {user}; --pid {} ends it",
                        finding.sentence, process.pid
                    ));
                } else if process.ownership.may_be_reaped() {
                    plan.end.push(PlannedEnd { process: process.clone(), why: why.clone() });
                } else {
                    plan.refused.push(format!(
                        "{}: not ended: {}",
                        finding.sentence,
                        stranger(&process.ownership)
                    ));
                }
            }
            if finding.processes.is_empty() && finding.kind == LeftoverKind::Listener {
                plan.refused.push(finding.sentence.clone());
            }
            if finding.status == LeftoverStatus::Left && finding.kind != LeftoverKind::Listener {
                match &finding.protected {
                    None => plan.remove.extend(finding.path.clone()),
                    Some(_) => plan.refused.push(finding.sentence.clone()),
                }
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
        let id = |ending: &PlannedEnd| ProcessId {
            tgid: ending.process.pid,
            start_ticks: ending.process.start_ticks,
        };
        self.end.iter().map(id).collect()
    }

    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.end.is_empty() && self.remove.is_empty()
    }
}

fn stranger(ownership: &Ownership) -> String {
    match ownership {
        Ownership::Session { session, .. } => format!("session {session} still runs"),
        _ => "it is not proven to be yours".to_owned(),
    }
}

impl ReapSelection {
    /// The user of a process of the checkout who is another than the one who asks. Such a process has to be
    /// named by its pid. Those of a session are what that session's job made them.
    fn other_user(&self, uid: u32, process: &LeftoverProcess) -> Option<u32> {
        let by_checkout = matches!(process.ownership, Ownership::Checkout { .. });
        process.uid.filter(|it| by_checkout && *it != uid && !self.pids.contains(&process.pid))
    }

    /// Why a finding is selected; `None` when it is not.
    pub fn wants(&self, finding: &LeftoverFinding) -> Option<String> {
        if let Some(session) = finding.session.as_ref().filter(|session| self.sessions.contains(session))
            && finding.status == LeftoverStatus::Left
        {
            return Some(format!("left of session {session}"));
        }
        let port = finding.port.filter(|port| finding.namespace.is_none() && self.ports.contains(port));
        if let Some(port) = port {
            return Some(format!("holds port {port}"));
        }
        let processes = matches!(
            finding.kind,
            LeftoverKind::LeakedProcess | LeftoverKind::Orphan | LeftoverKind::Process
        );
        if processes && finding.processes.iter().any(|process| self.pids.contains(&process.pid)) {
            return Some("requested by its pid".to_owned());
        }
        let sockets = matches!(finding.kind, LeftoverKind::SocketFile | LeftoverKind::Listener);
        if self.sockets && sockets && finding.requested {
            return Some("requested by the name of its socket".to_owned());
        }
        let all = self.all_mine
            && finding.status == LeftoverStatus::Left
            && finding.kind != LeftoverKind::UnfinishedSession;
        all.then(|| "left behind".to_owned())
    }
}

/// The schema of the report of `reap`.
pub const REAP_SCHEMA: &str = "tracer.reap/1";

/// The report of `reap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReapReport {
    /// `tracer.reap/1`.
    pub schema: String,
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// The plan.
    pub plan: ReapPlan,
    /// The outcome for each process.
    pub ended: Vec<Termination>,
    /// Files that were removed.
    pub removed: Vec<ByteString>,
    /// Problems, one line each.
    pub problems: Vec<String>,
    /// Selected findings that still exist.
    pub survived: Vec<LeftoverFinding>,
}

impl ReapReport {
    /// Nothing that was selected is left.
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

    fn finding(
        kind: LeftoverKind,
        status: LeftoverStatus,
        pid: u32,
        ownership: Ownership,
    ) -> LeftoverFinding {
        let process = LeftoverProcess {
            pid,
            start_ticks: u64::from(1000 - pid),
            uid: Some(1000),
            comm: "x".into(),
            cmdline: vec![],
            age_seconds: 1,
            ownership,
        };
        LeftoverFinding {
            processes: vec![process],
            port: (kind == LeftoverKind::Listener).then_some(8080),
            ..LeftoverFinding::new(kind, status, String::new(), format!("pid {pid}"))
        }
    }

    fn report(findings: Vec<LeftoverFinding>) -> PreflightReport {
        PreflightReport {
            schema: String::new(),
            clean: false,
            uid: 1000,
            checkout: None,
            findings,
            checks: vec![],
            problems: vec![],
        }
    }

    fn ours() -> Ownership {
        Ownership::Checkout { proof: "cwd".into() }
    }

    #[test]
    fn a_stranger_is_refused_however_it_is_selected() {
        let report = report(vec![
            finding(LeftoverKind::Listener, LeftoverStatus::InUse, 7, Ownership::Stranger),
            finding(LeftoverKind::Process, LeftoverStatus::Note, 8, Ownership::Stranger),
        ]);
        let selection =
            ReapSelection { ports: vec![8080], pids: vec![8, 9], all_mine: true, ..ReapSelection::default() };
        let plan = ReapPlan::of(&report, &selection);
        assert!(plan.is_empty(), "{plan:?}");
        assert_eq!(plan.refused.len(), 3, "{plan:?}");
    }

    #[test]
    fn a_running_sessions_process_is_refused() {
        let running = Ownership::Session { session: "s".into(), running: true, proof: String::new() };
        let report = report(vec![finding(LeftoverKind::Listener, LeftoverStatus::InUse, 7, running)]);
        let plan = ReapPlan::of(&report, &ReapSelection { ports: vec![8080], ..ReapSelection::default() });
        assert!(plan.is_empty() && plan.refused[0].contains("still runs"), "{plan:?}");
    }

    #[test]
    fn each_process_is_ended_once_and_the_oldest_first() {
        let report = report(vec![
            finding(LeftoverKind::Orphan, LeftoverStatus::Left, 7, ours()),
            finding(LeftoverKind::Listener, LeftoverStatus::Left, 7, ours()),
            finding(LeftoverKind::Orphan, LeftoverStatus::Left, 9, ours()),
        ]);
        let plan = ReapPlan::of(&report, &ReapSelection { all_mine: true, ..ReapSelection::default() });
        assert_eq!(plan.processes().iter().map(|id| id.tgid).collect::<Vec<_>>(), [9, 7]);
    }

    #[test]
    fn a_process_of_another_user_is_ended_only_by_its_pid() {
        let report = PreflightReport {
            uid: 0,
            ..report(vec![finding(LeftoverKind::Orphan, LeftoverStatus::Left, 7, ours())])
        };
        let all = ReapSelection { all_mine: true, ..ReapSelection::default() };
        let plan = ReapPlan::of(&report, &all);
        assert!(plan.is_empty() && plan.refused[0].contains("--pid 7 ends it"), "{plan:?}");
        let named = ReapSelection { pids: vec![7], ..ReapSelection::default() };
        assert_eq!(ReapPlan::of(&report, &named).end.len(), 1);
    }

    #[test]
    fn a_protected_file_is_refused() {
        let file = LeftoverFinding {
            path: Some("/srv/x/a.sock".into()),
            protected: Some("/srv/x belongs to user 7".to_owned()),
            processes: Vec::new(),
            ..finding(LeftoverKind::SocketFile, LeftoverStatus::Left, 7, ours())
        };
        let plan =
            ReapPlan::of(&report(vec![file]), &ReapSelection { all_mine: true, ..ReapSelection::default() });
        assert_eq!((plan.is_empty(), plan.refused.len()), (true, 1), "{plan:?}");
    }

    #[test]
    fn unknown_and_noted_findings_are_not_reaped_with_all() {
        let mut file = finding(LeftoverKind::SharedMemory, LeftoverStatus::Unknown, 7, ours());
        file.processes.clear();
        file.path = Some("/dev/shm/x".into());
        let note = finding(LeftoverKind::Listener, LeftoverStatus::Note, 8, ours());
        let plan = ReapPlan::of(
            &report(vec![file, note]),
            &ReapSelection { all_mine: true, ..ReapSelection::default() },
        );
        assert!(plan.is_empty(), "{plan:?}");
    }
}
