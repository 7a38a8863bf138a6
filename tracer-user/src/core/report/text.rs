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
/// Problems of reading in a report that was not asked for more.
const MOST_PROBLEMS: usize = 3;
/// How much of each section a report has, most first: the first that leads to [`MOST_LINES`] is taken.
const BUDGETS: [Budget; 4] = [
    Budget { tests: 2, parties: 6, resources: 2, notes: 2, advice: 2, go_on: 1, findings: 4, tree: 8 },
    Budget { tests: 1, parties: 4, resources: 1, notes: 1, advice: 2, go_on: 1, findings: 3, tree: 6 },
    Budget { tests: 1, parties: 3, resources: 1, notes: 0, advice: 1, go_on: 1, findings: 2, tree: 5 },
    Budget { tests: 1, parties: 2, resources: 0, notes: 0, advice: 1, go_on: 0, findings: 1, tree: 4 },
];
/// Of a report that was asked for everything.
const ALL: Budget = Budget {
    tests: usize::MAX,
    parties: usize::MAX,
    resources: usize::MAX,
    notes: usize::MAX,
    advice: usize::MAX,
    go_on: usize::MAX,
    findings: usize::MAX,
    tree: usize::MAX,
};

/// Lines of each section.
#[derive(Clone, Copy)]
struct Budget {
    tests: usize,
    parties: usize,
    resources: usize,
    notes: usize,
    advice: usize,
    go_on: usize,
    /// Findings beside the first.
    findings: usize,
    /// The wait tree, at least.
    tree: usize,
}

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
    let budgets = if style.verbose { &[ALL][..] } else { &BUDGETS[..] };
    let mut lines = Vec::new();
    for budget in budgets {
        lines = within(diagnosis, style, *budget);
        if lines.len() <= MOST_LINES {
            break;
        }
    }
    lines.join("\n") + "\n"
}

fn within(diagnosis: &Diagnosis, style: TextStyle, budget: Budget) -> Vec<String> {
    let mut out = Lines { style, budget, lines: Vec::new() };
    out.push(0, &style.verdict(diagnosis.verdict, &escape::terminal(&headline(diagnosis))));
    let mut left = 0;
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        if style.verbose || at == 0 {
            out.finding(at, finding, diagnosis);
        } else if finding.verdict == Verdict::NotHung {
        } else if at > budget.findings {
            left += 1;
        } else {
            let follows =
                finding.follows.map_or_else(String::new, |root| format!(" (follows from {})", root + 1));
            let words = format!("{}. {}: {}{follows}", at + 1, finding.class.id(), finding.summary);
            out.push(0, &escape::terminal(&words));
        }
    }
    if left > 0 {
        out.push(0, &format!("… and {left} more findings, in the JSON report"));
    }
    let problems_follow = matches!(diagnosis.verdict, Verdict::Unknown | Verdict::External);
    let problems = if problems_follow { diagnosis.problems.len().min(MOST_PROBLEMS) + 1 } else { 0 };
    // Beside the tree there are its heading, a line for what is left out, the problems and the verdict.
    let tree = match style.verbose {
        true => usize::MAX,
        false => MOST_LINES
            .saturating_sub(out.lines.len() + 3 + problems)
            .clamp(budget.tree, waits::MOST.max(budget.tree)),
    };
    let worth = style.verbose || diagnosis.waits.processes.len() > 1 || !diagnosis.verdict.is_hang();
    if worth {
        out.section(0, "who waits for what", &waits::lines(&diagnosis.waits, tree));
    }
    if style.verbose {
        for (thread, frames) in waits::stacks(&diagnosis.waits) {
            out.section(0, &format!("stack of {}", escape::terminal(&thread)), &frames);
        }
        out.section(0, "ruled out", &ruled_out(diagnosis));
    }
    if style.verbose || problems_follow {
        let most = if style.verbose { usize::MAX } else { MOST_PROBLEMS };
        let problems: Vec<String> = diagnosis.problems.iter().take(most).cloned().collect();
        out.section(0, "could not be read", &problems);
    }
    if style.verbose
        && let Some(fingerprint) = &diagnosis.fingerprint
    {
        let words = format!("fingerprint: site {}, shape {}", fingerprint.site, fingerprint.shape);
        out.push(0, &escape::terminal(&words));
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
    out.lines
}

struct Lines {
    style: TextStyle,
    budget: Budget,
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
        let budget = self.budget;
        let take = |lines: Vec<String>, most: usize| -> Vec<String> {
            let left = lines.len().saturating_sub(most);
            let mut lines: Vec<String> = lines.into_iter().take(most).collect();
            if left > 0 && most > 1 {
                lines.push(format!("… and {left} more"));
            }
            lines
        };
        let tests: Vec<String> = tests_of(finding).into_iter().map(str::to_owned).collect();
        self.section(2, "test", &take(tests, budget.tests));
        self.section(2, "who", &take(parties(finding), budget.parties));
        let resources = finding
            .resources
            .iter()
            .map(|r| format!("{} {}: {}", r.reference.kind.id(), r.reference.id, amount(r)));
        self.section(2, "on what", &take(resources.collect(), budget.resources));
        if style.verbose {
            let edges =
                finding.edges.iter().map(|e| format!("{} -> {}  ({}, {})", e.from, e.to, e.op, e.via));
            self.section(2, "link by link", &edges.collect::<Vec<_>>());
        }
        self.section(2, "note", &take(finding.notes.clone(), budget.notes));
        self.section(2, "to cure it", &take(finding.advice.clone(), budget.advice));
        self.section(2, "to let this run continue", &take(finding.go_on.clone(), budget.go_on));
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
                let place = party.at.as_ref().map(|at| format!("  at {}", at.text)).unwrap_or_default();
                rows.push((party.pid, vec![party.role], format!("{}{call}{place}", who(party))));
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
