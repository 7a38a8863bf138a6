//! A page of its own: no script, nothing loaded from elsewhere, light and dark.
//!
//! What decides comes first: the sentence, the cure, the graph, the lanes. The rest is folded with
//! `<details>`, which every browser opens without a script.

use super::escape::html as plain;
use super::lanes::Lanes;
use super::{headline, judged, lists, ruled_out, svg, tests_of, waits, who};
use crate::core::diagnosis::{Diagnosis, Finding, Party, ProcessWaits};

/// The style sheet of what is not a picture.
const STYLE: &str = include_str!("page.css");
/// Lanes that are shown at once.
const LANES: usize = 40;
/// Lanes that are shown at all.
const MOST_LANES: usize = 500;
/// Processes of the wait tree that are shown at once.
const PROCESSES: usize = 60;

/// The report. With the session's lanes it shows the whole session, else what the diagnosis knows.
pub fn html(diagnosis: &Diagnosis, session: Option<&Lanes>) -> String {
    let verdict = diagnosis.verdict.id();
    let sentence = plain(&headline(diagnosis));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{verdict}</title>\n\
         <style>{}{STYLE}</style></head><body>\n<main>\n\
         <p><span class=\"badge {verdict}\">{verdict}</span></p>\n<h1>{sentence}</h1>\n",
        svg::STYLE,
    );
    meta(&mut out, diagnosis, session);
    if let Some(first) = diagnosis.findings.first() {
        for (name, lines) in lists(first) {
            if name.starts_with("To ") {
                list(&mut out, name, &lines);
            }
        }
    }
    pictures(&mut out, diagnosis, session);
    tree(&mut out, diagnosis);
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        one(&mut out, at, finding);
    }
    for (thread, frames) in waits::stacks(&diagnosis.waits) {
        out.push_str(&format!("<details><summary>Stack of {}</summary>\n<ol>\n", plain(&thread)));
        for frame in frames {
            out.push_str(&format!("<li><code>{}</code></li>\n", plain(&frame)));
        }
        out.push_str("</ol></details>\n");
    }
    folded(&mut out, "Ruled out", &ruled_out(diagnosis));
    folded(&mut out, "Could not be read", &diagnosis.problems);
    out.push_str("</main>\n");
    footer(&mut out, diagnosis);
    out.push_str("</body></html>\n");
    out
}

fn meta(out: &mut String, diagnosis: &Diagnosis, session: Option<&Lanes>) {
    let mut parts = vec![diagnosis.taken_at.clone()];
    parts.extend(session.and_then(|lanes| lanes.session.as_ref()).map(|id| format!("session {id}")));
    parts.extend(diagnosis.host.hostname.as_ref().map(|name| format!("on {name}")));
    parts.extend(diagnosis.host.kernel.as_ref().map(|release| format!("Linux {release}")));
    for finding in &diagnosis.findings {
        for test in tests_of(finding) {
            let test = format!("test {test}");
            if !parts.contains(&test) {
                parts.push(test);
            }
        }
    }
    let parts: Vec<String> = parts.iter().map(|part| plain(part)).collect();
    out.push_str(&format!("<p class=\"meta\">{}</p>\n", parts.join(" · ")));
}

fn pictures(out: &mut String, diagnosis: &Diagnosis, session: Option<&Lanes>) {
    if let Some(graph) = svg::graph(diagnosis) {
        out.push_str("<h2>Who waits for whom</h2>\n<figure>");
        out.push_str(&graph.element("graph"));
        out.push_str("</figure>\n");
    }
    let lanes = session.cloned().unwrap_or_default().with_diagnosis(diagnosis);
    if let Some(some) = svg::lanes(&lanes, LANES) {
        out.push_str("<h2>What happened when</h2>\n<figure>");
        out.push_str(&some.element("lanes"));
        out.push_str("</figure>\n");
    }
    if lanes.lanes.len() > LANES
        && let Some(all) = svg::lanes(&lanes, MOST_LANES)
    {
        let count = lanes.lanes.len().min(MOST_LANES);
        out.push_str(&format!("<details><summary>{count} processes</summary>\n<figure>"));
        out.push_str(&all.element("all-lanes"));
        out.push_str("</figure></details>\n");
    }
}

