//! Where a diagnosis is written: report files, and the job summary of GitHub Actions.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;

use super::report_target::{ReportPlace, ReportTarget};
use super::stderr;
use crate::core::diagnosis::Diagnosis;
use crate::core::report::{self, TextStyle};
use crate::session::deadline::within;
use crate::session::user_file::{self, UserFileError};

/// How long a file system may take for a report.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Checks that every report can be written where it is wanted, before there is one.
///
/// # Errors
/// The first that cannot.
pub fn check(targets: &[ReportTarget]) -> anyhow::Result<()> {
    for target in targets {
        if let ReportPlace::File(path) = &target.place {
            on_time(path, user_file::check)?;
        }
    }
    Ok(())
}

/// Writes reports. A file is written whole or not at all, and is on disk when this returns.
///
/// # Errors
/// The first report that cannot be written. The others are still written.
pub fn write(diagnosis: &Diagnosis, targets: &[ReportTarget]) -> anyhow::Result<()> {
    let mut first = Ok(());
    for target in targets {
        let text = target.format.render(diagnosis, TextStyle::default());
        let written = text.and_then(|text| put(&target.place, text));
        if first.is_ok() {
            first = written;
        }
    }
    first
}

fn put(place: &ReportPlace, text: String) -> anyhow::Result<()> {
    match place {
        ReportPlace::File(path) => on_time(path, move |path| user_file::replace(path, text.as_bytes()))?,
        ReportPlace::Stderr => stderr::write(text),
        ReportPlace::Stdout => std::io::stdout().lock().write_all(text.as_bytes())?,
        ReportPlace::Nowhere => {}
    }
    Ok(())
}

/// Uses a file on a file system that may not answer.
fn on_time(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<(), UserFileError> + Send + 'static,
) -> anyhow::Result<()> {
    let own = path.to_owned();
    match within(WRITE_WITHIN, "report", move || work(&own)) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => bail!("the report cannot be written: {} {error}", path.display()),
        None => bail!("the report cannot be written: the file system of {} does not answer", path.display()),
    }
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
        stderr::write(format!("\n{annotations}"));
    }
    let Some(page) = lookup("GITHUB_STEP_SUMMARY").filter(|page| !page.is_empty()) else { return Ok(()) };
    let own = PathBuf::from(&page);
    let text = report::markdown(diagnosis);
    match within(WRITE_WITHIN, "summary", move || user_file::append(&own, text.as_bytes())) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => bail!("GITHUB_STEP_SUMMARY: {page} {error}"),
        None => bail!("GITHUB_STEP_SUMMARY: the file system of {page} does not answer"),
    }
}
