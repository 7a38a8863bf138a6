//! For people at a terminal: the sentence first, then the processes, the cure and the wait tree. About thirty
//! lines at most, unless everything is requested.

use std::collections::BTreeMap;

use super::{amount, escape, headline, judged, ruled_out, tests_of, waits, who};
use crate::core::diagnosis::{Diagnosis, Finding, Role, Verdict};

/// How to write the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// With ANSI colors.
    pub color: bool,
    /// Everything: every finding in full, each link, what was ruled out, the whole tree.
    pub verbose: bool,
}

/// The most lines of a brief report.
const MOST_LINES: usize = 30;
/// The fewest lines of the wait tree in it.
const LEAST_TREE: usize = 8;

impl TextStyle {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn verdict(self, verdict: Verdict, text: &str) -> String {
        let code = match verdict {
            Verdict::Deadlock => "1;31",
            Verdict::OrphanedWait | Verdict::Livelock => "1;33",
            Verdict::Unknown => "1;35",
            Verdict::External => "1;36",
            Verdict::Idle | Verdict::NotHung => "1;32",
        };
        self.paint(code, text)
    }

    fn head(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// The report.
pub fn text(diagnosis: &Diagnosis, style: TextStyle) -> String {
    let mut out = Lines { style, lines: Vec::new() };
    out.push(0, &style.verdict(diagnosis.verdict, &escape::terminal(&headline(diagnosis))));
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        if style.verbose || at == 0 {
            out.finding(at, finding, diagnosis);
        } else if finding.verdict != Verdict::NotHung {
            let follows =
                finding.follows.map_or_else(String::new, |root| format!(" (follows from {})", root + 1));
            let words = format!("{}. {}: {}{follows}", at + 1, finding.class.id(), finding.summary);
            out.push(0, &escape::terminal(&words));
        }
    }
    let tree = if style.verbose {
        usize::MAX
    } else {
        MOST_LINES.saturating_sub(out.lines.len() + 3).clamp(LEAST_TREE, waits::MOST)
    };
    let worth = style.verbose || diagnosis.waits.processes.len() > 1 || !diagnosis.verdict.is_hang();
    if worth {
        out.section(0, "who waits for what", &waits::lines(&diagnosis.waits, tree));
    }
    if style.verbose {
        out.section(0, "ruled out", &ruled_out(diagnosis));
    }
    if style.verbose || matches!(diagnosis.verdict, Verdict::Unknown | Verdict::External) {
        let most = if style.verbose { usize::MAX } else { 3 };
        let problems: Vec<String> = diagnosis.problems.iter().take(most).cloned().collect();
        out.section(0, "could not be read", &problems);
    }
    let events = if diagnosis.kernel_events { "with kernel events" } else { "without kernel events" };
    let counted = if diagnosis.calls_counted { "" } else { ", system calls not counted" };
    out.push(
        0,
        &format!(
            "verdict: {}; looked at {} over {} ms, {events}{counted}",
            style.verdict(diagnosis.verdict, diagnosis.verdict.id()),
            escape::terminal(&diagnosis.taken_at),
            diagnosis.quiet_window_ms
        ),
    );
    out.lines.join("\n") + "\n"
}

struct Lines {
    style: TextStyle,
    lines: Vec<String>,
}

impl Lines {
    fn push(&mut self, indent: usize, text: &str) {
        self.lines.push(format!("{}{text}", " ".repeat(indent)));
    }

    fn section(&mut self, indent: usize, name: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.push(indent, &self.style.head(name));
        for line in lines {
            self.push(indent + 2, &escape::terminal(line));
        }
    }

    fn finding(&mut self, at: usize, finding: &Finding, diagnosis: &Diagnosis) {
        let style = self.style;
        if finding.verdict == Verdict::Idle && !style.verbose {
            return;
        }
        let number = if diagnosis.findings.len() > 1 { format!("{}. ", at + 1) } else { String::new() };
        let title = format!("{number}{}: {}", finding.class.id(), finding.class.title());
        self.push(
            0,
            &format!("{}: {}", style.head(&title), style.verdict(finding.verdict, &judged(finding))),
        );
        if at > 0 || finding.verdict != diagnosis.verdict || finding.verdict == Verdict::NotHung {
            self.push(2, &escape::terminal(&finding.summary));
        }
        if let Some(root) = finding.follows {
            self.push(2, &format!("It follows from finding {}.", root + 1));
        }
        if let Some(ends) = &finding.ends_at {
            self.push(2, &format!("It ends by itself at {} at the latest.", escape::terminal(ends)));
        }
        let most = |brief: usize| if style.verbose { usize::MAX } else { brief };
        let take = |lines: Vec<String>, brief: usize| -> Vec<String> {
            let left = lines.len().saturating_sub(most(brief));
            let mut lines: Vec<String> = lines.into_iter().take(most(brief)).collect();
            if left > 0 {
                lines.push(format!("… and {left} more"));
            }
            lines
        };
        let tests: Vec<String> = tests_of(finding).into_iter().map(str::to_owned).collect();
        self.section(2, "test", &take(tests, 2));
        self.section(2, "who", &take(parties(finding), 6));
        let resources = finding
            .resources
            .iter()
            .map(|r| format!("{} {}: {}", r.reference.kind.id(), r.reference.id, amount(r)));
        self.section(2, "on what", &take(resources.collect(), 2));
        if style.verbose {
            let edges =
                finding.edges.iter().map(|e| format!("{} -> {}  ({}, {})", e.from, e.to, e.op, e.via));
            self.section(2, "link by link", &edges.collect::<Vec<_>>());
        }
        self.section(2, "note", &take(finding.notes.clone(), 2));
        self.section(2, "to cure it", &take(finding.advice.clone(), 2));
        self.section(2, "to let this run continue", &take(finding.go_on.clone(), 1));
    }
}

/// One row for each process: its roles, its name and the call that it waits in.
fn parties(finding: &Finding) -> Vec<String> {
    let mut rows: Vec<(u32, Vec<Role>, String)> = Vec::new();
    let mut at: BTreeMap<u32, usize> = BTreeMap::new();
    for party in &finding.processes {
        match at.get(&party.pid) {
            Some(row) => {
                if !rows[*row].1.contains(&party.role) {
                    rows[*row].1.push(party.role);
                }
            }
            None => {
                at.insert(party.pid, rows.len());
                let call = party.waits_in.as_ref().map(|call| format!("  [{call}]")).unwrap_or_default();
                rows.push((party.pid, vec![party.role], format!("{}{call}", who(party))));
            }
        }
    }
    rows.into_iter()
        .map(|(_, roles, words)| {
            let roles: Vec<&str> = roles.iter().map(|role| role.id()).collect();
            format!("{:<6} {words}", roles.join("+"))
        })
        .collect()
}
