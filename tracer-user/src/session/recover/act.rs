//! What is done with a session once it is ours and judged.

use super::gather::Found;
use super::probe::probe;
use super::source::KernelRecord;
use super::{RecoverConfig, autoskillit, pin_name};
use crate::core::event::{Event, EventBody, Exit, IdentityExtras, ProcessFate};
use crate::core::gates::{Action, RootFate};
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{
    EndReason, ExitSource, HeaderLine, Line, LineError, LostPlace, Origin, SessionId, Thresholds,
};
use crate::core::session_state::{Input, Join, SampleSet, SessionState};
use crate::core::summary::{OwnerFate, SessionEnding};
use crate::core::time::{Anchor, parse_us};
use crate::session::clock;
use crate::store::fsops::OpenError;
use crate::store::lines::RawLine;
use crate::store::{Claim, Finish, Layout, Limits, LiveSession, TraceWriter};
use std::collections::{BTreeMap, HashSet};

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lines that are described one by one when they are not understood; the others are counted.
const DESCRIBED: u64 = 3;

/// A session that was taken over: ours, and everything that its owner recorded replayed.
#[derive(Debug)]
pub struct Adoption {
    /// It goes on by pushing into it what the kernel tells from now on.
    pub session: LiveSession,
    /// The name of its pins, to be opened again; `None` without kernel events.
    pub pins: Option<String>,
}

/// A session that is ready to be filed.
pub struct Ready {
    /// With all that could still be learnt of it.
    pub session: LiveSession,
    /// How it ended.
    pub finish: Finish<'static>,
    /// The kernel's record, which goes last.
    pub record: Option<Box<dyn KernelRecord>>,
}

/// Replays a claimed session and learns the rest of it.
///
/// # Errors
/// Says why it cannot be finished now; its files stay.
pub fn prepare(
    config: &RecoverConfig,
    found: Found,
    action: Action,
    problems: &mut Vec<String>,
) -> Result<Ready, String> {
    let (mut record, root) = (found.record, found.evidence.root);
    let anchor = config.here.anchor;
    let mut replayed = replay(config, found.claim, found.enrollment, problems)?;
    let end_reason =
        if action == Action::FinishRebooted { EndReason::Rebooted } else { EndReason::Recovered };
    // Of another boot nothing more can be learnt, and its clock is not this one.
    let anchor = if action == Action::FinishRebooted { replayed.last_anchor() } else { anchor };
    let learnt_at = if action == Action::FinishRebooted { anchor.boot_ns } else { clock::boot_ns() };
    if let Some(record) = record.as_mut().filter(|_| action == Action::Recover) {
        // The events last: who is in the maps is told by them, unless it was lost.
        let fates = record.fates();
        let (mut events, lost) = record.drain();
        events.sort_by_key(|event| event.boot_ns);
        join_unheard(&mut replayed.session, &fates, &events, &anchor);
        for event in events {
            replayed.session.push(&anchor, event.boot_ns, Input::Kernel(event));
        }
        let before = replayed.session.state().tracker().totals().events_lost;
        if let Some(count @ 1..) = lost.checked_sub(before) {
            replayed.session.push(&anchor, learnt_at, Input::Lost { count, place: LostPlace::Ring });
        }
        reconcile(&mut replayed.session, fates, &anchor);
    }
    let mut known_end = replayed.session.state().tracker().root_exit().map(|(boot_ns, _)| boot_ns);
    if action == Action::Recover {
        if let RootFate::Ended { boot_ns: Some(boot_ns), .. } = root {
            known_end = known_end.or(Some(boot_ns));
        }
        look_for_the_rest(config, &mut replayed.session, &root, &anchor, learnt_at);
    }
    if replayed.session.state().tracker().end().is_none() {
        replayed.session.push(&anchor, learnt_at, Input::End(end_reason));
    }
    let ending = SessionEnding {
        owner_fate: OwnerFate::Died,
        degraded: replayed.damaged,
        end: known_end.map(|boot_ns| anchor.wall_at(boot_ns)),
        tracer_version: VERSION,
        leaked: &[],
    };
    Ok(Ready { session: replayed.session, finish: Finish { ending, protected: false }, record })
}

