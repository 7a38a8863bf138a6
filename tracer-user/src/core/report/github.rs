//! GitHub Actions: annotations, and foreign text that cannot be taken for a workflow command.

use super::escape::{github_message, github_property};
use super::markdown;
use crate::core::diagnosis::{Diagnosis, Finding, Verdict};

/// One annotation for the gravest finding: `::error` for a hang, `::warning` for what is up to another party
/// or not known. GitHub shows ten a step, and every finding of a hang would say the same.
pub fn annotations(diagnosis: &Diagnosis) -> String {
    let level = |finding: &Finding| match finding.verdict {
        Verdict::Deadlock | Verdict::OrphanedWait | Verdict::Livelock => Some("error"),
        Verdict::External | Verdict::Unknown => Some("warning"),
        Verdict::Idle | Verdict::NotHung => None,
    };
    let mut shown = diagnosis.findings.iter().filter_map(|finding| Some((finding, level(finding)?)));
    let Some((finding, level)) = shown.next() else { return String::new() };
    let title = format!("{}: {}", finding.verdict.id(), finding.class.id());
    let mut message = github_message(&finding.summary);
    if let Some(cure) = finding.advice.first() {
        message.push_str(&format!("%0A{}", github_message(cure)));
    }
    match shown.count() {
        0 => {}
        1 => message.push_str("%0AOne more finding is in the step summary."),
        more => message.push_str(&format!("%0A{more} more findings are in the step summary.")),
    }
    format!("::{level} title={}::{message}\n", github_property(&title))
}

/// Room that a section of the step summary has to grow, bytes.
const SECTION_BYTES: usize = 16 * 1024;

/// A section of the step summary of a job. It can be replaced in place: see [`section_in`].
///
/// `id` names the hang within the page. The section is padded, so that a later state of the same hang fits in
/// without moving what others have appended to the page.
pub fn section(diagnosis: &Diagnosis, id: &str) -> String {
    let (begin, end) = marks(id);
    let body = markdown(diagnosis);
    let length = (begin.len() + body.len() + end.len()).next_multiple_of(SECTION_BYTES);
    let pad = length - begin.len() - body.len() - end.len();
    // Blank lines and not one line of blanks, which some renderers show as code.
    format!("{begin}{body}{}{end}", "\n".repeat(pad))
}

/// Where in a page the section of this id is: its first byte and its length.
pub fn section_in(page: &[u8], id: &str) -> Option<(usize, usize)> {
    let (begin, end) = marks(id);
    // Only at the beginning of a line: a name in a report may look like a mark, but no name has a line end.
    let find = |from: usize, word: &str| {
        let mut places = page[from..].windows(word.len()).enumerate().map(|(at, part)| (from + at, part));
        let is_mark = |(at, part): &(usize, &[u8])| {
            *part == word.as_bytes() && at.checked_sub(1).is_none_or(|before| page[before] == b'\n')
        };
        places.find(is_mark).map(|(at, _)| at)
    };
    let from = find(0, &begin)?;
    let to = find(from, &end)? + end.len();
    Some((from, to - from))
}

/// The lines around a section.
fn marks(id: &str) -> (String, String) {
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    (format!("<!-- tracer-user {id} -->\n"), format!("<!-- end of tracer-user {id} -->\n"))
}

/// Foreign text between marks that keep the runner from interpreting a line of it as a command.
///
/// `token` must be a word that the text cannot guess: fresh randomness from the caller. The result must be
/// printed whole.
pub fn foreign(text: &str, token: &str) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("::stop-commands::{token}\n{text}{end}::{token}::\n")
}
