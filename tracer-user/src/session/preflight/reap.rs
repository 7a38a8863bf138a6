//! `reap`: ends what `preflight` proved to be left, and verifies that. The plan comes first, and nothing
//! happens without consent.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{PreflightOptions, PreflightResult, find_leftovers, with_descendants};
use crate::core::escalation::Termination;
use crate::core::leftover::{
    LeftoverFinding, LeftoverStatus, REAP_SCHEMA, ReapPlan, ReapReport, ReapSelection,
};
use crate::procfs_view::leftover_files;
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
    if !reaped.plan.end.is_empty() {
        reaped.ended = end_processes(&reaped.plan, options.grace, step)?;
    }
    // Ended processes leave files of their own, which are stale only now.
    let between = find_leftovers(&preflight)?;
    remove_files(&before, &between, options, &mut reaped);
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

fn end_processes(
    plan: &ReapPlan,
    grace: Duration,
    step: impl FnMut(EscalationEvent<'_>),
) -> anyhow::Result<Vec<Termination>> {
    let root = ProcRoot::system();
    let roots = plan.processes();
    let meant = || {
        // When it is unreadable for a moment, the pidfds of the known processes still say which of them live.
        let all = table::all(&root).unwrap_or_default();
        let table: Vec<_> = all.iter().filter(|it| !it.zombie).map(|it| (it.process, it.ppid)).collect();
        with_descendants(&roots, &table)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start")?.block_on(end(meant, grace, step)))
}

fn remove_files(
    before: &PreflightResult,
    now: &PreflightResult,
    options: &ReapOptions,
    reaped: &mut ReapReport,
) {
    let stale_before: BTreeSet<_> = before.files.iter().map(|file| &file.path).collect();
    for finding in now.report.findings.iter().filter(|it| it.status == LeftoverStatus::Left) {
        let Some(path) = &finding.path else { continue };
        let Some(file) = now.files.iter().find(|file| file.path.as_os_str().as_bytes() == path.as_bytes())
        else {
            continue;
        };
        // The files of processes that were ended belong to the selection, too.
        let of_ended = !reaped.ended.is_empty() && !stale_before.contains(&file.path);
        if !of_ended && options.selection.wants(finding).is_none() {
            continue;
        }
        match leftover_files::remove(file) {
            Ok(true) => reaped.removed.push(path.clone()),
            Ok(false) => {}
            Err(error) => reaped.problems.push(format!("{} cannot be removed: {error}", path.escaped())),
        }
    }
}
