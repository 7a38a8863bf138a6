//! For people at a terminal: the sentence first, then who, on what, link by link, what was ruled out, what to do.

use super::{amount, escape, headline, judged, tests_of, who};
use crate::core::diagnosis::{Diagnosis, Finding, Verdict};

struct Style {
    colour: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn verdict(&self, verdict: Verdict, text: &str) -> String {
        self.paint(
            match verdict {
                Verdict::Deadlock => "1;31",
                Verdict::OrphanedWait => "1;33",
                Verdict::External => "1;36",
                Verdict::NotHung => "1;32",
            },
            text,
        )
    }

    fn head(&self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// The report. With `colour`, ANSI colours.
pub fn text(diagnosis: &Diagnosis, colour: bool) -> String {
    let style = Style { colour };
    let mut out = String::new();
    line(&mut out, 0, &style.verdict(diagnosis.verdict, &escape::terminal(&headline(diagnosis))));
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        out.push('\n');
        one(&mut out, &style, at, finding, diagnosis);
    }
    section(&mut out, &style, 0, "ruled out", &diagnosis.refuted);
    section(&mut out, &style, 0, "could not be read", &diagnosis.problems);
    out.push('\n');
    let events = if diagnosis.kernel_events { "with kernel events" } else { "without kernel events" };
    line(
        &mut out,
        0,
        &format!(
            "verdict: {}; looked at {} over {} ms, {events}",
            style.verdict(diagnosis.verdict, diagnosis.verdict.id()),
            escape::terminal(&diagnosis.taken_at),
            diagnosis.quiet_window_ms
        ),
    );
    out
}

fn one(out: &mut String, style: &Style, at: usize, finding: &Finding, diagnosis: &Diagnosis) {
    let number = if diagnosis.findings.len() > 1 { format!("{}. ", at + 1) } else { String::new() };
    let title = format!("{number}{}: {}", finding.class.id(), finding.class.title());
    line(out, 0, &format!("{}: {}", style.head(&title), style.verdict(finding.verdict, &judged(finding))));
    if at > 0 || finding.verdict != diagnosis.verdict || finding.verdict == Verdict::NotHung {
        line(out, 2, &escape::terminal(&finding.summary));
    }
    if let Some(root) = finding.follows {
        line(out, 2, &format!("It follows from finding {}.", root + 1));
    }
    let tests: Vec<String> = tests_of(finding).iter().map(|t| escape::terminal(t)).collect();
    section(out, style, 2, "test", &tests);
    let parties: Vec<String> = finding
        .processes
        .iter()
        .map(|p| {
            let call = p.waits_in.as_ref().map(|c| format!("  [{c}]")).unwrap_or_default();
            format!("{:<6} {}{call}", p.role.id(), who(p))
        })
        .collect();
    section(out, style, 2, "who", &parties);
    let resources: Vec<String> =
        finding.resources.iter().map(|r| format!("{} {}: {}", r.kind, r.id, amount(r))).collect();
    section(out, style, 2, "on what", &resources);
    let edges: Vec<String> = finding
        .edges
        .iter()
        .take(24)
        .map(|e| format!("{} -> {}  ({}, {})", e.from, e.to, e.op, e.via))
        .collect();
    section(out, style, 2, "link by link", &edges);
    section(out, style, 2, "note", &finding.notes);
    section(out, style, 2, "to cure it", &finding.advice);
    section(out, style, 2, "to let this run go on", &finding.go_on);
}

fn section(out: &mut String, style: &Style, indent: usize, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    if indent == 0 {
        out.push('\n');
    }
    line(out, indent, &style.head(name));
    for text in lines {
        line(out, indent + 2, &escape::terminal(text));
    }
}

fn line(out: &mut String, indent: usize, text: &str) {
    out.push_str(&" ".repeat(indent));
    out.push_str(text);
    out.push('\n');
}
