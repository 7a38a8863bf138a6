//! A session over time: a lane a process, with its blocked writes, its waits and its end.
//!
//! [`Lanes`] takes the lines of a trace one by one and keeps a bounded part of them, so a live session can
//! feed it for days. What a diagnosis saw at its moment is laid over with [`Lanes::with_diagnosis`], which
//! also makes lanes where there is no trace: a process's start is part of its identity.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::diagnosis::{Diagnosis, NodeState, ProcessWaits, Verdict};
use crate::core::identity::NS_PER_TICK;
use crate::core::record::{
    Body, ExecLine, ExitLine, ForkLine, Line, Origin, ProcessKey, StallLine, StallPhase,
};
use crate::core::session_state::resource_id;

/// Lanes that are kept. Past it, processes that ended with success and never blocked are left out first.
const MOST_LANES: usize = 4_000;
/// Blocked writes and signals that are kept of a process.
const MOST_SPANS: usize = 200;

/// A session over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    /// The session's id; `None` without a session.
    pub session: Option<String>,
    /// When the session began, CLOCK_BOOTTIME nanoseconds; `None` without a session.
    pub begin_boot_ns: Option<u64>,
    /// The last moment that is known, CLOCK_BOOTTIME nanoseconds.
    pub end_boot_ns: u64,
    /// The processes in the order in which they joined.
    pub lanes: Vec<Lane>,
    /// Processes that are left out because there are too many.
    pub omitted: usize,
    /// The diagnoses of the session: when, and their verdicts.
    pub verdicts: Vec<(u64, String)>,
    /// Since when something hangs, CLOCK_BOOTTIME nanoseconds.
    pub hangs_since: Option<u64>,
    index: BTreeMap<ProcessKey, usize>,
}

/// A process over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The process.
    pub process: ProcessKey,
    /// Its parent; `None` when unknown.
    pub parent: Option<ProcessKey>,
    /// The name that people call it by.
    pub name: String,
    /// It is there from here on, CLOCK_BOOTTIME nanoseconds.
    pub begin_boot_ns: u64,
    /// It ran already when the session began, or it was not seen when it began.
    pub begun_before: bool,
    /// Its end; `None` while it is alive.
    pub end: Option<LaneEnd>,
    /// Its blocked writes and its waits.
    pub spans: Vec<LaneSpan>,
    /// Signals that it was sent: when, and which.
    pub signals: Vec<(u64, String)>,
    /// It takes part in a hang.
    pub hangs: bool,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneEnd {
    /// CLOCK_BOOTTIME nanoseconds.
    pub at_boot_ns: u64,
    /// `exit 1`, `SIGKILL`.
    pub how: String,
    /// Not with status 0.
    pub failed: bool,
}

/// Something that a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpan {
    /// The thread.
    pub tid: u32,
    /// Since when, CLOCK_BOOTTIME nanoseconds.
    pub from_boot_ns: u64,
    /// Until when; `None` when the wait's end is not known.
    pub to_boot_ns: Option<u64>,
    /// What, in words.
    pub words: String,
    /// Which kind of wait.
    pub kind: SpanKind,
    /// What a blocked write is blocked on, and how full that was: bytes in it, and bytes it takes.
    pub fill: Option<(String, u64, Option<u64>)>,
    /// The processes that could end the wait.
    pub held_by: Vec<u32>,
}

/// A kind of wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpanKind {
    /// A wait that was seen at the moment of a diagnosis.
    Wait,
    /// A write that the kernel reported as blocked.
    BlockedWrite,
    /// A wait that is part of a hang.
    Hang,
}

