//! The sweep over a trace directory.

use super::adopt::adopt;
use super::finish::stage;
use super::gather::{RecoveryCase, gather};
use super::{RecoverConfig, RecoverError, RecoveryEntry, RecoveryOutcome, RecoveryReport, pin_name};
use crate::core::gates::{RecoveryAction, judge};
use crate::core::record::sidecar::Sidecar;
use crate::core::text::escape;
use crate::store::finish::{StagedSession, finish};
use crate::store::fsops::{OpenError, try_lock};
use crate::store::index::INDEX;
use crate::store::sidecar::TEMPORARY_PREFIX;
use crate::store::{Claim, Layout, SessionFiles, SessionLog};
use rustix::fd::AsFd;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Sessions that are claimed, filed and removed together: they share one wait for the disk, and their open
/// files stay below the limit of any process.
const BATCH: usize = 128;

/// The prefix of a trace that was being compacted.
const COMPACTING_PREFIX: &str = ".compact-";

/// Finds the sessions without an owner and finishes them, or reports what it would do.
///
/// `go_on` is called before each batch. When it returns false, the rest is left for the next recovery.
pub fn recover(config: &RecoverConfig, go_on: &mut dyn FnMut() -> bool) -> RecoveryReport {
    let mut report = RecoveryReport { dry_run: config.dry_run, ..RecoveryReport::default() };
    let names = match config.traces.dir().list() {
        Ok(names) => names,
        Err(error) => {
            report.problems.add(format_args!("{} cannot be listed: {error}", config.traces.path().display()));
            return report;
        }
    };
    let (sessions, rest) = sort_names(config, names, &mut report);
    let mut log = None;
    let mut complete = true;
    for batch in sessions.chunks(BATCH) {
        if !go_on() {
            complete = false;
            break;
        }
        sweep_batch(config, batch, &mut log, &mut report);
    }
    if config.dry_run {
        plan_retention(config, &mut report);
        return report;
    }
    sweep_rest(config, &rest, &mut report);
    if complete {
        collect_pins(config, &mut report);
        collect_abandoned(config, &mut report);
    }
    report
}

/// Plans which sessions retention would remove for those that would be finished.
fn plan_retention(config: &RecoverConfig, report: &mut RecoveryReport) {
    let finishes = |action| matches!(action, RecoveryAction::Recover | RecoveryAction::FinishRebooted);
    let newer = report.sessions.iter().filter(|entry| finishes(entry.verdict.action)).count();
    // A dry run creates nothing: without an index there is nothing to remove.
    if newer == 0 || !config.log.path.join(INDEX).exists() {
        return;
    }
    let plan = SessionLog::open(&config.log).map_err(|error| error.to_string()).and_then(|log| {
        log.plan_retention(config.here.anchor.wall, newer).map_err(|error| error.to_string())
    });
    match plan {
        Ok(plan) => report.retention = plan,
        Err(error) => report.problems.add(error),
    }
}

/// Separates sessions from files of dead writers. Anything else in the directory is reported as a problem.
fn sort_names(
    config: &RecoverConfig,
    names: Vec<OsString>,
    report: &mut RecoveryReport,
) -> (Vec<SessionFiles>, Vec<OsString>) {
    let mut sessions = BTreeSet::new();
    let mut rest = Vec::new();
    for name in names {
        let files = SessionFiles::of_sidecar(config.layout, &name)
            .or_else(|| SessionFiles::of_trace(config.layout, &name));
        if let Some(files) = files {
            sessions.insert(files);
        } else if config.layout == Layout::AutoSkillit {
            // The directory is shared with other programs.
        } else if has_prefix(&name, TEMPORARY_PREFIX) || has_prefix(&name, COMPACTING_PREFIX) {
            rest.push(name);
        } else {
            report.problems.add(format_args!("{} is not a file of the tracer", escape(name.as_bytes())));
        }
    }
    (sessions.into_iter().collect(), rest)
}

fn has_prefix(name: &OsStr, prefix: &str) -> bool {
    name.as_bytes().starts_with(prefix.as_bytes())
}

fn sweep_batch(
    config: &RecoverConfig,
    batch: &[SessionFiles],
    log: &mut Option<SessionLog>,
    report: &mut RecoveryReport,
) {
    let mut staged = Vec::new();
    for files in batch {
        let Some(mut case) = gather(config, files.clone()) else { continue };
        report.problems.append(std::mem::take(&mut case.problems));
        let verdict = judge(&case.evidence, config.policy);
        let action = verdict.action;
        let index = report.sessions.len();
        report.sessions.push(RecoveryEntry {
            files: files.stem().to_owned(),
            session_id: case.enrollment.as_ref().map(|enrollment| enrollment.session_id.clone()),
            pid: case.enrollment.as_ref().map(|enrollment| enrollment.pid),
            verdict,
            outcome: RecoveryOutcome::Left,
        });
        if config.dry_run {
            continue;
        }
        match act(config, case, action, log, report) {
            Ok(Some(session)) => staged.push((index, session)),
            Ok(None) if action == RecoveryAction::Adopt => set(report, index, RecoveryOutcome::Adopted),
            Ok(None) => {}
            Err(error) => set(report, index, RecoveryOutcome::Failed(error.to_string())),
        }
    }
    if let Some(log) = log.as_ref().filter(|_| !staged.is_empty()) {
        file(log, staged, report);
    }
}

