//! Processes of sessions: of live ones, of those whose owner died, and of finished ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::core::identity::ProcessId;
use crate::core::leftover::{HELD_FILE, HeldFile, Proc, SessionTie, UnfinishedSession};
use crate::core::record::Body;
use crate::core::record::sidecar::{Enrollment, Sidecar};
use crate::core::retention::RetentionPolicy;
use crate::procfs_view::ProcRoot;
use crate::session::clock;
use crate::session::options::Places;
use crate::session::problems::Problems;
use crate::session::recover::{FateSource as _, LocalHost, Pinned, pin_name};
use crate::store::index::{self, Row};
use crate::store::{Claim, ClaimError, Layout, LogConfig, ResolveConfig, SessionFiles, SessionLog, TraceDir};

/// The number of finished sessions that are examined, the newest first.
const SESSIONS: usize = 500;

/// Everything that is known of sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    /// The session of each process.
    pub ties: BTreeMap<ProcessId, SessionTie>,
    /// Sessions whose owner died.
    pub unfinished: Vec<UnfinishedSession>,
    /// When finished sessions ran.
    pub windows: Vec<SessionWindow>,
    /// The ids of all existing sessions.
    pub ids: BTreeSet<String>,
    /// Pins that provably have no owner.
    pub pins: Vec<String>,
    /// What could not be read.
    pub problems: Problems,
    /// Sessions that were not looked at, in one line.
    pub incomplete: Vec<String>,
}

/// When a finished session ran. That does not make its files the session's, but tells which trace to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionWindow {
    /// Its id.
    pub session: String,
    /// Its directory in the log.
    pub dir_name: String,
    /// Seconds since 1970.
    pub seconds: RangeInclusive<i64>,
}

/// The files that processes of a finished session held; empty when its trace cannot be read.
pub fn held_files(places: &Places, window: &SessionWindow) -> Vec<HeldFile> {
    let config = LogConfig::from_environment(places.log_dir.clone(), RetentionPolicy::default());
    let Ok(stored) = crate::session::sessions::show(&config, &window.dir_name, false) else {
        return Vec::new();
    };
    let held = stored.trace.iter().filter_map(|line| match &line.body {
        Body::Note(note) if note.code == HELD_FILE => HeldFile::parse(&note.text),
        _ => None,
    });
    held.collect()
}

/// Examines live traces and the session log.
pub fn find(places: &Places, processes: &[Proc]) -> Sessions {
    let mut found = Sessions::default();
    let here = LocalHost::now(ProcRoot::system());
    // The log first: a live trace takes precedence for the same process.
    if let Err(error) = log(places, &here, &mut found) {
        found.problems.add(format_args!("{error:#}"));
    }
    match TraceDir::resolve(&ResolveConfig::from_environment(places.trace_dir.clone())) {
        Ok(traces) => live(&traces, &here, &mut found),
        Err(error) => found.problems.add(error),
    }
    match Pinned.abandoned(false) {
        Ok(pins) => found.pins = pins,
        Err(error) => found.problems.add(format_args!("pins in the kernel: {error}")),
    }
    found.ties.retain(|id, _| processes.iter().any(|it| it.id == *id));
    found
}

