//! For pull requests and step summaries.

use super::escape::{code, markdown as plain, markdown_with_code};
use super::{clip, headline, judged, lists, mermaid, ruled_out, tests_of, waits};
use crate::core::diagnosis::{Diagnosis, Finding, Verdict};

/// A graph with more nodes than this is left to the JSON report.
const MOST_NODES: usize = 24;

/// The report.
pub fn markdown(diagnosis: &Diagnosis) -> String {
    let mut out = format!("## {}\n\n**{}**\n", title(diagnosis.verdict), plain(&headline(diagnosis)));
    for finding in &diagnosis.findings {
        one(&mut out, finding, diagnosis);
    }
    tree(&mut out, diagnosis);
    list(&mut out, "Ruled out", &ruled_out(diagnosis));
    list(&mut out, "Could not be read", &diagnosis.problems);
    let stuck = diagnosis.graph.nodes.len();
    if diagnosis.verdict.is_hang() && stuck > 0 && stuck <= MOST_NODES {
        out.push_str("\n<details><summary>Who waits for whom</summary>\n\n```mermaid\n");
        out.push_str(&mermaid(&diagnosis.graph));
        out.push_str("```\n\n</details>\n");
    }
    out.push_str(&format!(
        "\n<sub>tracer-user, {}, quiet window {} ms, kernel events: {}</sub>\n",
        plain(&diagnosis.taken_at),
        diagnosis.quiet_window_ms,
        if diagnosis.kernel_events { "yes" } else { "no" }
    ));
    out
}

/// The wait tree, as text that keeps its indentation.
fn tree(out: &mut String, diagnosis: &Diagnosis) {
    if diagnosis.waits.processes.is_empty() {
        return;
    }
    out.push_str("\n**Who waits for what**\n\n");
    for line in waits::lines(&diagnosis.waits, waits::MOST) {
        // Four spaces make it code, in which nothing is markup.
        out.push_str(&format!("    {}\n", super::escape::terminal(&line)));
    }
}

fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Deadlock => "Hang: deadlock",
        Verdict::OrphanedWait => "Hang: orphaned wait",
        Verdict::Livelock => "Hang: livelock",
        Verdict::Unknown => "Not known",
        Verdict::External => "Waiting for a party outside",
        Verdict::Idle => "At rest",
        Verdict::NotHung => "Not hung",
    }
}

fn one(out: &mut String, finding: &Finding, diagnosis: &Diagnosis) {
    out.push_str(&format!(
        "\n### {}: {} — {}\n",
        code(finding.class.id()),
        finding.class.title(),
        judged(finding)
    ));
    if diagnosis.findings.len() > 1 || finding.verdict == Verdict::NotHung {
        out.push_str(&format!("\n{}\n", plain(&finding.summary)));
    }
    for test in tests_of(finding) {
        out.push_str(&format!("\nTest: {}\n", code(test)));
    }
    if !finding.processes.is_empty() {
        out.push_str("\n| role | pid | command | waits in |\n|---|---|---|---|\n");
        for party in &finding.processes {
            let words = if party.cmdline.is_empty() { party.comm.clone() } else { party.cmdline.join(" ") };
            out.push_str(&format!(
                "| {} | {} | {} | {} |\n",
                party.role.id(),
                party.pid,
                code(&clip(&words, 120)),
                party.waits_in.as_deref().map(code).unwrap_or_default()
            ));
        }
    }
    for (name, lines) in lists(finding) {
        list(out, name, &lines);
    }
}

fn list(out: &mut String, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("\n**{name}**\n\n"));
    for line in lines {
        out.push_str(&format!("- {}\n", markdown_with_code(line)));
    }
}
