//! The session over time for the Perfetto viewer: a trace in its protobuf encoding.
//!
//! A process is a track with a slice from its beginning to its end. A thread that waits is a track below it,
//! with a slice a wait. A flow leads from a wait to each process that could end it, and a pipe that a write
//! was blocked on is a counter. Field numbers are those of `protos/perfetto/trace/` of Perfetto. Times are
//! CLOCK_BOOTTIME, which is the format's default clock.

use std::collections::BTreeMap;

use super::escape::terminal;
use super::lanes::{Lane, Lanes, SpanKind};
use crate::core::diagnosis::Diagnosis;

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn fixed(mut self, field: u64, value: u64) -> Self {
        self.varint((field << 3) | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint((field << 3) | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, terminal(value).as_bytes())
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// `TrackEvent.Type`.
#[derive(Clone, Copy)]
enum Kind {
    SliceBegin = 1,
    SliceEnd = 2,
    Instant = 3,
    Counter = 4,
}

/// The trace under construction.
#[derive(Default)]
struct Trace {
    out: Message,
    tracks: u64,
    flows: u64,
    begun: bool,
}

impl Trace {
    fn packet(&mut self, packet: Message) {
        // TracePacket.trusted_packet_sequence_id, and in the first packet sequence_flags: its state is
        // complete.
        let mut packet = packet.number(10, 1);
        if !std::mem::replace(&mut self.begun, true) {
            packet = packet.number(13, 1);
        }
        self.out = std::mem::take(&mut self.out).message(1, &packet);
    }

    /// TracePacket.track_descriptor. Returns the track.
    fn track(&mut self, describe: impl FnOnce(Message) -> Message) -> u64 {
        self.tracks += 1;
        let descriptor = describe(Message::default().number(1, self.tracks));
        self.packet(Message::default().message(60, &descriptor));
        self.tracks
    }

    /// TracePacket.track_event.
    fn event(&mut self, at: u64, track: u64, kind: Kind, fields: impl FnOnce(Message) -> Message) {
        let event = fields(Message::default().number(9, kind as u64).number(11, track));
        self.packet(Message::default().number(8, at).message(11, &event));
    }

    fn slice(&mut self, track: u64, from: u64, to: u64, category: &str, name: &str, flows: &[u64]) {
        self.event(from, track, Kind::SliceBegin, |event| {
            let event = event.text(22, category).text(23, name);
            flows.iter().fold(event, |event, flow| event.fixed(47, *flow))
        });
        self.event(to.max(from), track, Kind::SliceEnd, |event| event);
    }
}

/// The trace of a session, or of what a diagnosis alone knows.
pub fn perfetto(diagnosis: &Diagnosis, session: Option<&Lanes>) -> Vec<u8> {
    let lanes = session.cloned().unwrap_or_default().with_diagnosis(diagnosis);
    let mut trace = Trace::default();
    let processes: BTreeMap<u32, u64> =
        lanes.lanes.iter().map(|lane| (lane.process.pid, process(&mut trace, lane, &lanes))).collect();
    for lane in &lanes.lanes {
        threads(&mut trace, lane, &lanes, &processes);
    }
    counters(&mut trace, &lanes);
    if !lanes.verdicts.is_empty() {
        let track = trace.track(|track| track.text(2, "diagnosis"));
        for (at, verdict) in &lanes.verdicts {
            trace.event(*at, track, Kind::Instant, |event| event.text(22, "diagnosis").text(23, verdict));
        }
    }
    trace.out.0
}

/// The track of a process: its life and the signals that it was sent.
fn process(trace: &mut Trace, lane: &Lane, lanes: &Lanes) -> u64 {
    let pid = u64::from(lane.process.pid);
    let track = trace.track(|track| {
        let process = Message::default().number(1, pid).text(6, &lane.name).number(7, lane.begin_boot_ns);
        track.message(3, &process)
    });
    let end = lane.end.as_ref().map_or(lanes.end_boot_ns, |end| end.at_boot_ns);
    let how = lane.end.as_ref().map_or_else(|| "alive".to_owned(), |end| end.how.clone());
    trace.slice(track, lane.begin_boot_ns.min(end), end, "process", &format!("{} ({how})", lane.name), &[]);
    for (at, signal) in &lane.signals {
        trace.event(*at, track, Kind::Instant, |event| event.text(22, "signal").text(23, signal));
    }
    track
}

/// The tracks of the threads that wait.
fn threads(trace: &mut Trace, lane: &Lane, lanes: &Lanes, processes: &BTreeMap<u32, u64>) {
    let pid = u64::from(lane.process.pid);
    let mut tracks: BTreeMap<u32, u64> = BTreeMap::new();
    for span in &lane.spans {
        let track = *tracks.entry(span.tid).or_insert_with(|| {
            trace.track(|track| {
                let thread = Message::default().number(1, pid).number(2, span.tid.into()).text(5, &lane.name);
                track.message(4, &thread)
            })
        });
        let category = match span.kind {
            SpanKind::Wait => "wait",
            SpanKind::BlockedWrite => "blocked-write",
            SpanKind::Hang => "hang",
        };
        let to = span.to_boot_ns.unwrap_or(lanes.end_boot_ns);
        let holders: Vec<u64> = span.held_by.iter().filter_map(|pid| processes.get(pid).copied()).collect();
        let flows: Vec<u64> = (1..=holders.len() as u64).map(|more| trace.flows + more).collect();
        trace.flows += flows.len() as u64;
        trace.slice(track, span.from_boot_ns, to, category, &span.words, &flows);
        for (holder, flow) in holders.into_iter().zip(flows) {
            // TrackEvent.terminating_flow_ids
            trace.event(to, holder, Kind::Instant, |event| {
                let name = format!("could end the wait of {} ({pid})", lane.name);
                event.text(22, category).text(23, &name).fixed(48, flow)
            });
        }
    }
}

/// A counter for each pipe that a write was blocked on: its fill while the write was blocked.
fn counters(trace: &mut Trace, lanes: &Lanes) {
    let mut tracks: BTreeMap<&str, u64> = BTreeMap::new();
    for span in lanes.lanes.iter().flat_map(|lane| &lane.spans) {
        let Some((resource, used, _)) = &span.fill else { continue };
        let track = *tracks.entry(resource).or_insert_with(|| {
            trace.track(|track| {
                // CounterDescriptor.unit is UNIT_SIZE_BYTES.
                let unit = Message::default().number(3, 3);
                track.text(2, &format!("bytes in {resource}")).message(8, &unit)
            })
        });
        trace.event(span.from_boot_ns, track, Kind::Counter, |event| event.number(30, *used));
        if let Some(to) = span.to_boot_ns {
            trace.event(to, track, Kind::Counter, |event| event.number(30, 0));
        }
    }
}