/// Takes a live session over.
///
/// # Errors
/// Says why it cannot be taken over; its files stay.
pub fn adopt(config: &RecoverConfig, found: Found, problems: &mut Vec<String>) -> Result<Adoption, String> {
    let pins = found.record.is_some().then(|| found.enrollment.as_ref()?.bpf_pins.clone()).flatten();
    let mut replayed = replay(config, found.claim, found.enrollment, problems)?;
    let note = Input::Note {
        code: "adopted".to_owned(),
        text: format!("process {} goes on tracing: the owner died", std::process::id()),
    };
    let here = clock::anchor();
    let header = replayed.session.state().tracker().header();
    let most = header.and_then(|header| header.config.get("trace_max_bytes")?.as_u64());
    let most = most.unwrap_or(Limits::default().trace_bytes);
    replayed.session.limit(Limits { trace_bytes: most, ..Limits::default() });
    replayed.session.push(&here, here.boot_ns, note);
    Ok(Adoption { session: replayed.session, pins: pins.map(|pins| pin_name(&pins).to_owned()) })
}

/// Those of whose birth neither the trace nor the events that wait tell join before these events are told: the owner had
/// taken them from the ring and died before it wrote them down.
fn join_unheard(session: &mut LiveSession, fates: &[ProcessFate], events: &[Event], anchor: &Anchor) {
    let told: HashSet<ProcessId> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Fork(fork) => Some(fork.child),
            _ => None,
        })
        .collect();
    for fate in fates.iter().filter(|fate| !told.contains(&fate.process)) {
        let tracker = session.state().tracker();
        if tracker.member(fate.process).is_none() && !tracker.has_ended(fate.process) {
            join(session, fate, anchor);
        }
    }
}

fn join(session: &mut LiveSession, fate: &ProcessFate, anchor: &Anchor) {
    let is_root = session.state().tracker().root() == Some(fate.process);
    let joined_at = fate.extras.start_boottime_ns.unwrap_or_else(|| session.state().last_boot_ns());
    let join = joined(fate, if is_root { Origin::Root } else { Origin::Fork });
    session.push(anchor, joined_at, Input::Joined(join));
}

/// Brings a session up to what the kernel recorded of its processes: those nobody heard of join it, and ends that
/// nobody heard of are told, at the kernel's time.
pub fn reconcile(session: &mut LiveSession, fates: Vec<ProcessFate>, anchor: &Anchor) {
    let mut ends: Vec<(u64, Exit)> = Vec::new();
    for fate in fates {
        let tracker = session.state().tracker();
        let (known, over) = (tracker.member(fate.process).is_some(), tracker.has_ended(fate.process));
        if over {
            continue;
        }
        if !known {
            join(session, &fate, anchor);
        }
        ends.extend(fate.ended);
    }
    ends.sort_by_key(|(boot_ns, _)| *boot_ns);
    for (boot_ns, exit) in ends {
        session.push(anchor, boot_ns, Input::Ended(Box::new(exit), ExitSource::FateMap));
    }
}

/// What no record tells of the processes that live as far as the trace knows.
fn look_for_the_rest(
    config: &RecoverConfig,
    session: &mut LiveSession,
    root: &RootFate,
    anchor: &Anchor,
    learnt_at: u64,
) {
    let living: Vec<ProcessId> = session.state().tracker().alive().collect();
    let root_id = session.state().tracker().root();
    for process in living {
        let fate =
            if Some(process) == root_id { root.clone() } else { probe(&config.here.proc, process.into()) };
        if let RootFate::Ended { status, boot_ns, source } = fate {
            let exit = Box::new(Exit::of(process, status));
            session.push(anchor, boot_ns.unwrap_or(learnt_at), Input::Ended(exit, source));
        }
    }
}

/// A session whose trace was read again.
struct Replayed {
    session: LiveSession,
    /// Some of its lines could not be read.
    damaged: bool,
    last: Option<(String, u64)>,
}