/// The wait tree: lists in lists, so that a screen reader knows whose child a process is.
fn tree(out: &mut String, diagnosis: &Diagnosis) {
    let waits = &diagnosis.waits;
    if waits.processes.is_empty() {
        return;
    }
    out.push_str("<h2>Who waits for what</h2>\n");
    let (first, rest) = waits.processes.split_at(waits.processes.len().min(PROCESSES));
    nested(out, first);
    if !rest.is_empty() {
        out.push_str(&format!("<details><summary>{} more processes</summary>\n", rest.len()));
        nested(out, rest);
        out.push_str("</details>\n");
    }
    if waits.omitted > 0 {
        out.push_str(&format!("<p class=\"meta\">and {} more</p>\n", waits.omitted));
    }
}

fn nested(out: &mut String, processes: &[ProcessWaits]) {
    let top = processes.iter().map(|process| process.depth).min().unwrap_or(0);
    out.push_str("<ul class=\"tree\">\n");
    let mut open: Vec<usize> = Vec::new();
    for process in processes {
        let depth = process.depth - top;
        while open.last().is_some_and(|last| *last >= depth) {
            open.pop();
            // The list of an item's children ends with it.
            out.push_str(if open.is_empty() { "</li>\n" } else { "</li></ul>" });
        }
        if !open.is_empty() {
            out.push_str("<ul>");
        }
        open.push(depth);
        let words = waits::words(process);
        let (name, rest) = words.split_once(')').map_or((words.as_str(), ""), |(name, rest)| (name, rest));
        let close = if rest.is_empty() && !words.ends_with(')') { "" } else { ")" };
        out.push_str(&format!("<li><strong>{}{close}</strong>{}", plain(name), plain(rest)));
    }
    while open.pop().is_some() {
        out.push_str(if open.is_empty() { "</li>" } else { "</li></ul>" });
    }
    out.push_str("</ul>\n");
}

fn one(out: &mut String, at: usize, finding: &Finding) {
    out.push_str(&format!(
        "<h2><code>{}</code>: {}: <span class=\"{}\">{}</span></h2>\n<p>{}</p>\n",
        finding.class.id(),
        finding.class.title(),
        finding.verdict.id(),
        judged(finding),
        plain(&finding.summary)
    ));
    let tests: Vec<String> = tests_of(finding).iter().map(|test| (*test).to_owned()).collect();
    list(out, "Test", &tests);
    for (name, lines) in lists(finding) {
        // The first finding's cure stands at the top of the page.
        if name.starts_with("To ") && at > 0 {
            list(out, name, &lines);
        }
    }
    out.push_str("<details><summary>Evidence</summary>\n");
    out.push_str("<table><tr><th>role</th><th>process</th><th>waits in</th></tr>\n");
    for party in &finding.processes {
        out.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td><code>{}</code></td></tr>\n",
            party.role.id(),
            plain(&who(party)),
            plain(&waits_in(party))
        ));
    }
    out.push_str("</table>\n");
    for (name, lines) in lists(finding) {
        if !name.starts_with("To ") {
            list(out, name, &lines);
        }
    }
    let link = |edge: &crate::core::diagnosis::Edge| {
        format!("{} → {} ({}, {})", edge.from, edge.to, edge.op, edge.via)
    };
    list(out, "Link by link", &finding.edges.iter().map(link).collect::<Vec<_>>());
    out.push_str("</details>\n");
}

fn footer(out: &mut String, diagnosis: &Diagnosis) {
    out.push_str(&format!(
        "<footer>tracer-user, {}, quiet window {} ms, kernel events: {}</footer>\n",
        plain(&diagnosis.taken_at),
        diagnosis.quiet_window_ms,
        if diagnosis.kernel_events { "yes" } else { "no" }
    ));
}

/// `write(fd 1) at tests/test_io.py:41 in test_chatty`
fn waits_in(party: &Party) -> String {
    let call = party.waits_in.clone().unwrap_or_default();
    match &party.at {
        Some(place) => format!("{call} at {}", place.text),
        None => call,
    }
}

fn list(out: &mut String, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("<h3>{name}</h3>\n"));
    items(out, lines);
}

fn folded(out: &mut String, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("<details><summary>{name}</summary>\n"));
    items(out, lines);
    out.push_str("</details>\n");
}

fn items(out: &mut String, lines: &[String]) {
    out.push_str("<ul>\n");
    for line in lines {
        out.push_str(&format!("<li>{}</li>\n", with_code(line)));
    }
    out.push_str("</ul>\n");
}

/// Text in which backticks mark code.
fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return plain(text);
    }
    let part = |(at, part): (usize, &&str)| match at % 2 {
        1 => format!("<code>{}</code>", plain(part)),
        _ => plain(part),
    };
    parts.iter().enumerate().map(part).collect()
}