impl Lanes {
    /// The lanes of a whole trace.
    pub fn from_trace<'l>(trace: impl IntoIterator<Item = &'l Line>) -> Self {
        let mut lanes = Self::default();
        for line in trace {
            lanes.observe(line);
        }
        lanes
    }

    /// Takes a line of the trace.
    pub fn observe(&mut self, line: &Line) {
        self.end_boot_ns = self.end_boot_ns.max(line.boot_ns);
        match &line.body {
            Body::Header(header) => {
                self.session = Some(header.session_id.clone());
                self.begin_boot_ns = Some(line.boot_ns);
            }
            Body::Fork(fork) => self.fork(fork, line.boot_ns),
            Body::Exec(exec) => self.exec(exec),
            Body::Exit(exit) => self.exit(exit, line.boot_ns),
            Body::Signal(signal) if signal.delivered => {
                let entry = (line.boot_ns, signal.signal.clone());
                if let Some(lane) = self.lane(signal.process)
                    && lane.signals.len() < MOST_SPANS
                {
                    lane.signals.push(entry);
                }
            }
            Body::Stall(stall) => self.stall(stall),
            Body::Diagnosis(diagnosis) => {
                let verdict = diagnosis.diagnosis["verdict"].as_str().unwrap_or("unknown").to_owned();
                if self.verdicts.len() < MOST_SPANS {
                    self.verdicts.push((line.boot_ns, verdict));
                }
            }
            _ => {}
        }
    }

    /// These lanes with what a diagnosis saw.
    pub fn with_diagnosis(&self, diagnosis: &Diagnosis) -> Self {
        let mut lanes = self.clone();
        lanes.end_boot_ns = lanes.end_boot_ns.max(diagnosis.boot_ns);
        let hanging: BTreeSet<u32> = diagnosis
            .graph
            .nodes
            .iter()
            .filter(|node| matches!(node.state, Some(NodeState::Stuck | NodeState::Orphaned)))
            .filter_map(|node| node.id.split_once('/')?.1.parse().ok())
            .collect();
        let hanging = if diagnosis.verdict.is_hang() { hanging } else { BTreeSet::new() };
        for process in &diagnosis.waits.processes {
            lanes.waits_of(process, diagnosis, &hanging);
        }
        let hangs = diagnosis.findings.iter().filter(|finding| finding.verdict.is_hang());
        lanes.hangs_since = hangs.filter_map(|finding| finding.since_boot_ns).min();
        if diagnosis.verdict != Verdict::NotHung && lanes.verdicts.is_empty() {
            lanes.verdicts.push((diagnosis.boot_ns, diagnosis.verdict.id().to_owned()));
        }
        lanes
    }

    /// The lane of a process.
    fn lane(&mut self, process: ProcessKey) -> Option<&mut Lane> {
        self.index.get(&process).and_then(|at| self.lanes.get_mut(*at))
    }

    fn add(&mut self, lane: Lane) {
        if self.lanes.len() >= MOST_LANES {
            self.drop_uneventful();
        }
        self.index.insert(lane.process, self.lanes.len());
        self.lanes.push(lane);
    }

    /// Makes room: the older half of the processes that ended well and never blocked, then of all that ended.
    fn drop_uneventful(&mut self) {
        let target = MOST_LANES / 2;
        for harmless in [true, false] {
            let mut excess = self.lanes.len().saturating_sub(target);
            let before = self.lanes.len();
            self.lanes.retain(|lane| {
                let ended = lane.end.as_ref();
                let goes = ended.is_some_and(|end| !harmless || (!end.failed && lane.spans.is_empty()));
                let goes = excess > 0 && goes;
                excess -= usize::from(goes);
                !goes
            });
            self.omitted += before - self.lanes.len();
        }
        if self.lanes.len() >= MOST_LANES {
            self.omitted += self.lanes.len() - target;
            self.lanes.truncate(target);
        }
        self.index = self.lanes.iter().enumerate().map(|(at, lane)| (lane.process, at)).collect();
    }

    fn fork(&mut self, fork: &ForkLine, at: u64) {
        if self.index.contains_key(&fork.process) {
            return;
        }
        self.add(Lane {
            process: fork.process,
            parent: fork.parent,
            name: fork.comm.as_ref().map_or_else(|| "?".to_owned(), |comm| comm.escaped()),
            begin_boot_ns: fork.start_boottime_ns.unwrap_or(at),
            begun_before: fork.origin == Origin::Found,
            end: None,
            spans: Vec::new(),
            signals: Vec::new(),
            hangs: false,
        });
    }

    fn exec(&mut self, exec: &ExecLine) {
        let path = exec.filename.as_ref().unwrap_or(&exec.comm).escaped();
        if let Some(lane) = self.lane(exec.process) {
            lane.name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&path).to_owned();
        }
    }

    fn exit(&mut self, exit: &ExitLine, at: u64) {
        let (how, failed) = match (exit.exit_code, &exit.signal) {
            (Some(code), _) => (format!("exit {code}"), code != 0),
            (None, Some(signal)) => (signal.clone(), true),
            (None, None) => ("status unknown".to_owned(), false),
        };
        if let Some(lane) = self.lane(exit.process) {
            lane.end = Some(LaneEnd { at_boot_ns: at, how, failed });
            for span in lane.spans.iter_mut().filter(|span| span.to_boot_ns.is_none()) {
                span.to_boot_ns = Some(at);
            }
        }
    }

    fn stall(&mut self, stall: &StallLine) {
        let resource = resource_id(stall);
        let fd = stall.fd.map_or_else(String::new, |fd| format!(" (fd {fd})"));
        let span = LaneSpan {
            tid: stall.tid,
            from_boot_ns: stall.since_boot_ns,
            to_boot_ns: match stall.phase {
                StallPhase::Open => None,
                StallPhase::Close => Some(stall.since_boot_ns.saturating_add(stall.length_ns)),
            },
            words: format!("blocked writing to {resource}{fd}"),
            kind: SpanKind::BlockedWrite,
            fill: stall.used_bytes.map(|used| (resource, used, stall.capacity_bytes)),
            held_by: Vec::new(),
        };
        let Some(lane) = self.lane(stall.process) else { return };
        let same = |old: &LaneSpan| (old.tid, old.from_boot_ns) == (span.tid, span.from_boot_ns);
        let full = lane.spans.len() >= MOST_SPANS;
        match lane.spans.iter_mut().find(|old| same(old)) {
            Some(old) => old.to_boot_ns = span.to_boot_ns,
            None if full => {}
            None => lane.spans.push(span),
        }
    }

    fn waits_of(&mut self, process: &ProcessWaits, diagnosis: &Diagnosis, hanging: &BTreeSet<u32>) {
        let key = ProcessKey { pid: process.pid, start_ticks: process.start_ticks };
        if !self.index.contains_key(&key) {
            let parent = diagnosis.waits.processes.iter().find(|other| other.pid == process.ppid);
            self.add(Lane {
                process: key,
                parent: parent.map(|it| ProcessKey { pid: it.pid, start_ticks: it.start_ticks }),
                name: String::new(),
                begin_boot_ns: process.start_ticks.saturating_mul(NS_PER_TICK),
                begun_before: false,
                end: None,
                spans: Vec::new(),
                signals: Vec::new(),
                hangs: false,
            });
        }
        let Some(lane) = self.lane(key) else { return };
        process.title.clone_into(&mut lane.name);
        if process.zombie && lane.end.is_none() {
            let how = process.exit.clone().unwrap_or_else(|| "status unknown".to_owned());
            let failed = how != "status 0" && process.exit.is_some();
            lane.end = Some(LaneEnd { at_boot_ns: diagnosis.boot_ns, how, failed });
        }
        for thread in &process.threads {
            let hangs = hanging.contains(&thread.tid);
            lane.hangs |= hangs;
            let Some(since) = thread.since_boot_ns else { continue };
            let kind = if hangs { SpanKind::Hang } else { SpanKind::Wait };
            // The kernel's own report of the same write has the better times.
            let reported = |span: &&mut LaneSpan| {
                span.tid == thread.tid
                    && span.kind == SpanKind::BlockedWrite
                    && span.to_boot_ns.is_none_or(|to| to >= diagnosis.boot_ns)
            };
            match lane.spans.iter_mut().find(reported) {
                Some(span) => {
                    span.kind = span.kind.max(kind);
                    span.held_by = thread.held_by.iter().map(|holder| holder.pid).collect();
                }
                None => lane.spans.push(LaneSpan {
                    tid: thread.tid,
                    from_boot_ns: since,
                    to_boot_ns: Some(diagnosis.boot_ns),
                    words: thread.doing.clone(),
                    kind,
                    fill: None,
                    held_by: thread.held_by.iter().map(|holder| holder.pid).collect(),
                }),
            }
        }
    }

    /// The lanes of the processes that matter most, at most `most`, each after its parent and with its depth.
    pub fn pick(&self, most: usize) -> Vec<(usize, &Lane)> {
        let weight = |lane: &Lane| {
            let kind = lane.spans.iter().map(|span| span.kind).max();
            let failed = lane.end.as_ref().is_some_and(|end| end.failed);
            let length = lane
                .end
                .as_ref()
                .map_or(u64::MAX, |end| end.at_boot_ns - lane.begin_boot_ns.min(end.at_boot_ns));
            (lane.hangs, kind, failed, length)
        };
        let mut ranked: Vec<usize> = (0..self.lanes.len()).collect();
        ranked.sort_by_key(|at| (std::cmp::Reverse(weight(&self.lanes[*at])), *at));
        ranked.truncate(most);
        let chosen: BTreeSet<usize> = ranked.into_iter().collect();
        // The nearest ancestor that is shown stands for a parent that is not.
        let parent = |at: usize| {
            let mut parent = self.lanes[at].parent;
            for _ in 0..64 {
                let up = self.index.get(&parent?)?;
                if chosen.contains(up) {
                    return Some(*up);
                }
                parent = self.lanes[*up].parent;
            }
            None
        };
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for at in &chosen {
            children.entry(parent(*at).filter(|up| up != at)).or_default().push(*at);
        }
        let mut out = Vec::new();
        let mut todo: Vec<(usize, usize)> = Vec::new();
        let push = |todo: &mut Vec<(usize, usize)>, depth, of: Option<&Vec<usize>>| {
            todo.extend(of.into_iter().flatten().rev().map(|at| (depth, *at)));
        };
        push(&mut todo, 0, children.get(&None));
        while let Some((depth, at)) = todo.pop() {
            out.push((depth, &self.lanes[at]));
            push(&mut todo, depth + 1, children.get(&Some(at)));
        }
        out
    }

    /// The first and the last moment that are worth showing, CLOCK_BOOTTIME nanoseconds.
    pub fn range(&self) -> (u64, u64) {
        let end = self.end_boot_ns;
        if let Some(begin) = self.begin_boot_ns {
            let seen = self.lanes.iter().filter(|lane| !lane.begun_before).map(|lane| lane.begin_boot_ns);
            return (seen.min().unwrap_or(begin).min(begin), end);
        }
        // Without a session nothing says where to begin: at the oldest process, but not so early that the
        // longest wait is too short to be seen.
        let oldest = self.lanes.iter().map(|lane| lane.begin_boot_ns).min().unwrap_or(end);
        let spans = self.lanes.iter().flat_map(|lane| &lane.spans);
        let longest = spans.map(|span| end.saturating_sub(span.from_boot_ns)).max().unwrap_or(0);
        (oldest.max(end.saturating_sub(longest.max(1_000_000_000).saturating_mul(4))).min(end), end)
    }
}
