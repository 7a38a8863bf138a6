//! The sweep over a trace directory.

use super::act::{Ready, adopt, prepare};
use super::gather::{Found, gather};
use super::{Entry, Outcome, RecoverConfig, Report, pin_name};
use crate::core::gates::{Action, judge};
use crate::core::record::sidecar::Sidecar;
use crate::core::text::escape;
use crate::store::fsops::{OpenError, try_lock};
use crate::store::live::remove_evidence;
use crate::store::log::Staged;
use crate::store::sidecar::TEMPORARY_PREFIX;
use crate::store::{Claim, SessionFiles, SessionLog};
use rustix::fd::AsFd;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Sessions that are claimed, filed and removed together: one wait for the disk for all of them, and no more open files
/// than any process may have.
const BATCH: usize = 128;

/// Begins the name of a trace that was being made smaller.
const COMPACTING_PREFIX: &str = ".compact-";

/// Finds the sessions without an owner and finishes them, or says what it would do.
///
/// `go_on` is asked before each batch; when it says no, the rest is left for the next time.
pub fn recover(config: &RecoverConfig, go_on: &mut dyn FnMut() -> bool) -> Report {
    let mut report = Report { dry_run: config.dry_run, ..Report::default() };
    let names = match config.traces.dir().list() {
        Ok(names) => names,
        Err(error) => {
            report.problems.push(format!("{} cannot be listed: {error}", config.traces.path().display()));
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
    if !config.dry_run {
        sweep_rest(config, &rest, &mut report);
        if complete {
            collect_pins(config, &mut report);
            collect_abandoned(config, &mut report);
        }
    }
    report
}

/// Tells sessions from files of dead writers; anything else in the directory is a problem to tell of.
fn sort_names(
    config: &RecoverConfig,
    names: Vec<OsString>,
    report: &mut Report,
) -> (Vec<SessionFiles>, Vec<OsString>) {
    let mut sessions = BTreeSet::new();
    let mut rest = Vec::new();
    for name in names {
        let files = SessionFiles::of_sidecar(config.layout, &name)
            .or_else(|| SessionFiles::of_trace(config.layout, &name));
        if let Some(files) = files {
            sessions.insert(files);
        } else if config.layout == crate::store::Layout::AutoSkillit {
            // The directory is everybody's.
        } else if has_prefix(&name, TEMPORARY_PREFIX) || has_prefix(&name, COMPACTING_PREFIX) {
            rest.push(name);
        } else {
            report.problems.push(format!("{} is no file of ours", escape(name.as_bytes())));
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
    report: &mut Report,
) {
    let mut ready = Vec::new();
    for files in batch {
        let Some(mut found) = gather(config, files.clone()) else { continue };
        report.problems.append(&mut found.problems);
        let judgement = judge(&found.evidence, config.policy);
        let action = judgement.action;
        let index = report.sessions.len();
        report.sessions.push(Entry {
            files: files.stem().to_owned(),
            session_id: found.enrollment.as_ref().map(|enrollment| enrollment.session_id.clone()),
            pid: found.enrollment.as_ref().map(|enrollment| enrollment.pid),
            judgement,
            outcome: Outcome::Left,
        });
        if config.dry_run {
            continue;
        }
        match act(config, found, action, log, report) {
            Ok(Some(session)) => ready.push((index, session)),
            Ok(None) if action == Action::Adopt => set(report, index, Outcome::Adopted),
            Ok(None) => {}
            Err(why) => set(report, index, Outcome::Failed(why)),
        }
    }
    if let Some(log) = log {
        file(log, ready, report);
    }
}

fn set(report: &mut Report, index: usize, outcome: Outcome) {
    if let Some(entry) = report.sessions.get_mut(index) {
        entry.outcome = outcome;
    }
}

fn act(
    config: &RecoverConfig,
    found: Found,
    action: Action,
    log: &mut Option<SessionLog>,
    report: &mut Report,
) -> Result<Option<(Ready, Staged)>, String> {
    match action {
        Action::Skip => Ok(None),
        Action::Adopt => {
            let adoption = adopt(config, found, &mut report.problems)?;
            report.adopted.push(adoption);
            Ok(None)
        }
        Action::Recover | Action::FinishRebooted => {
            crate::store::fault::point("recover.claimed");
            let log = match log {
                Some(log) => log,
                none => none.insert(SessionLog::open(&config.log).map_err(|error| error.to_string())?),
            };
            let ready = prepare(config, found, action, &mut report.problems)?;
            let staged = ready.session.stage(log, &ready.finish).map_err(|error| error.to_string())?;
            Ok(Some((ready, staged)))
        }
    }
}

/// Files a batch, and removes what is filed.
fn file(log: &SessionLog, ready: Vec<(usize, (Ready, Staged))>, report: &mut Report) {
    let (mut sessions, mut staged) = (Vec::new(), Vec::new());
    for (index, (session, stage)) in ready {
        sessions.push((index, session));
        staged.push(stage);
    }
    if staged.is_empty() {
        return;
    }
    let filed = match log.commit(staged) {
        Ok(filed) => filed,
        Err(error) => {
            for (index, _) in sessions {
                set(report, index, Outcome::Failed(error.to_string()));
            }
            return;
        }
    };
    crate::store::fault::point("finish.durable");
    for ((index, ready), filed) in sessions.into_iter().zip(filed) {
        let termination_reason = ready.session.summary(&ready.finish.ending).termination_reason;
        let record = ready.record;
        let notices =
            remove_evidence(ready.session.into_claim(), || record.map_or(Ok(()), |record| record.unpin()));
        report.problems.extend(notices.into_iter().map(|notice| notice.0));
        set(
            report,
            index,
            Outcome::Filed { dir_name: filed.dir_name, termination_reason, already: filed.already },
        );
    }
}

/// Removes what dead writers left: sidecars that never got their name, and traces that were being made smaller.
fn sweep_rest(config: &RecoverConfig, rest: &[OsString], report: &mut Report) {
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
                // A sidecar is locked from its first moment on by who writes it.
                if try_lock(file.as_fd()).unwrap_or(false)
                    && dir.unlink_same(name, file.as_fd()).unwrap_or(false)
                {
                    report.swept.push(escape(name.as_bytes()));
                }
            }
            Err(OpenError::Missing) => {}
            Err(error) => report.problems.push(format!("{} is {error}", escape(name.as_bytes()))),
        }
    }
}

/// Removes pins whose trace directory is gone, whichever that was: no recovery of that directory will ever come.
fn collect_abandoned(config: &RecoverConfig, report: &mut Report) {
    match config.kernel.abandoned(true) {
        Ok(removed) => report.swept.extend(removed.into_iter().map(|name| format!("pins {name}"))),
        Err(why) => report.problems.push(format!("pins without a trace directory: {why}")),
    }
}

/// Removes pins that no sidecar names: their owner died before it had enrolled, or after it had filed.
fn collect_pins(config: &RecoverConfig, report: &mut Report) {
    let Ok(prefix) = config.traces.pin_prefix() else { return };
    // While a session begins it has pins and no sidecar. Then the next recovery looks.
    let Ok(Some(_nobody_begins)) = config.traces.nobody_begins() else { return };
    let Ok(names) = config.traces.dir().list() else { return };
    let mut named = BTreeSet::new();
    for files in names.iter().filter_map(|name| SessionFiles::of_sidecar(config.layout, name)) {
        match Claim::read_unclaimed(config.traces.dir(), &files, config.traces.uid()) {
            Ok(Sidecar::Own(enrollment)) => {
                named.extend(enrollment.bpf_pins.as_deref().map(|pins| pin_name(pins).to_owned()));
            }
            Ok(Sidecar::Foreign(_)) => {}
            // Whose pins it names cannot be told, so none are nobody's.
            Err(_) => return,
        }
    }
    match config.kernel.collect_orphans(&prefix, &named) {
        Ok(removed) => report.swept.extend(removed.into_iter().map(|name| format!("pins {name}"))),
        Err(why) => report.problems.push(format!("pins without a session: {why}")),
    }
}