impl Replayed {
    /// Both clocks as the last line has them.
    fn last_anchor(&self) -> Anchor {
        let (us, boot_ns) =
            self.last.as_ref().map_or((0, 0), |(ts, boot)| (parse_us(ts).unwrap_or(0), *boot));
        Anchor { wall: jiff::Timestamp::from_microsecond(us).unwrap_or(jiff::Timestamp::UNIX_EPOCH), boot_ns }
    }
}

fn replay(
    config: &RecoverConfig,
    claim: Option<Claim>,
    enrollment: Option<Enrollment>,
    problems: &mut Vec<String>,
) -> Result<Replayed, String> {
    let (Some(claim), Some(enrollment)) = (claim, enrollment) else {
        return Err("it is not ours".to_owned());
    };
    let id = SessionId::parse(&enrollment.session_id).map_err(|error| error.to_string())?;
    let name = claim.files().stem().to_owned();
    // Nothing is dropped from a trace any more once it is read for the last time.
    let limits = Limits { trace_bytes: u64::MAX / 8, memory_bytes: MAX_COLLECTED_BYTES };
    let mut writer = match TraceWriter::resume(claim.dir(), claim.files(), config.traces.uid(), limits) {
        Ok(writer) => writer,
        Err(OpenError::Missing) if config.layout == Layout::Own => {
            TraceWriter::create(claim.dir(), claim.files(), limits)
                .map_err(|error| format!("its trace: {error}"))?
        }
        Err(OpenError::Missing) => TraceWriter::collecting(limits),
        Err(error @ OpenError::Io(_)) => return Err(format!("its trace cannot be read: {error}")),
        // Our own directory holds something that is no trace under its name: the session is finished without one.
        Err(error) => {
            problems.push(format!("the trace of {name} is {error}"));
            TraceWriter::in_memory(limits)
        }
    };
    let mut reader = Reader {
        config,
        enrollment: &enrollment,
        name: &name,
        bad: 0,
        foreign: None,
        lines: Vec::new(),
        problems,
    };
    let mut state = SessionState::new();
    let (mut last, mut diagnosis) = (None, None);
    for raw in writer.lines().map_err(|error| format!("its trace: {error}"))? {
        let raw = raw.map_err(|error| format!("its trace cannot be read: {error}"))?;
        if config.layout == Layout::AutoSkillit {
            reader.read_foreign(raw, &mut state, &mut last);
            continue;
        }
        let Some(line) = reader.read(raw) else { continue };
        if state.tracker().header().is_none() && line.body.kind() != "header" {
            reader.begin(&mut state, line.boot_ns);
        }
        if let Some(found) = crate::store::live::diagnosis_of(&line) {
            diagnosis = Some(found.clone());
        }
        state.replay(&line);
        last = Some((line.ts, line.boot_ns));
    }
    if state.tracker().header().is_none() {
        reader.begin(&mut state, config.here.anchor.boot_ns);
    }
    let damaged = reader.finish();
    let lines = std::mem::take(&mut reader.lines);
    if config.layout == Layout::AutoSkillit {
        writer = TraceWriter::collecting(limits);
    }
    // What the trace itself lacks: a beginning that its owner did not live to write, or all of it in our words.
    writer.append(&lines);
    let session = LiveSession::adopt(id, enrollment, claim, writer, state, diagnosis);
    Ok(Replayed { session, damaged, last })
}

/// Bytes of a foreign trace that is held in memory while it is filed.
const MAX_COLLECTED_BYTES: u64 = 256 * 1024 * 1024;

