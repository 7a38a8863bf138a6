//! Where a diagnosis is written: report files, and the job summary of GitHub Actions.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::report_target::ReportTarget;
use crate::core::diagnosis::Diagnosis;
use crate::core::report::{self, TextStyle};

/// Writes report files. Each is written whole or not at all, and is on disk when this returns.
///
/// # Errors
/// The first report that cannot be written. The others are still written.
pub fn write(diagnosis: &Diagnosis, targets: &[ReportTarget]) -> anyhow::Result<()> {
    let mut first = Ok(());
    for target in targets {
        let written = target
            .format
            .render(diagnosis, TextStyle::default())
            .and_then(|text| replace(&target.path, text.as_bytes()).map_err(Into::into))
            .with_context(|| format!("the report {} cannot be written", target.path.display()));
        if first.is_ok() {
            first = written;
        }
    }
    first
}

/// Under GitHub Actions: writes annotations to the job's log (standard error) and the report to the step
/// summary.
///
/// # Errors
/// When the step summary cannot be written.
pub fn publish(diagnosis: &Diagnosis, lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    if lookup("GITHUB_ACTIONS").as_deref() != Some("true") {
        return Ok(());
    }
    let annotations = report::annotations(diagnosis);
    if !annotations.is_empty() {
        // Annotations count only at the beginning of a line, and the job may have left a line unfinished in
        // this log.
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

/// Replaces a file atomically.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // A pipe or a device, such as /dev/stderr, is written to and not replaced.
    if path.exists() && !path.metadata()?.is_file() {
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    beside.write_all(content)?;
    beside.as_file().sync_all()?;
    // Other users than root read reports, which the mode of a temporary file does not allow.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    beside.as_file().set_permissions(mode)?;
    beside.persist(path)?;
    Ok(())
}