fn set(report: &mut RecoveryReport, index: usize, outcome: RecoveryOutcome) {
    if let Some(entry) = report.sessions.get_mut(index) {
        entry.outcome = outcome;
    }
}

/// Does what the gates decided. Returns a session that is staged in the log, to be finished with its batch.
fn act(
    config: &RecoverConfig,
    case: RecoveryCase,
    action: RecoveryAction,
    log: &mut Option<SessionLog>,
    report: &mut RecoveryReport,
) -> Result<Option<StagedSession<'static>>, RecoverError> {
    match action {
        RecoveryAction::Skip => Ok(None),
        RecoveryAction::Adopt => {
            let adoption = adopt(config, case, &mut report.problems)?;
            report.adopted.push(adoption);
            Ok(None)
        }
        RecoveryAction::Recover | RecoveryAction::FinishRebooted => {
            crate::store::fault::point("recover.claimed");
            let log = match log {
                Some(log) => log,
                none => none.insert(SessionLog::open(&config.log)?),
            };
            stage(config, case, action, log, &mut report.problems).map(Some)
        }
    }
}

/// Finishes a batch of staged sessions.
fn file(log: &SessionLog, staged: Vec<(usize, StagedSession<'_>)>, report: &mut RecoveryReport) {
    let (indices, staged): (Vec<_>, Vec<_>) = staged.into_iter().unzip();
    match finish(log, staged) {
        Ok((finished, retention)) => {
            report.retention.removals.extend(retention.removals);
            for (index, finished) in indices.into_iter().zip(finished) {
                for notice in finished.notices {
                    report.problems.add(notice.0);
                }
                let outcome = RecoveryOutcome::Filed {
                    dir_name: finished.filed.dir_name,
                    termination_reason: finished.summary.termination_reason,
                    already: finished.filed.already,
                };
                set(report, index, outcome);
            }
        }
        Err(error) => {
            for index in indices {
                set(report, index, RecoveryOutcome::Failed(error.to_string()));
            }
        }
    }
}

/// Removes what dead writers left: sidecars that never got their name, and traces that were being compacted.
fn sweep_rest(config: &RecoverConfig, rest: &[OsString], report: &mut RecoveryReport) {
    let dir = config.traces.dir();
    for name in rest {
        let writer_lives = if has_prefix(name, COMPACTING_PREFIX) {
            // Its writer holds the sidecar's lock, not one of its own.
            let stem =
                String::from_utf8_lossy(name.as_bytes().get(COMPACTING_PREFIX.len()..).unwrap_or_default());
            let files = SessionFiles::from_stem(config.layout, &stem);
            dir.stat_name(files.sidecar()).ok().flatten().is_some()
        } else {
            false
        };
        if writer_lives {
            continue;
        }
        match dir.open_file(name, false, config.traces.uid()) {
            Ok(file) => {
                // The writer of a sidecar holds its lock from the first moment on.
                if try_lock(file.as_fd()).unwrap_or(false)
                    && dir.unlink_same(name, file.as_fd()).unwrap_or(false)
                {
                    report.swept.push(escape(name.as_bytes()));
                }
            }
            Err(OpenError::Missing) => {}
            Err(error) => report.problems.add(format_args!("{} is {error}", escape(name.as_bytes()))),
        }
    }
}

/// Removes pins whose trace directory is gone, whichever that was: it will never be recovered.
fn collect_abandoned(config: &RecoverConfig, report: &mut RecoveryReport) {
    match config.kernel.abandoned(true) {
        Ok(removed) => report.swept.extend(removed.into_iter().map(|name| format!("pins {name}"))),
        Err(error) => report.problems.add(format_args!("pins without a trace directory: {error}")),
    }
}

/// Removes pins that no sidecar names: their owner died before it had enrolled, or after it had filed.
fn collect_pins(config: &RecoverConfig, report: &mut RecoveryReport) {
    let Ok(prefix) = config.traces.pin_prefix() else { return };
    // A session that begins has pins and no sidecar yet. The next recovery tries again.
    let Ok(Some(_no_session_begins)) = config.traces.while_no_session_begins() else { return };
    let Ok(names) = config.traces.dir().list() else { return };
    let mut named = BTreeSet::new();
    for files in names.iter().filter_map(|name| SessionFiles::of_sidecar(config.layout, name)) {
        match Claim::read_unclaimed(config.traces.dir(), &files, config.traces.uid()) {
            Ok(Sidecar::Own(enrollment)) => {
                named.extend(enrollment.bpf_pins.as_deref().map(|pins| pin_name(pins).to_owned()));
            }
            Ok(Sidecar::Foreign(_)) => {}
            // It may name any of the pins, so none is provably an orphan.
            Err(_) => return,
        }
    }
    match config.kernel.collect_orphans(&prefix, &named) {
        Ok(removed) => report.swept.extend(removed.into_iter().map(|name| format!("pins {name}"))),
        Err(error) => report.problems.add(format_args!("pins without a session: {error}")),
    }
}
