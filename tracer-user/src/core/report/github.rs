//! GitHub Actions: annotations, and foreign text that cannot be taken for a workflow command.

use super::escape::{github_message, github_property};
use crate::core::diagnosis::{Diagnosis, Verdict};

/// A line for each finding: `::error` for a hang, `::warning` for a wait for a party outside.
pub fn annotations(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    for finding in &diagnosis.findings {
        let level = match finding.verdict {
            Verdict::Deadlock | Verdict::OrphanedWait | Verdict::Livelock => "error",
            Verdict::External | Verdict::Unknown => "warning",
            Verdict::Idle | Verdict::NotHung => continue,
        };
        let title = format!("{}: {}", finding.verdict.id(), finding.class.id());
        let cure = finding.advice.first().map(|a| format!("%0A{}", github_message(a))).unwrap_or_default();
        let message = format!("{}{cure}", github_message(&finding.summary));
        out.push_str(&format!("::{level} title={}::{message}\n", github_property(&title)));
    }
    out
}

/// Foreign text between marks that keep the runner from interpreting a line of it as a command.
///
/// `token` must be a word that the text cannot guess: fresh randomness from the caller. The result must be
/// printed whole.
pub fn foreign(text: &str, token: &str) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("::stop-commands::{token}\n{text}{end}::{token}::\n")
}
