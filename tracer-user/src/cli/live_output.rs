//! What a live session shows on standard error: notices, events with `--events`, a status line on a terminal,
//! and the summary at its end.

use std::time::Duration;

use super::output::{Output, colored};
use super::report;
use super::report_target::ReportArgs;
use super::status_line::StatusLine;
use super::stderr;
use crate::core::diagnosis::{Diagnosis, Verdict};
use crate::core::record::{Line, SessionId};
use crate::core::report as core_report;
use crate::core::report::Lanes;
use crate::core::summary::{LeakedProcess, Summary};
use crate::core::text::ByteString;
use crate::core::text::duration;
use crate::core::text::printable;
use crate::core::timeline;
use crate::session::live::{DiagnosisTrigger, Observer, SessionEvent, SessionStatus};

/// How long messages may take to reach a reader before they count as lost.
const SETTLE_WITHIN: Duration = Duration::from_millis(100);

/// The observer that prints a live session.
pub struct LiveOutput<'a> {
    output: &'a Output,
    events: bool,
    status: Option<StatusLine>,
    began_boot_ns: Option<u64>,
    reports: ReportArgs,
    /// The session over time, where a report shows it.
    lanes: Option<Lanes>,
    color: bool,
    /// Number of different diagnoses that were published.
    hangs: u32,
    /// The last diagnosis that was shown.
    reported: Option<Diagnosis>,
}

impl<'a> LiveOutput<'a> {
    /// `events`: print each event. `quiet`: print notices only. Diagnoses are also written to `reports`.
    pub fn new(output: &'a Output, events: bool, quiet: bool, reports: ReportArgs) -> Self {
        let color = colored(&std::io::stderr());
        let lanes = (!reports.is_empty()).then(Lanes::default);
        let status = if quiet || events { None } else { StatusLine::on_terminal() };
        Self { output, events, status, began_boot_ns: None, reports, lanes, color, hangs: 0, reported: None }
    }
}

impl LiveOutput<'_> {
    /// Ends the output. Returns the session over time, where a report shows it.
    pub fn into_lanes(self) -> Option<Lanes> {
        self.lanes
    }
}

impl Observer for LiveOutput<'_> {
    fn observe(&mut self, session: &SessionId, event: SessionEvent<'_>) {
        match event {
            SessionEvent::Lines(lines) => self.lines(lines),
            SessionEvent::Notice(text) | SessionEvent::Debug(text) => self.output.note(text),
            SessionEvent::Diagnosis(diagnosis, trigger) => {
                self.diagnosed(session, diagnosis, trigger);
            }
            SessionEvent::Status(status) => self.status(status),
        }
    }

    fn undelivered(&self) -> u64 {
        stderr::settle(SETTLE_WITHIN);
        stderr::undelivered()
    }
}

impl LiveOutput<'_> {
    fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            if let Some(lanes) = &mut self.lanes {
                lanes.observe(line);
            }
            let began = *self.began_boot_ns.get_or_insert(line.boot_ns);
            if self.events
                && let Some(text) = timeline::timed(line, began)
            {
                stderr::write(format!("{}\n", printable(&text)));
            }
        }
    }

    fn diagnosed(&mut self, session: &SessionId, diagnosis: &Diagnosis, trigger: DiagnosisTrigger) {
        // A job may sleep for ten minutes: silence that is not a hang is not reported.
        let idle = trigger == DiagnosisTrigger::NoProgress && !diagnosis.verdict.is_hang();
        let same = self.reported.as_ref().is_some_and(|before| before.is_same_answer(diagnosis));
        // The report of a hang is not replaced because a later look saw less: a short look cannot tell a
        // time-out that ends soon from progress, and the rest of the job may move.
        let sees_less = !diagnosis.verdict.is_hang() && (idle || diagnosis.verdict != Verdict::NotHung);
        if sees_less && let Some(hang) = self.reported.as_ref().filter(|before| before.verdict.is_hang()) {
            if !idle {
                self.output.note(&core_report::still(hang));
            }
            return;
        }
        if !idle && !same {
            self.hangs += 1;
        }
        let section = format!("{}.{}", session.as_str(), self.hangs);
        let publish = || match idle {
            true => Ok(()),
            // The annotation of a hang is made once. Its section of the summary is brought up to date.
            false => report::publish(diagnosis, &section, same, |name| std::env::var(name).ok()),
        };
        let written = report::write(diagnosis, self.lanes.as_ref(), &self.reports, session.as_str())
            .and_then(|()| publish());
        if let Err(error) = written {
            self.output.note(&format!("{error:#}"));
        }
        if let Some(line) = &mut self.status {
            line.clear();
        }
        match (trigger, diagnosis.verdict) {
            _ if idle => {}
            (DiagnosisTrigger::NoProgress, _) if same => {
                self.output.note(&core_report::still(diagnosis));
            }
            (DiagnosisTrigger::EndRequest | DiagnosisTrigger::TimeLimit, Verdict::NotHung) => {
                self.output
                    .note("no hang was found when the job was asked to end; the trace has the evidence");
            }
            _ => {
                let style = core_report::TextStyle { color: self.color, verbose: false };
                stderr::write(core_report::text(diagnosis, style));
            }
        }
        if !idle {
            self.reported = Some(diagnosis.clone());
        }
    }

    fn status(&mut self, status: &SessionStatus) {
        let Some(line) = &mut self.status else { return };
        let lost = if status.lost == 0 { String::new() } else { format!(" · {} lost", status.lost) };
        line.draw(&format!(
            "tracer-user: {} · {} alive · {} forks · {} exits · {} blocked writes{lost}",
            duration(status.elapsed_ns),
            status.alive,
            status.forks,
            status.exits,
            status.open_stalls,
        ));
    }
}

