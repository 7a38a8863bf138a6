//! `reap`: ends what `preflight` proved to be left, and looks again. A plan first; nothing without consent.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{Look, PreflightOptions, look, with_descendants};
use crate::core::escalation::Termination;
use crate::core::leftover::{Finding, Plan, REAP_SCHEMA, Reaped, Selection, Status};
use crate::procfs_view::leftover_files;
use crate::procfs_view::{ProcRoot, table};
use crate::session::live::terminate::end;
use crate::signals::escalation::Step;
use anyhow::{Context as _, bail};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReapOptions {
    /// Where to look.
    pub look: PreflightOptions,
    /// What to reap.
    pub selection: Selection,
    /// Do it.
    pub yes: bool,
    /// How long each rung is waited for.
    pub grace: Duration,
}

/// Plans, tells the plan, and with consent carries it out and verifies.
///
/// # Errors
/// When nothing could be looked at, and when a session is asked for that there is not.
pub fn reap(
    options: &ReapOptions,
    told: impl FnOnce(&Plan),
    step: impl FnMut(Step<'_>),
) -> anyhow::Result<Reaped> {
    let mut where_to_look = options.look.clone();
    where_to_look.ports.extend(&options.selection.ports);
    where_to_look.pids.extend(&options.selection.pids);
    let before = look(&where_to_look)?;
    if let Some(unknown) = options.selection.sessions.iter().find(|id| !before.sessions.contains(*id)) {
        bail!("no session {unknown}; `tracer-user sessions list` names those that are over");
    }
    let plan = Plan::of(&before.report, &options.selection);
    told(&plan);
    let mut reaped = Reaped {
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
    // Ended processes leave files of their own, which only now are stale.
    let between = look(&where_to_look)?;
    remove_files(&before, &between, options, &mut reaped);
    let after = look(&where_to_look)?.report;
    let wanted = |finding: &Finding| {
        let by_selection = options.selection.wants(finding).is_some() && finding.status != Status::Note;
        let ours = finding.processes.is_empty() || finding.processes.iter().any(|it| it.ownership.is_ours());
        by_selection && ours
    };
    reaped.survived = after.findings.into_iter().filter(wanted).collect();
    Ok(reaped)
}

fn end_processes(
    plan: &Plan,
    grace: Duration,
    step: impl FnMut(Step<'_>),
) -> anyhow::Result<Vec<Termination>> {
    let root = ProcRoot::system();
    let roots = plan.processes();
    let meant = || {
        // Unreadable for a moment: the pidfds of those known still say who lives.
        let all = table::all(&root).unwrap_or_default();
        let table: Vec<_> = all.iter().filter(|it| !it.zombie).map(|it| (it.process, it.ppid)).collect();
        with_descendants(&roots, &table)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start")?.block_on(end(meant, grace, step)))
}

fn remove_files(before: &Look, now: &Look, options: &ReapOptions, reaped: &mut Reaped) {
    let stale_before: BTreeSet<_> = before.files.iter().map(|file| &file.path).collect();
    for finding in now.report.findings.iter().filter(|it| it.status == Status::Left) {
        let Some(path) = &finding.path else { continue };
        let Some(file) = now.files.iter().find(|file| file.path.as_os_str().as_bytes() == path.as_bytes())
        else {
            continue;
        };
        // What those that were ended left behind is theirs, and so meant.
        let theirs = !reaped.ended.is_empty() && !stale_before.contains(&file.path);
        if !theirs && options.selection.wants(finding).is_none() {
            continue;
        }
        match leftover_files::remove(file) {
            Ok(true) => reaped.removed.push(path.clone()),
            Ok(false) => {}
            Err(error) => reaped.problems.push(format!("{} cannot be removed: {error}", path.escaped())),
        }
    }
}
