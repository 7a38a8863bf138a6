//! Which processes are a session's: of those that run, those whose owner died, and those that are over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::core::identity::ProcessId;
use crate::core::leftover::{Proc, Tie, Unfinished};
use crate::core::record::sidecar::{Enrollment, Sidecar};
use crate::procfs_view::ProcRoot;
use crate::session::options::Places;
use crate::session::recover::{FateSource as _, LocalHost, Pinned, pin_name};
use crate::store::index::{self, Row};
use crate::store::{
    Claim, ClaimError, Layout, LogConfig, ResolveConfig, RetentionPolicy, SessionFiles, SessionLog, TraceDir,
};

/// Finished sessions that are looked at, the newest.
const SESSIONS: usize = 500;

/// What is known of sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Whose a process is.
    pub ties: BTreeMap<ProcessId, Tie>,
    /// Those whose owner died.
    pub unfinished: Vec<Unfinished>,
    /// When those that are over ran, seconds since 1970.
    pub windows: Vec<(String, RangeInclusive<i64>)>,
    /// The ids of all sessions there are.
    pub ids: BTreeSet<String>,
    /// Pins that are nobody's.
    pub pins: Vec<String>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// Looks through live traces and the session log.
pub fn find(places: &Places, processes: &[Proc]) -> Sessions {
    let mut found = Sessions::default();
    let here = LocalHost::now(ProcRoot::system());
    // The log first: what a live trace says of the same process counts more.
    if let Err(error) = log(places, &here, &mut found) {
        found.problems.push(format!("{error:#}"));
    }
    match TraceDir::resolve(&ResolveConfig::from_environment(places.trace_dir.clone())) {
        Ok(traces) => live(&traces, &here, &mut found),
        Err(error) => found.problems.push(error.to_string()),
    }
    match Pinned.abandoned(false) {
        Ok(pins) => found.pins = pins,
        Err(why) => found.problems.push(format!("pins in the kernel: {why}")),
    }
    found.ties.retain(|id, _| processes.iter().any(|it| it.id == *id));
    found
}

fn live(traces: &TraceDir, here: &LocalHost, found: &mut Sessions) {
    let names = match traces.dir().list() {
        Ok(names) => names,
        Err(error) => {
            return found.problems.push(format!("{} cannot be listed: {error}", traces.path().display()));
        }
    };
    for files in names.iter().filter_map(|name| SessionFiles::of_sidecar(Layout::Own, name)) {
        let stem = files.stem().to_owned();
        // The claim is let go of at the end of this turn: nothing is changed.
        let claim = Claim::take(traces.dir(), files.clone(), traces.uid());
        let sidecar = match &claim {
            Ok(claim) => claim.read(),
            Err(ClaimError::Held) => Claim::read_unclaimed(traces.dir(), &files, traces.uid()),
            Err(ClaimError::Gone) => continue,
            Err(error) => {
                found.problems.push(format!("session {stem}: {error}"));
                continue;
            }
        };
        let enrollment = match sidecar {
            Ok(Sidecar::Own(enrollment)) => enrollment,
            Ok(Sidecar::Foreign(_)) => continue,
            Err(error) => {
                found.problems.push(format!("session {stem}: {error}"));
                continue;
            }
        };
        found.ids.insert(enrollment.session_id.clone());
        let running = claim.is_err();
        let same_boot = enrollment.boot_id == here.boot_id && enrollment.pidns_ino == here.pidns_ino;
        if !running {
            found.unfinished.push(Unfinished { session: enrollment.session_id.clone() });
        }
        if same_boot {
            tie(&enrollment, running, found);
        }
    }
}

fn tie(enrollment: &Enrollment, running: bool, found: &mut Sessions) {
    let tie = |proof: &str| Tie { session: enrollment.session_id.clone(), running, proof: proof.to_owned() };
    if let Some(root) = enrollment.root() {
        found.ties.insert(root, tie("it is the session's root"));
    }
    if running && let Some(start_ticks) = enrollment.owner.starttime_ticks {
        let owner = ProcessId { tgid: enrollment.owner.pid, start_ticks };
        found.ties.insert(owner, tie("it keeps the session"));
    }
    let Some(pins) = &enrollment.bpf_pins else { return };
    match Pinned.record(pin_name(pins)) {
        Ok(Some(mut record)) => {
            let living = record.fates().into_iter().filter(|fate| fate.ended.is_none());
            for fate in living {
                found.ties.entry(fate.process).or_insert_with(|| tie("the kernel recorded its birth in it"));
            }
        }
        Ok(None) => {}
        Err(why) => found.problems.push(format!("session {}: {why}", enrollment.session_id)),
    }
}

fn log(places: &Places, here: &LocalHost, found: &mut Sessions) -> anyhow::Result<()> {
    let config = LogConfig::from_environment(places.log_dir.clone(), RetentionPolicy::default());
    if !config.path.exists() {
        return Ok(());
    }
    let log = SessionLog::open(&config)?;
    let Some(file) = index::open(log.dir(), log.uid())? else { return Ok(()) };
    let rows: Vec<_> = index::rows(file).collect::<Result<_, _>>()?;
    for (newer, row) in rows.into_iter().rev().enumerate() {
        let Row::Good(row) = row else { continue };
        found.ids.insert(row.session_id.clone());
        if newer >= SESSIONS {
            continue;
        }
        if let Some(window) = window(&row.timestamp, row.duration_seconds) {
            found.windows.push((row.session_id.clone(), window));
        }
        let Ok(Some(summary)) = log.read_summary(&row.dir_name) else { continue };
        if summary.boot_id.is_none() || summary.boot_id != here.boot_id {
            continue;
        }
        for leaked in &summary.processes.leaked {
            let id = ProcessId { tgid: leaked.process.pid, start_ticks: leaked.process.start_ticks };
            found.ties.entry(id).or_insert_with(|| Tie {
                session: row.session_id.clone(),
                running: false,
                proof: "it was alive when the session was over".to_owned(),
            });
        }
    }
    Ok(())
}

fn window(start: &str, seconds: Option<f64>) -> Option<RangeInclusive<i64>> {
    let start = start.parse::<Timestamp>().ok()?.as_second();
    // A second more at the end: times of files are the kernel's coarse clock.
    Some(start..=start + seconds?.ceil() as i64 + 1)
}
