//! Reports of a live and of a finished session: files in a directory, formats after the fact, the step
//! summary.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::isolated::isolate;
use crate::support::TRACER;
use crate::support::child::{TestChild, output};

const EXTENSIONS: [&str; 9] = ["txt", "json", "md", "html", "xml", "svg", "pftrace", "dot", "mmd"];

/// Writes more than a pipe holds to a pipe whose reader waits for its exit.
const HANGS: &str = "
import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE).wait()
";

fn tracer(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(arguments).current_dir(place).stdin(Stdio::null());
    isolate(&mut command);
    command
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_hang_has_all_reports_live_and_after_the_end() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    let page = place.join("page");
    std::fs::write(&page, "the job's own words\n").expect("a page");
    let run = ["run", "--quiet", "--session-id", "ci-1", "--report-dir", "reports", "--interval", "200ms"];
    let mut job = tracer(place, &run);
    job.args(["--log-dir", "log", "--hang-after", "1s", "--on-hang", "interrupt", "--grace", "1s", "--"]);
    job.args(["python3", "-c", HANGS]).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    assert_eq!(TestChild::start(&mut job).wait().code(), Some(124));
    for extension in EXTENSIONS {
        let report = place.join(format!("reports/ci-1.{extension}"));
        assert!(report.metadata().is_ok_and(|file| file.len() > 0), "{}", report.display());
    }
    let live = read(&place.join("reports/ci-1.html"));
    assert!(live.contains("<svg role=\"img\" aria-labelledby=\"graph\""), "{live}");
    assert!(live.contains("session ci-1") && live.contains("class=\"hang\""), "{live}");
    assert!(read(&place.join("reports/ci-1.xml")).contains("<failure "));
    let summary = read(&page);
    assert!(summary.starts_with("the job's own words\n<!-- tracer-user ci-1.1 -->\n"), "{summary}");
    assert_eq!(summary.matches("## Hang").count(), 1, "{summary}");

    let show = ["sessions", "show", "ci-1", "--log-dir", "log", "--report", "html=after.html"];
    assert_eq!(TestChild::start(tracer(place, &show).stdout(Stdio::null())).wait().code(), Some(0));
    let after = read(&place.join("after.html"));
    assert!(after.contains("class=\"hang\"") && after.contains("class=\"bad\""), "it shows the end: {after}");
    let export = ["sessions", "export", "ci-1", "--log-dir", "log", "--format", "perfetto"];
    let trace = output(&mut tracer(place, &export)).stdout;
    assert!(trace.windows(6).any(|part| part == b"python"), "{} bytes", trace.len());
}

#[test]
fn a_session_without_a_hang_has_reports_that_say_so() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    let run = ["run", "--quiet", "--no-kernel", "--session-id", "ci-2", "--log-dir", "log", "--", "true"];
    assert_eq!(TestChild::start(&mut tracer(place, &run)).wait().code(), Some(0));
    let show = ["sessions", "show", "ci-2", "--log-dir", "log", "--report-dir", "made/reports"];
    assert_eq!(TestChild::start(tracer(place, &show).stdout(Stdio::null())).wait().code(), Some(0));
    let junit = read(&place.join("made/reports/ci-2.xml"));
    assert!(junit.contains("failures=\"0\"") && !junit.contains("<skipped "), "{junit}");
    assert!(read(&place.join("made/reports/ci-2.txt")).starts_with("Nothing hangs."));
}
