//! Finishes a session whose owner died: everything that can still be learned of it, and then the log.

use super::gather::RecoveryCase;
use super::replay::{Replay, replay};
use super::source::KernelRecord;
use super::{RecoverConfig, RecoverError};
use crate::core::event::{Event, EventBody, Exit, ProcessFate};
use crate::core::gates::{RecoveryAction, RootFate};
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, ExitSource, LostPlace, Origin};
use crate::core::session_state::{Input, Join};
use crate::core::summary::{OwnerFate, SessionEnding};
use crate::core::time::Anchor;
use crate::procfs_view::ProcRoot;
use crate::session::clock;
use crate::session::live::SessionRecorder;
use crate::session::problems::Problems;
use crate::session::root_fate::probe;
use crate::store::SessionLog;
use crate::store::finish::StagedSession;
use std::collections::HashSet;

/// Reads a claimed session back, learns the rest of it, and stages it in the log.
///
/// # Errors
/// When it cannot be finished now. Its files stay.
pub fn stage(
    config: &RecoverConfig,
    case: RecoveryCase,
    action: RecoveryAction,
    log: &SessionLog,
    problems: &mut Problems,
) -> Result<StagedSession<'static>, RecoverError> {
    let (mut record, root) = (case.record, case.evidence.root);
    let replay = replay(config, case.claim, case.enrollment, problems)?;
    let (recorder, end) = match action {
        RecoveryAction::FinishRebooted => after_reboot(replay),
        _ => of_this_boot(config, replay, record.as_deref_mut(), &root),
    };
    let ending = SessionEnding {
        owner_fate: OwnerFate::Died,
        degraded: end.damaged,
        end: end.root_ended_at,
        tracer_version: env!("CARGO_PKG_VERSION"),
        leaked: &[],
    };
    let remove_pins = Box::new(|| record.map_or(Ok(()), KernelRecord::unpin));
    Ok(recorder.stage(log, &ending, remove_pins)?)
}

/// What the trace itself does not contain.
struct TraceEnd {
    damaged: bool,
    root_ended_at: Option<jiff::Timestamp>,
}

/// Nothing more can be learned of a session of another boot, and its clock is not this one.
fn after_reboot(replay: Replay) -> (SessionRecorder<'static>, TraceEnd) {
    let anchor = replay.last_anchor();
    let damaged = replay.damaged;
    let mut recorder = SessionRecorder::resume(replay.session);
    let root_ended_at = root_end(&recorder).map(|boot_ns| anchor.wall_at(boot_ns));
    end(&mut recorder, &anchor, anchor.boot_ns, EndReason::Rebooted);
    (recorder, TraceEnd { damaged, root_ended_at })
}