/// Makes lines of what is in a trace.
struct Reader<'a> {
    config: &'a RecoverConfig,
    enrollment: &'a Enrollment,
    name: &'a str,
    bad: u64,
    /// Both clocks as a foreign trace has them.
    foreign: Option<Anchor>,
    lines: Vec<Line>,
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, raw: RawLine) -> Option<Line> {
        let parsed = match raw {
            RawLine::Whole(line) => Line::parse(&line),
            RawLine::TooLong(bytes) => Err(too_long(bytes)),
            // It was being written when its owner died: nothing is wrong with that.
            RawLine::Torn(_) => return None,
        };
        match parsed {
            Ok(line) => Some(line),
            Err(LineError::Empty) => None,
            Err(error) => {
                self.complain(&error.to_string());
                None
            }
        }
    }

    /// A snapshot of AutoSkillit's, as a sample of one process.
    fn read_foreign(&mut self, raw: RawLine, state: &mut SessionState, last: &mut Option<(String, u64)>) {
        let parsed = match raw {
            RawLine::Whole(line) => autoskillit::snapshot(&line, self.enrollment),
            RawLine::TooLong(bytes) => Err(too_long(bytes).to_string()),
            RawLine::Torn(_) => return,
        };
        match parsed {
            Ok((at, snapshot)) => {
                let here = self.config.here.anchor;
                let anchor = *self.foreign.get_or_insert_with(|| match here.boot_ns_at(at) {
                    Some(_) => here,
                    // From before this machine was booted: its own beginning is as good as any.
                    None => Anchor { wall: at, boot_ns: 0 },
                });
                let boot_ns = anchor.boot_ns_at(at).unwrap_or(0);
                if state.tracker().header().is_none() {
                    self.begin(state, boot_ns);
                }
                let sample = SampleSet { snapshots: vec![snapshot] };
                let lines = state.push(&anchor, boot_ns, Input::Sample(sample));
                *last = lines.last().map(|line| (line.ts.clone(), line.boot_ns));
                self.lines.extend(lines);
            }
            Err(why) => self.complain(&why),
        }
    }

    fn complain(&mut self, why: &str) {
        self.bad += 1;
        if self.bad <= DESCRIBED {
            self.problems.push(format!("a line of the trace of {}: {why}", self.name));
        }
    }

    /// A beginning that its owner did not live to write, or never writes.
    fn begin(&mut self, state: &mut SessionState, boot_ns: u64) {
        let root = self.enrollment.root().unwrap_or(ProcessId { tgid: self.enrollment.pid, start_ticks: 0 });
        let join = Join {
            extras: IdentityExtras {
                start_boottime_ns: self.enrollment.start_boottime_ns,
                pidns_ino: None,
                ns_pid: self.enrollment.ns_pid,
                pidfd_ino: self.enrollment.pidfd_ino,
            },
            comm: self.enrollment.comm.clone(),
            ..Join::new(root, Origin::Root)
        };
        let header = header_of(self.enrollment, root);
        let anchor = self.foreign.unwrap_or(self.config.here.anchor);
        for input in [Input::Header(Box::new(header)), Input::Joined(join)] {
            self.lines.extend(state.push(&anchor, boot_ns, input));
        }
    }

    fn finish(&mut self) -> bool {
        if self.bad > DESCRIBED {
            self.problems.push(format!("{} more lines of the trace of {}", self.bad - DESCRIBED, self.name));
        }
        self.bad > 0
    }
}

fn too_long(bytes: u64) -> LineError {
    LineError::TooLong(usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn header_of(enrollment: &Enrollment, root: ProcessId) -> HeaderLine {
    HeaderLine {
        tracer_version: enrollment.owner.version.clone(),
        kernel: None,
        hostname: None,
        session_id: enrollment.session_id.clone(),
        boot_id: enrollment.boot_id.clone(),
        root: root.into(),
        cmdline: enrollment.cmdline.clone(),
        kernel_events: enrollment.bpf_pins.is_some(),
        capabilities: Vec::new(),
        offsets_missing: Vec::new(),
        interval_ms: enrollment.interval_ms,
        unchanged_left_out: false,
        thresholds: Thresholds::default(),
        config: BTreeMap::new(),
    }
}

fn joined(fate: &ProcessFate, origin: Origin) -> Join {
    let comm = fate.ended.as_ref().map(|(_, exit)| exit.comm.clone()).filter(|comm| !comm.is_empty());
    Join {
        process: fate.process,
        origin,
        parent: fate.parent,
        extras: fate.extras,
        comm: comm.map(Into::into),
    }
}
