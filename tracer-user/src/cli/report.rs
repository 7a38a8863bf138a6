//! Where a diagnosis is written: report files, and the job summary of GitHub Actions.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::report_target::{ReportArgs, ReportPlace};
use super::stderr;
use crate::core::diagnosis::Diagnosis;
use crate::core::report::{self, Lanes, TextStyle};
use crate::session::deadline::within;
use crate::session::sessions::StoredTrace;
use crate::session::user_file::{self, UserFileError};

/// The part of a step summary in which an earlier section is looked for, bytes. GitHub takes 1 MiB a step.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// How long a file system may take for a report.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Checks that every report of something with this name can be written where it is wanted, before there is
/// one.
///
/// # Errors
/// The first that cannot.
pub fn check(reports: &ReportArgs, name: &str) -> anyhow::Result<()> {
    for target in &reports.targets(name) {
        if let ReportPlace::File(path) = &target.place {
            on_time(path, user_file::check)?;
        }
    }
    Ok(())
}

/// Writes the reports of a session, or of something else with a name. Each file is written whole or not at
/// all, and is on disk when this returns.
///
/// # Errors
/// The first report that cannot be written. The others are still written.
pub fn write(
    diagnosis: &Diagnosis,
    session: Option<&Lanes>,
    reports: &ReportArgs,
    name: &str,
) -> anyhow::Result<()> {
    let mut first = Ok(());
    for target in &reports.targets(name) {
        let text = target.format.render(diagnosis, session, TextStyle::default());
        let written = text.and_then(|text| put(&target.place, text));
        if first.is_ok() {
            first = written;
        }
    }
    first
}

fn put(place: &ReportPlace, text: Vec<u8>) -> anyhow::Result<()> {
    match place {
        ReportPlace::File(path) => on_time(path, move |path| user_file::replace(path, &text))?,
        ReportPlace::Stderr => stderr::write(String::from_utf8_lossy(&text).into_owned()),
        ReportPlace::Stdout => std::io::stdout().lock().write_all(&text)?,
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

/// Under GitHub Actions: writes an annotation to the job's log (standard error), unless the hang was reported
/// before, and the report to its section of the step summary.
///
/// # Errors
/// When the step summary cannot be written.
pub fn publish(
    diagnosis: &Diagnosis,
    name: &str,
    again: bool,
    lookup: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<()> {
    if lookup("GITHUB_ACTIONS").as_deref() != Some("true") {
        return Ok(());
    }
    let annotations = report::annotations(diagnosis);
    if !again && !annotations.is_empty() {
        // Annotations count only at the beginning of a line, and the job may have left a line unfinished in
        // this log.
        stderr::write(format!("\n{annotations}"));
    }
    let Some(page) = lookup("GITHUB_STEP_SUMMARY").filter(|page| !page.is_empty()) else { return Ok(()) };
    let own = PathBuf::from(&page);
    let name = name.to_owned();
    let section = report::section(diagnosis, &name);
    let put = move || {
        user_file::put_section(
            &own,
            MAX_PAGE_BYTES,
            |page| report::section_in(page, &name),
            section.as_bytes(),
        )
    };
    match within(WRITE_WITHIN, "summary", put) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => bail!("GITHUB_STEP_SUMMARY: {page} {error}"),
        None => bail!("GITHUB_STEP_SUMMARY: the file system of {page} does not answer"),
    }
}

/// Writes reports of a session that was filed.
///
/// # Errors
/// When its diagnosis is not understood, or a report cannot be written.
pub fn write_stored(stored: &StoredTrace, reports: &ReportArgs) -> anyhow::Result<()> {
    write(&diagnosis_of(stored)?, Some(&Lanes::from_trace(&stored.trace)), reports, &stored.summary.dir_name)
}

/// A session that was filed, for the Perfetto viewer.
///
/// # Errors
/// When its diagnosis is not understood.
pub fn perfetto(stored: &StoredTrace) -> anyhow::Result<Vec<u8>> {
    Ok(report::perfetto(&diagnosis_of(stored)?, Some(&Lanes::from_trace(&stored.trace))))
}

fn diagnosis_of(stored: &StoredTrace) -> anyhow::Result<Diagnosis> {
    match &stored.diagnosis {
        Some(value) => serde_json::from_value(value.clone()).with_context(|| {
            format!("the diagnosis of session {} is of another version", stored.summary.dir_name)
        }),
        None => Ok(stored.nothing_hung()),
    }
}
