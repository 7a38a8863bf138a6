//! A self-contained page without scripts.

use super::escape::html as plain;
use super::{headline, judged, lists, ruled_out, tests_of, waits, who};
use crate::core::diagnosis::{Diagnosis, Finding};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.3em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}\
code{font-family:ui-monospace,monospace;font-size:.9em}.deadlock{color:#b00020}.orphaned-wait{color:#a05a00}.external{color:#00648c}.not-hung{color:#1b6e2d}";

/// The report.
pub fn html(diagnosis: &Diagnosis) -> String {
    let verdict = diagnosis.verdict.id();
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{verdict}</title><style>{STYLE}</style></head><body>\n<h1 class=\"{verdict}\">{}</h1>\n",
        plain(&headline(diagnosis))
    );
    for finding in &diagnosis.findings {
        one(&mut out, finding);
    }
    list(&mut out, "Who waits for what", &waits::lines(&diagnosis.waits, waits::MOST));
    list(&mut out, "Ruled out", &ruled_out(diagnosis));
    list(&mut out, "Could not be read", &diagnosis.problems);
    out.push_str(&format!(
        "<p><small>tracer-user, {}, quiet window {} ms, kernel events: {}</small></p>\n</body></html>\n",
        plain(&diagnosis.taken_at),
        diagnosis.quiet_window_ms,
        if diagnosis.kernel_events { "yes" } else { "no" }
    ));
    out
}

fn one(out: &mut String, finding: &Finding) {
    out.push_str(&format!(
        "<h2><code>{}</code>: {}: <span class=\"{}\">{}</span></h2>\n<p>{}</p>\n",
        finding.class.id(),
        finding.class.title(),
        finding.verdict.id(),
        judged(finding),
        plain(&finding.summary)
    ));
    let tests: Vec<String> = tests_of(finding).iter().map(|t| (*t).to_owned()).collect();
    list(out, "Test", &tests);
    out.push_str("<table><tr><th>role</th><th>process</th><th>waits in</th></tr>\n");
    for party in &finding.processes {
        out.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td><code>{}</code></td></tr>\n",
            party.role.id(),
            plain(&who(party)),
            plain(party.waits_in.as_deref().unwrap_or(""))
        ));
    }
    out.push_str("</table>\n");
    for (name, lines) in lists(finding) {
        list(out, name, &lines);
    }
}

fn list(out: &mut String, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("<h3>{name}</h3>\n<ul>\n"));
    for line in lines {
        out.push_str(&format!("<li>{}</li>\n", plain(line)));
    }
    out.push_str("</ul>\n");
}