fn live(traces: &TraceDir, here: &LocalHost, found: &mut Sessions) {
    let names = match traces.dir().list() {
        Ok(names) => names,
        Err(error) => {
            return found.problems.add(format_args!("{} cannot be listed: {error}", traces.path().display()));
        }
    };
    for files in names.iter().filter_map(|name| SessionFiles::of_sidecar(Layout::Own, name)) {
        let stem = files.stem().to_owned();
        // The claim is released at the end of this iteration: nothing is changed.
        let claim = Claim::take(traces.dir(), files.clone(), traces.uid());
        let sidecar = match &claim {
            Ok(claim) => claim.read(),
            Err(ClaimError::Held) => Claim::read_unclaimed(traces.dir(), &files, traces.uid()),
            Err(ClaimError::Gone) => continue,
            Err(error) => {
                found.problems.add(format_args!("session {stem}: {error}"));
                continue;
            }
        };
        let enrollment = match sidecar {
            Ok(Sidecar::Own(enrollment)) => enrollment,
            Ok(Sidecar::Foreign(_)) => continue,
            Err(error) => {
                found.problems.add(format_args!("session {stem}: {error}"));
                continue;
            }
        };
        found.ids.insert(enrollment.session_id.clone());
        let running = claim.is_err();
        let same_boot = enrollment.boot_id == here.boot_id && enrollment.pidns_ino == here.pidns_ino;
        if !running {
            found.unfinished.push(UnfinishedSession { session: enrollment.session_id.clone() });
        }
        if same_boot {
            tie(&enrollment, running, found);
        }
    }
}

fn tie(enrollment: &Enrollment, running: bool, found: &mut Sessions) {
    let tie =
        |proof: &str| SessionTie { session: enrollment.session_id.clone(), running, proof: proof.to_owned() };
    if let Some(root) = enrollment.root() {
        found.ties.insert(root, tie("it is the session's root"));
    }
    if running && let Some(start_ticks) = enrollment.owner.starttime_ticks {
        let owner = ProcessId { tgid: enrollment.owner.pid, start_ticks };
        found.ties.insert(owner, tie("it is the session's tracer"));
    }
    let Some(pins) = &enrollment.bpf_pins else { return };
    match Pinned.record(pin_name(pins)) {
        Ok(Some(mut record)) => {
            let living = record.fates().into_iter().filter(|fate| fate.ended.is_none());
            for fate in living {
                found
                    .ties
                    .entry(fate.process)
                    .or_insert_with(|| tie("the kernel recorded its fork in the session"));
            }
        }
        Ok(None) => {}
        Err(error) => {
            found.problems.add(format_args!("session {}: {error}", enrollment.session_id));
        }
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
    let now = clock::anchor();
    let booted = now.wall.as_second() - i64::try_from(now.boot_ns / 1_000_000_000).unwrap_or(0);
    let mut passed_over = 0;
    for (newer, row) in rows.into_iter().rev().enumerate() {
        let Row::Good(row) = row else { continue };
        found.ids.insert(row.session_id.clone());
        let window = window(&row.timestamp, row.duration_seconds);
        // What ran before this boot left no process.
        let of_this_boot = window.as_ref().is_none_or(|window| *window.end() >= booted);
        if newer >= SESSIONS {
            passed_over += usize::from(of_this_boot);
            continue;
        }
        if let Some(window) = window {
            found.windows.push(SessionWindow {
                session: row.session_id.clone(),
                dir_name: row.dir_name.clone(),
                seconds: window,
            });
        }
        let Ok(Some(summary)) = log.read_summary(&row.dir_name) else { continue };
        if summary.boot_id.is_none() || summary.boot_id != here.boot_id {
            continue;
        }
        for leaked in &summary.processes.leaked {
            let id = ProcessId { tgid: leaked.process.pid, start_ticks: leaked.process.start_ticks };
            found.ties.entry(id).or_insert_with(|| SessionTie {
                session: row.session_id.clone(),
                running: false,
                proof: "it was alive when the session was over".to_owned(),
            });
        }
    }
    if passed_over > 0 {
        found.incomplete.push(format!(
            "{passed_over} sessions of this boot were not examined, only the last {SESSIONS}; \
             `tracer-user sessions clear` and --max-sessions keep the log short"
        ));
    }
    Ok(())
}

fn window(start: &str, seconds: Option<f64>) -> Option<RangeInclusive<i64>> {
    let start = start.parse::<Timestamp>().ok()?.as_second();
    // One second more at the end: file times are of the kernel's coarse clock.
    Some(start..=start + seconds?.ceil() as i64 + 1)
}
