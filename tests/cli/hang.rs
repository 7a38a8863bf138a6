//! A hang under `run` in a CI log is annotated, ended, and shown by the exit status.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::isolated::isolate;
use crate::support::child::TestChild;
use crate::support::{PATIENCE, TRACER};

/// Prints half a line and waits for a child whose output it does not read.
const HANGS: &str = "
import subprocess, sys
print('test_it ... ', end='', flush=True)
subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE).wait()
";

/// A job as GitHub Actions runs it, in this directory, with its output and the tool's in the file `log`.
fn in_ci(place: &Path, job: &[&str], options: &[&str]) -> Command {
    let log = File::create(place.join("log")).expect("a log");
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--interval", "200ms", "--grace", "1s"]).args(options);
    command.args(["--hang-after", "1s", "--on-hang", "interrupt", "--"]).args(job).current_dir(place);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", place.join("page"));
    isolate(&mut command);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log")).stderr(log);
    command
}

fn log(place: &Path) -> String {
    std::fs::read_to_string(place.join("log")).expect("a log")
}

#[test]
fn a_hang_is_annotated_at_the_beginning_of_a_line() {
    let jobs = [
        (["python3", "-c", HANGS], "deadlock%3A pipe-full"),
        (["sh", "-c", "mkfifo fifo; printf 'test_it ... '; cat fifo"], "orphaned-wait%3A fifo-open"),
    ];
    for (job, title) in jobs {
        let place = tempfile::tempdir().expect("a directory");
        let status = TestChild::start(&mut in_ci(place.path(), &job, &[])).wait();
        let log = log(place.path());
        assert_eq!(status.code(), Some(124), "{log}");
        assert!(log.contains("test_it ... \n"), "{log}");
        let annotations: Vec<&str> = log.lines().filter(|line| line.starts_with("::")).collect();
        let [error] = annotations[..] else { panic!("one annotation: {log}") };
        assert!(error.starts_with(&format!("::error title={title}::")), "{error}");
    }
}

#[test]
fn a_silent_job_that_is_no_hang_is_not_annotated() {
    let place = tempfile::tempdir().expect("a directory");
    let report = place.path().join("report");
    // It is silent until there is a report of its silence.
    let job = ["sh", "-c", "printf 'waits '; read -r line; echo done"];
    let mut command = in_ci(place.path(), &job, &["--report", "json=report"]);
    let mut tool = TestChild::start(command.stdin(Stdio::piped()));
    // The report appears whole.
    let deadline = Instant::now() + PATIENCE;
    while !report.exists() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let written = std::fs::read_to_string(&report);
    tool.send_line("");
    let status = tool.wait();
    let log = log(place.path());
    let report = written.unwrap_or_else(|why| panic!("no report ({why}): {log}"));
    assert!(report.contains("\"verdict\""), "{report}");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("waits done\n") && !log.contains("::"), "{log}");
}
