//! Reads a session back from its trace: the fold over every line, and the lines that the trace lacks.

use super::{RecoverConfig, RecoverError, autoskillit};
use crate::core::autoskillit::read_snapshot;
use crate::core::event::IdentityExtras;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{HeaderLine, Line, LineError, Origin, SessionId, Thresholds};
use crate::core::session_state::{Input, Join, SampleSet, SessionState};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use crate::core::time::{Anchor, parse_us};
use crate::session::live::ReplayedSession;
use crate::session::live::recorder::diagnosis_of;
use crate::session::problems::Problems;
use crate::store::fsops::OpenError;
use crate::store::lines::RawLine;
use crate::store::{Claim, Layout, Limits, TraceWriter};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Lines that are described one by one when they are not understood. Further ones are only counted.
const DESCRIBED: u64 = 3;

/// Bytes of a trace of AutoSkillit's that are held in memory while it is filed.
const MAX_COLLECTED_BYTES: u64 = 256 * 1024 * 1024;

/// A session that was read back from its trace.
pub struct Replay {
    /// The session.
    pub session: ReplayedSession,
    /// Some of its lines could not be read.
    pub damaged: bool,
    /// The time of the last line: wall clock and CLOCK_BOOTTIME.
    last: Option<(String, u64)>,
}

impl Replay {
    /// Both clocks as the last line has them.
    pub fn last_anchor(&self) -> Anchor {
        let (us, boot_ns) =
            self.last.as_ref().map_or((0, 0), |(ts, boot_ns)| (parse_us(ts).unwrap_or(0), *boot_ns));
        Anchor { wall: jiff::Timestamp::from_microsecond(us).unwrap_or(jiff::Timestamp::UNIX_EPOCH), boot_ns }
    }
}

/// Reads a claimed session back from its trace.
///
/// # Errors
/// When its trace cannot be read. Its files stay.
pub fn replay(
    config: &RecoverConfig,
    claim: Option<Claim>,
    enrollment: Option<Enrollment>,
    problems: &mut Problems,
) -> Result<Replay, RecoverError> {
    let (Some(claim), Some(enrollment)) = (claim, enrollment) else { return Err(RecoverError::NotClaimed) };
    let id = SessionId::parse(&enrollment.session_id)?;
    let mut writer = open_trace(config, &claim, problems)?;
    let mut reader = Reader::new(config, &enrollment, claim.files().stem(), problems);
    for raw in writer.lines().map_err(RecoverError::Trace)? {
        let raw = raw.map_err(RecoverError::Trace)?;
        match config.layout {
            Layout::Own => reader.take(raw),
            Layout::AutoSkillit => reader.take_foreign(raw),
        }
    }
    let Reading { state, lines, diagnosis, last, damaged } = reader.finish();
    if config.layout == Layout::AutoSkillit {
        writer = TraceWriter::collecting(limits());
    }
    // What the trace itself lacks: a beginning that its owner did not live to write, or, for a foreign trace,
    // all of it in the tracer's own format.
    writer.append(&lines);
    let session = ReplayedSession { id, enrollment, claim, writer, state, diagnosis };
    Ok(Replay { session, damaged, last })
}

/// Nothing is dropped any more from a trace that is read for the last time.
fn limits() -> Limits {
    Limits { trace_bytes: u64::MAX / 8, memory_bytes: MAX_COLLECTED_BYTES }
}

fn open_trace(
    config: &RecoverConfig,
    claim: &Claim,
    problems: &mut Problems,
) -> Result<TraceWriter, RecoverError> {
    match TraceWriter::resume(claim.dir(), claim.files(), config.traces.uid(), limits()) {
        Ok(writer) => Ok(writer),
        Err(OpenError::Missing) if config.layout == Layout::Own => {
            TraceWriter::create(claim.dir(), claim.files(), limits()).map_err(RecoverError::Trace)
        }
        Err(OpenError::Missing) => Ok(TraceWriter::collecting(limits())),
        Err(OpenError::Io(error)) => Err(RecoverError::Trace(error)),
        // The private directory holds something that is no trace under its name: the session is finished
        // without one.
        Err(error) => {
            problems.add(format_args!("the trace of {} is {error}", claim.files().stem()));
            Ok(TraceWriter::in_memory(limits()))
        }
    }
}

/// What was read from a trace.
struct Reading {
    state: SessionState,
    /// Lines that the trace lacks.
    lines: Vec<Line>,
    diagnosis: Option<serde_json::Value>,
    last: Option<(String, u64)>,
    damaged: bool,
}

/// Reads a trace line by line.
struct Reader<'a> {
    config: &'a RecoverConfig,
    enrollment: &'a Enrollment,
    name: &'a str,
    problems: &'a mut Problems,
    /// Lines that were not understood.
    bad: u64,
    /// The snapshots of a foreign trace, with their times.
    foreign: Vec<(Timestamp, ProcSnapshot)>,
    /// Both clocks of a foreign trace, from its first line.
    foreign_anchor: Option<Anchor>,
    /// The name of the root at its beginning; `None` when unknown.
    root_comm: Option<ByteString>,
    reading: Reading,
}