fn of_this_boot(
    config: &RecoverConfig,
    replay: Replay,
    record: Option<&mut (dyn KernelRecord + 'static)>,
    root: &RootFate,
) -> (SessionRecorder<'static>, TraceEnd) {
    let anchor = config.here.anchor;
    let now = clock::boot_ns();
    let damaged = replay.damaged;
    let mut recorder = SessionRecorder::resume(replay.session);
    if let Some(record) = record {
        take_record(&mut recorder, record, &anchor, now);
    }
    let mut ended_at = root_end(&recorder);
    if let RootFate::Ended { boot_ns: Some(boot_ns), .. } = root {
        ended_at = ended_at.or(Some(*boot_ns));
    }
    probe_the_rest(&config.here.proc, &mut recorder, root, &anchor, now);
    end(&mut recorder, &anchor, now, EndReason::Recovered);
    let root_ended_at = ended_at.map(|boot_ns| anchor.wall_at(boot_ns));
    (recorder, TraceEnd { damaged, root_ended_at })
}

/// When the root ended, CLOCK_BOOTTIME nanoseconds; `None` when the trace does not say.
fn root_end(recorder: &SessionRecorder<'_>) -> Option<u64> {
    recorder.state().tracker().root_exit().map(|(boot_ns, _)| boot_ns)
}

/// Writes the last line, unless the owner did.
fn end(recorder: &mut SessionRecorder<'_>, anchor: &Anchor, boot_ns: u64, reason: EndReason) {
    if recorder.state().tracker().end().is_none() {
        recorder.push_at(anchor, boot_ns, Input::End(reason));
    }
}

/// Takes everything that the kernel recorded without an owner.
fn take_record(
    recorder: &mut SessionRecorder<'_>,
    record: &mut dyn KernelRecord,
    anchor: &Anchor,
    now_boot_ns: u64,
) {
    // The events come after the fates: an event reports the birth of each process in the maps, unless it was
    // lost.
    let fates = record.fates();
    let (mut events, lost) = record.drain();
    events.sort_by_key(|event| event.boot_ns);
    join_unreported(recorder, &fates, &events, anchor);
    for event in events {
        recorder.push_at(anchor, event.boot_ns, Input::Kernel(event));
    }
    let before = recorder.state().tracker().totals().events_lost;
    if let Some(count @ 1..) = lost.checked_sub(before) {
        recorder.push_at(anchor, now_boot_ns, Input::Lost { count, place: LostPlace::Ring });
    }
    reconcile(recorder, fates, anchor);
}

/// Joins, before the waiting events are taken, the processes whose birth neither the trace nor these events
/// report: the owner had taken that event from the ring and died before it wrote it down.
fn join_unreported(
    recorder: &mut SessionRecorder<'_>,
    fates: &[ProcessFate],
    events: &[Event],
    anchor: &Anchor,
) {
    let reported: HashSet<ProcessId> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Fork(fork) => Some(fork.child),
            _ => None,
        })
        .collect();
    for fate in fates.iter().filter(|fate| !reported.contains(&fate.process)) {
        if !recorder.state().tracker().knows(fate.process) {
            join(recorder, fate, anchor);
        }
    }
}

fn join(recorder: &mut SessionRecorder<'_>, fate: &ProcessFate, anchor: &Anchor) {
    let state = recorder.state();
    let is_root = state.tracker().root() == Some(fate.process);
    let joined_at = fate.extras.start_boottime_ns.unwrap_or_else(|| state.last_boot_ns());
    let comm = fate.ended.as_ref().map(|(_, exit)| exit.comm.clone()).filter(|comm| !comm.is_empty());
    let join = Join {
        process: fate.process,
        origin: if is_root { Origin::Root } else { Origin::Fork },
        parent: fate.parent,
        extras: fate.extras,
        comm: comm.map(Into::into),
    };
    recorder.push_at(anchor, joined_at, Input::Joined(join));
}

/// Brings a session up to what the kernel recorded of its processes: unknown ones join it, and unknown ends
/// are recorded, at the kernel's time.
pub fn reconcile(recorder: &mut SessionRecorder<'_>, fates: Vec<ProcessFate>, anchor: &Anchor) {
    let mut ends: Vec<(u64, Exit)> = Vec::new();
    for fate in fates {
        let tracker = recorder.state().tracker();
        if tracker.has_ended(fate.process) {
            continue;
        }
        if tracker.member(fate.process).is_none() {
            join(recorder, &fate, anchor);
        }
        ends.extend(fate.ended);
    }
    ends.sort_by_key(|(boot_ns, _)| *boot_ns);
    for (boot_ns, exit) in ends {
        let exit = Input::Ended(Box::new(exit), ExitSource::FateMap);
        recorder.push_at(anchor, boot_ns, exit);
    }
}

/// Probes the processes that are alive as far as the trace and the record know.
fn probe_the_rest(
    proc_root: &ProcRoot,
    recorder: &mut SessionRecorder<'_>,
    root: &RootFate,
    anchor: &Anchor,
    now_boot_ns: u64,
) {
    let root_id = recorder.state().tracker().root();
    for process in recorder.alive() {
        let fate = if Some(process) == root_id { root.clone() } else { probe(proc_root, process.into()) };
        if let RootFate::Ended { status, boot_ns, source } = fate {
            let exit = Input::Ended(Box::new(Exit::of(process, status)), source);
            recorder.push_at(anchor, boot_ns.unwrap_or(now_boot_ns), exit);
        }
    }
}
