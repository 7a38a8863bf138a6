//! A diagnosis for its readers: people at terminals, programs, pull requests, test dashboards, graph viewers.
//!
//! Each format is a pure function from [`Diagnosis`] to text; color is an argument. Text in a diagnosis may
//! come from outside (comm, argv, paths) and may be chosen to deceive: each sink does its own escaping, with
//! [`escape`], whatever was done before.

mod dot;
mod drawing;
pub mod escape;
mod github;
mod html;
mod junit;
mod lanes;
mod layout;
mod markdown;
mod mermaid;
mod perfetto;
mod svg;
mod text;
mod waits;

#[cfg(test)]
mod tests;

pub use dot::dot;
pub use github::{annotations, foreign, section, section_in};
pub use html::html;
pub use junit::junit;
pub use lanes::Lanes;
pub use markdown::markdown;
pub use mermaid::mermaid;
pub use perfetto::perfetto;
pub use svg::picture;
pub use text::{TextStyle, text};
pub use waits::lines as wait_lines;

use super::diagnosis::{Diagnosis, Finding, Party, Resource, RuledOut, Verdict};
use super::text::duration;

/// The diagnosis as `tracer.diagnosis/1`, with line breaks.
pub fn json(diagnosis: &Diagnosis) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(diagnosis)
}

/// The first line of every report: the sentence that explains the hang, or that nothing hangs and why.
fn headline(diagnosis: &Diagnosis) -> String {
    if diagnosis.verdict != Verdict::NotHung
        && let Some(finding) = diagnosis.findings.iter().find(|f| f.verdict == diagnosis.verdict)
    {
        return finding.summary.clone();
    }
    let window = duration(diagnosis.quiet_window_ms * 1_000_000);
    match diagnosis.progress.as_slice() {
        [] => "Nothing hangs.".to_owned(),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!(
                "Nothing hangs. Progress was seen within {window}: {} (pid {}){more}.",
                first.title, first.pid
            )
        }
    }
}

/// The same answer as before, in one line: `still deadlock (pipe-full) after 2 min 0 s`.
pub fn still(diagnosis: &Diagnosis) -> String {
    let finding = diagnosis.findings.iter().find(|finding| finding.verdict == diagnosis.verdict);
    let class = finding.map_or_else(String::new, |finding| format!(" ({})", finding.class.id()));
    let after = finding.and_then(|finding| finding.blocked_ms);
    let after =
        after.map_or_else(String::new, |ms| format!(" after {}", duration(ms.saturating_mul(1_000_000))));
    format!("still {}{class}{after}", diagnosis.verdict.id())
}

/// The suspicions that were ruled out, one line each.
fn ruled_out(diagnosis: &Diagnosis) -> Vec<String> {
    let words = |what: &RuledOut| match what {
        RuledOut::FullPipe { pipes: 1 } => "No pipe is full: the one that was looked at has room.".to_owned(),
        RuledOut::FullPipe { pipes } => {
            format!("No pipe is full: all {pipes} that were looked at have room.")
        }
        RuledOut::CapturePipe { process, fd } => format!(
            "The {} of {process} is a deleted regular file, not a pipe: no write to it can block on a reader (pytest's capture looks like this).",
            match fd {
                1 => "stdout".to_owned(),
                2 => "stderr".to_owned(),
                other => format!("fd {other}"),
            }
        ),
        RuledOut::FileLock => "No process waits for a file lock.".to_owned(),
        RuledOut::Stopped => "No process of the job is stopped, traced or frozen.".to_owned(),
        RuledOut::NetworkPeer => "Nothing waits for a peer on the network.".to_owned(),
    };
    diagnosis.ruled_out.iter().map(words).collect()
}

/// A process in one line: `pid 845 worker.py --fast`.
fn who(party: &Party) -> String {
    let words = if party.cmdline.is_empty() { party.comm.clone() } else { party.cmdline.join(" ") };
    let tid = if party.tid == party.pid { String::new() } else { format!(", thread {}", party.tid) };
    format!("pid {}{tid}: {}", party.pid, clip(&words, 160))
}

/// At most `most` characters.
fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The facts about a resource, in one line.
fn amount(resource: &Resource) -> String {
    let mut parts = Vec::new();
    match (resource.used, resource.capacity) {
        (Some(used), Some(capacity)) => parts.push(format!("{used} of {capacity} bytes")),
        (Some(used), None) => parts.push(format!("{used} bytes")),
        _ => {}
    }
    if let (Some(used), Some(slots)) = (resource.slots_used, resource.slots) {
        parts.push(format!("{used} of {slots} slots"));
    }
    for (word, ends) in [("read by", &resource.readers), ("written by", &resource.writers)] {
        if !ends.is_empty() {
            let list: Vec<String> = ends.iter().take(6).map(|e| format!("{} (fd {})", e.pid, e.fd)).collect();
            let more = if ends.len() > 6 { format!(" and {} more", ends.len() - 6) } else { String::new() };
            parts.push(format!("{word} {}{more}", list.join(", ")));
        }
    }
    parts.join("; ")
}

/// `deadlock (proven)`.
fn judged(finding: &Finding) -> String {
    format!("{} ({})", finding.verdict.id(), finding.confidence.id())
}

/// The lists of a finding: the heading of each and its lines.
fn lists(finding: &Finding) -> [(&'static str, Vec<String>); 4] {
    let resources = finding
        .resources
        .iter()
        .map(|r| format!("{} {}: {}", r.reference.kind.id(), r.reference.id, amount(r)))
        .collect();
    [
        ("On what", resources),
        ("Notes", finding.notes.clone()),
        ("To cure it", finding.advice.clone()),
        ("To let this run go on", finding.go_on.clone()),
    ]
}

/// The tests of a finding, each once.
fn tests_of(finding: &Finding) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for test in finding.processes.iter().filter_map(|p| p.test.as_deref()) {
        if !out.contains(&test) {
            out.push(test);
        }
    }
    out
}