/// The session summary in one line.
pub fn summary_line(summary: &Summary, filed: Option<&std::path::Path>) -> String {
    let after = summary.duration_seconds.map_or_else(String::new, |seconds| format!(" after {seconds:.1} s"));
    let stalls = match summary.stalls.count {
        0 => "no blocked write".to_owned(),
        count => {
            let longest = summary.stalls.by_resource.first().map_or("?", |most| most.resource.as_str());
            let length = duration(summary.stalls.longest_ms * 1_000_000);
            format!("{count} blocked write{} (longest {length}, most on {longest})", plural(count))
        }
    };
    let processes = summary.processes.forked + summary.processes.found;
    let lost = match (summary.events_lost, summary.kernel_events) {
        (_, Some(false)) => ", no kernel events".to_owned(),
        (0, _) => String::new(),
        (lost, _) => format!(", {lost} events lost"),
    };
    let place = filed.map_or_else(String::new, |path| format!("; {}", path.display()));
    format!(
        "{}{after}, {processes} process{}, {stalls}{lost}{place}",
        summary.termination_reason.to_lowercase(),
        if processes == 1 { "" } else { "es" },
    )
}

/// A process that outlived the job, in one line: its pid, its ancestors, and which output of the job it
/// holds.
pub fn leaked_line(leaked: &LeakedProcess) -> String {
    let named = |comm: &Option<ByteString>| comm.as_ref().map_or_else(|| "?".to_owned(), ByteString::escaped);
    let mut line = format!(
        "leaked: pid {} ({}) `{}` outlived the job",
        leaked.process.pid,
        named(&leaked.comm),
        leaked.cmdline.join(" ")
    );
    let ancestors: Vec<String> = (leaked.lineage.iter())
        .map(|it| {
            let ended = if it.ended { ", ended" } else { "" };
            format!("pid {} ({}{ended})", it.process.pid, named(&it.comm))
        })
        .collect();
    match (leaked.forked_after_ms, ancestors.is_empty()) {
        (Some(after), false) => {
            let line_of_descent = ancestors.join(", that by ");
            line.push_str(&format!(
                "; forked {} after the start by {line_of_descent}",
                duration(after * 1_000_000)
            ));
        }
        (_, false) => line.push_str(&format!("; found running, child of {}", ancestors.join(", child of "))),
        (_, true) => line.push_str("; its parent is unknown"),
    }
    let from = ancestors.first().map_or_else(String::new, |parent| format!(", inherited from {parent}"));
    match leaked.output_fds.as_deref() {
        Some([]) => line.push_str("; it holds none of the job's output"),
        Some(fds) => {
            let fds: Vec<String> = fds.iter().map(u32::to_string).collect();
            line.push_str(&format!("; it holds the job's output as fd {}{from}", fds.join(", ")));
        }
        None => {}
    }
    line
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
