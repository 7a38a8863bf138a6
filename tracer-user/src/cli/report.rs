//! Where a diagnosis goes: standard error or output, files, and the pages of a forge that runs CI.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::core::diagnosis::Diagnosis;
use crate::core::report;
use crate::session::options::{ReportFormat, ReportTo};

/// The report in a format.
///
/// # Errors
/// When it cannot be put into that format.
pub fn render(diagnosis: &Diagnosis, format: ReportFormat, colour: bool) -> anyhow::Result<String> {
    Ok(match format {
        ReportFormat::Text => report::text(diagnosis, colour),
        ReportFormat::Json => report::json(diagnosis)? + "\n",
        ReportFormat::Markdown => report::markdown(diagnosis),
        ReportFormat::Html => report::html(diagnosis),
        ReportFormat::Junit => report::junit(diagnosis)?,
        ReportFormat::Dot => report::dot(&diagnosis.graph),
        ReportFormat::Mermaid => report::mermaid(&diagnosis.graph),
    })
}

/// Writes the reports that were asked for; whole or not at all, and on disk when this comes back.
///
/// # Errors
/// The first one that cannot be written; the others are written all the same.
pub fn write(diagnosis: &Diagnosis, to: &[ReportTo]) -> anyhow::Result<()> {
    let mut first = Ok(());
    for report in to {
        let written = render(diagnosis, report.format, false)
            .and_then(|text| replace(&report.path, text.as_bytes()).map_err(Into::into))
            .with_context(|| format!("the report {} cannot be written", report.path.display()));
        if first.is_ok() {
            first = written;
        }
    }
    first
}

/// Under GitHub Actions: annotations on standard error's stream of the job's log, and the page of the step.
///
/// # Errors
/// When the page cannot be written.
pub fn publish(diagnosis: &Diagnosis, lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    if lookup("GITHUB_ACTIONS").as_deref() != Some("true") {
        return Ok(());
    }
    let annotations = report::annotations(diagnosis);
    if !annotations.is_empty() {
        // The job may have left a line unfinished in the same log, and only at the beginning of one they count.
        let _ = std::io::stderr().lock().write_all(format!("\n{annotations}").as_bytes());
    }
    let Some(page) = lookup("GITHUB_STEP_SUMMARY").filter(|page| !page.is_empty()) else { return Ok(()) };
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&page)
        .with_context(|| format!("GITHUB_STEP_SUMMARY: {page}"))?;
    file.write_all(report::markdown(diagnosis).as_bytes())
        .with_context(|| format!("GITHUB_STEP_SUMMARY: {page}"))
}

/// A file of that name with this content, never half of it.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // A pipe or a device, such as /dev/stderr, is written to and not replaced.
    if path.exists() && !path.metadata()?.is_file() {
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    beside.write_all(content)?;
    beside.as_file().sync_all()?;
    // Reports are made to be read by others than root, which the temporary file's mode does not let them.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    beside.as_file().set_permissions(mode)?;
    beside.persist(path)?;
    Ok(())
}
