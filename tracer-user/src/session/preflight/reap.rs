//! `reap`: ends what `preflight` proved to be left, and verifies that. The plan comes first, and nothing
//! happens without consent.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::files::{BoundBy, BoundFiles};
use super::{PreflightOptions, PreflightResult, find_leftovers, find_with, with_descendants};
use crate::core::escalation::Termination;
use crate::core::identity::ProcessId;
use crate::core::leftover::{
    LeftoverFinding, LeftoverStatus, Ownership, REAP_SCHEMA, ReapPlan, ReapReport, ReapSelection,
};
use crate::core::text::ByteString;
use crate::procfs_view::leftover_files::{self, Candidate, CandidateKind, Removal};
use crate::procfs_view::{ProcRoot, table};
use crate::session::live::terminate::end;
use crate::signals::escalation::EscalationEvent;
use anyhow::{Context as _, bail};

/// The options of `reap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReapOptions {
    /// What is examined.
    pub preflight: PreflightOptions,
    /// What is reaped.
    pub selection: ReapSelection,
    /// Carry the plan out.
    pub yes: bool,
    /// How long each step of an escalation is waited for.
    pub grace: Duration,
}

/// Plans, reports the plan, and with consent carries it out and verifies it.
///
/// # Errors
/// When the machine cannot be examined, and when a selected session does not exist.
pub fn reap(
    options: &ReapOptions,
    report_plan: impl FnOnce(&ReapPlan),
    step: impl FnMut(EscalationEvent<'_>),
) -> anyhow::Result<ReapReport> {
    let mut preflight = options.preflight.clone();
    preflight.ports.extend(&options.selection.ports);
    preflight.pids.extend(&options.selection.pids);
    anyhow::ensure!(
        options.selection.sockets != preflight.sockets.is_empty(),
        "a selection of sockets and the patterns for it belong together"
    );
    let before = find_leftovers(&preflight)?;
    if let Some(unknown) = options.selection.sessions.iter().find(|id| !before.sessions.contains(*id)) {
        bail!("no session {unknown}; `tracer-user sessions list` names the finished ones");
    }
    let plan = ReapPlan::of(&before.report, &options.selection);
    report_plan(&plan);
    let mut reaped = ReapReport {
        schema: REAP_SCHEMA.to_owned(),
        dry_run: !options.yes,
        plan,
        ended: Vec::new(),
        removed: Vec::new(),
        problems: before.report.problems.clone(),
        survived: Vec::new(),
    };
    if !options.yes || reaped.plan.is_empty() {
        return Ok(reaped);
    }
    let mut bound = BoundFiles::new();
    if !reaped.plan.end.is_empty() {
        bound = bound_by(&before, &reaped.plan);
        reaped.ended = end_processes(&reaped.plan, &before.processes, options.grace, step)?;
    }
    // Ended processes leave files of their own, which are stale only now.
    let between = find_with(&preflight, &bound)?;
    remove_files(&between, &bound, options, &mut reaped);
    let after = find_leftovers(&preflight)?.report;
    let wanted = |finding: &LeftoverFinding| {
        let by_selection =
            options.selection.wants(finding).is_some() && finding.status != LeftoverStatus::Note;
        let owned =
            finding.processes.is_empty() || finding.processes.iter().any(|it| it.ownership.may_be_reaped());
        by_selection && owned
    };
    reaped.survived = after.findings.into_iter().filter(wanted).collect();
    Ok(reaped)
}

/// The socket files that the processes to end, and no others, are bound to.
fn bound_by(before: &PreflightResult, plan: &ReapPlan) -> BoundFiles {
    let mut bound = BoundFiles::new();
    for (path, holders) in &before.holders {
        let planned = |holder: &ProcessId| {
            plan.end
                .iter()
                .find(|it| (it.process.pid, it.process.start_ticks) == (holder.tgid, holder.start_ticks))
        };
        let Some(Some(ending)) = holders.first().map(planned) else { continue };
        if !holders.iter().all(|holder| planned(holder).is_some()) {
            continue;
        }
        let session = match &ending.process.ownership {
            Ownership::Session { session, .. } => Some(session.clone()),
            _ => None,
        };
        let proof = format!("pid {}, which was ended, was bound to it", ending.process.pid);
        bound.insert(path.clone(), BoundBy { proof, session });
    }
    bound
}

fn end_processes(
    plan: &ReapPlan,
    judged: &BTreeSet<ProcessId>,
    grace: Duration,
    step: impl FnMut(EscalationEvent<'_>),
) -> anyhow::Result<Vec<Termination>> {
    let root = ProcRoot::system();
    let roots = plan.processes();
    // What was judged and is not in the plan is not proven to be owned. What was started since is.
    let others: BTreeSet<_> = judged.iter().copied().filter(|it| !roots.contains(it)).collect();
    let meant = || {
        // When it is unreadable for a moment, the pidfds of the known processes still say which of them live.
        let all = table::all(&root).unwrap_or_default();
        let table: Vec<_> = all.iter().filter(|it| !it.zombie).map(|it| (it.process, it.ppid)).collect();
        with_descendants(&roots, &table, &others)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start")?.block_on(end(meant, grace, step)))
}

fn remove_files(now: &PreflightResult, bound: &BoundFiles, options: &ReapOptions, reaped: &mut ReapReport) {
    let ended = |pid: u32| reaped.ended.iter().any(|it| it.pid == pid && it.is_gone());
    let of_ended = |file: &Candidate| match file.kind {
        CandidateKind::Socket => bound.contains_key(&file.path),
        CandidateKind::PidFile(pid) => ended(pid),
        CandidateKind::SharedMemory => false,
    };
    let mut removals = Vec::new();
    for finding in now.report.findings.iter().filter(|it| it.status == LeftoverStatus::Left) {
        let Some(path) = &finding.path else { continue };
        let Some(file) = now.files.iter().find(|file| file.path.as_os_str().as_bytes() == path.as_bytes())
        else {
            continue;
        };
        // The files of processes that were ended belong to the selection, too.
        if of_ended(file) || options.selection.wants(finding).is_some() {
            removals.push((path, file));
        }
    }
    for (path, file) in removals {
        match leftover_files::remove(file) {
            Ok(Removal::Removed) => reaped.removed.push(path.clone()),
            Ok(Removal::Changed) => {}
            Ok(Removal::Exposed(exposure)) => reaped.problems.push(format!(
                "{} is not removed as root: another user can change {}",
                path.escaped(),
                ByteString(exposure.path.as_os_str().as_bytes().to_vec()).escaped()
            )),
            Err(error) => reaped.problems.push(format!("{} cannot be removed: {error}", path.escaped())),
        }
    }
}