impl<'a> Reader<'a> {
    fn new(
        config: &'a RecoverConfig,
        enrollment: &'a Enrollment,
        name: &'a str,
        problems: &'a mut Problems,
    ) -> Self {
        let reading = Reading {
            state: SessionState::new(),
            lines: Vec::new(),
            diagnosis: None,
            last: None,
            damaged: false,
        };
        Self {
            config,
            enrollment,
            name,
            problems,
            bad: 0,
            foreign: Vec::new(),
            foreign_anchor: None,
            root_comm: enrollment.comm.clone(),
            reading,
        }
    }

    /// Takes a line of the tracer's own.
    fn take(&mut self, raw: RawLine) {
        let parsed = match raw {
            RawLine::Whole(line) => Line::parse(&line),
            RawLine::TooLong(bytes) => Err(too_long(bytes)),
            // It was being written when its owner died: that is no damage.
            RawLine::Torn(_) => return,
        };
        let line = match parsed {
            Ok(line) => line,
            Err(LineError::Empty) => return,
            Err(error) => return self.complain(error),
        };
        if self.has_no_header() && line.body.kind() != "header" {
            self.begin(line.boot_ns);
        }
        if let Some(diagnosis) = diagnosis_of(&line) {
            self.reading.diagnosis = Some(diagnosis.clone());
        }
        self.reading.state.replay(&line);
        self.reading.last = Some((line.ts, line.boot_ns));
    }

    /// Takes a line of AutoSkillit's.
    fn take_foreign(&mut self, raw: RawLine) {
        match raw {
            RawLine::Whole(line) => match read_snapshot(&line, self.root()) {
                Ok(parsed) => self.foreign.push(parsed),
                Err(error) => self.complain(error),
            },
            RawLine::TooLong(bytes) => self.complain(too_long(bytes)),
            RawLine::Torn(_) => {}
        }
    }

    /// Takes a snapshot of AutoSkillit's, as a sample of one process.
    fn take_snapshot(&mut self, at: Timestamp, snapshot: ProcSnapshot) {
        let here = self.config.here.anchor;
        let anchor = *self.foreign_anchor.get_or_insert_with(|| match here.boot_ns_at(at) {
            Some(_) => here,
            // From before this boot: its own beginning serves as well as any.
            None => Anchor { wall: at, boot_ns: 0 },
        });
        let boot_ns = anchor.boot_ns_at(at).unwrap_or(0);
        if self.has_no_header() {
            self.begin(boot_ns);
        }
        let sample = Input::Sample(SampleSet { snapshots: vec![snapshot] });
        let lines = self.reading.state.push(&anchor, boot_ns, sample);
        self.reading.last = lines.last().map(|line| (line.ts.clone(), line.boot_ns));
        self.reading.lines.extend(lines);
    }

    fn root(&self) -> ProcessId {
        self.enrollment.root().unwrap_or(ProcessId { tgid: self.enrollment.pid, start_ticks: 0 })
    }

    fn has_no_header(&self) -> bool {
        self.reading.state.tracker().header().is_none()
    }

    fn complain(&mut self, error: impl Display) {
        self.bad += 1;
        if self.bad <= DESCRIBED {
            self.problems.add(format_args!("a line of the trace of {}: {error}", self.name));
        }
    }

    /// Adds a beginning that the owner did not live to write, or that a foreign trace does not have.
    fn begin(&mut self, boot_ns: u64) {
        let root = self.root();
        let header = header_of(self.enrollment, root);
        let join = Join {
            extras: IdentityExtras {
                start_boottime_ns: self.enrollment.start_boottime_ns,
                pidns_ino: None,
                ns_pid: self.enrollment.ns_pid,
                pidfd_ino: self.enrollment.pidfd_ino,
            },
            comm: self.root_comm.clone(),
            ..Join::new(root, Origin::Root)
        };
        let anchor = self.foreign_anchor.unwrap_or(self.config.here.anchor);
        for input in [Input::Header(Box::new(header)), Input::Joined(join)] {
            self.reading.lines.extend(self.reading.state.push(&anchor, boot_ns, input));
        }
    }

    fn finish(mut self) -> Reading {
        let foreign = std::mem::take(&mut self.foreign);
        self.root_comm = self.root_comm.take().or_else(|| autoskillit::usual_name(&foreign));
        for (at, snapshot) in foreign {
            self.take_snapshot(at, snapshot);
        }
        if self.has_no_header() {
            self.begin(self.config.here.anchor.boot_ns);
        }
        if self.bad > DESCRIBED {
            let more = self.bad - DESCRIBED;
            self.problems.add(format_args!("{more} more lines of the trace of {}", self.name));
        }
        Reading { damaged: self.bad > 0, ..self.reading }
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
