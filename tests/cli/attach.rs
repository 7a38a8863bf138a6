//! `attach` from beside a job: across its steps, for a limited time, with reports.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::child::TestChild;
use crate::support::{PATIENCE, TRACER};

fn attach(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(["attach", "--no-kernel", "--events"]).args(words).current_dir(place);
    command.env("TRACER_LOG_DIR", place.join("log")).env("TRACER_TRACE_DIR", place.join("traces"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Waits until the watcher reports this process.
#[track_caller]
fn seen(watcher: &mut TestChild, step: &TestChild) {
    let name = format!("pid {} ", step.pid().as_raw_nonzero());
    let line = std::iter::from_fn(|| watcher.line_within(PATIENCE)).find(|line| line.contains(&name));
    assert!(line.is_some(), "{name}is not seen");
}

#[test]
fn a_job_is_followed_across_its_steps_until_a_signal_comes() {
    let place = tempfile::tempdir().expect("a directory");
    let marker = format!("test-{}", place.path().display());
    let step = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(place.path()).env("RUNNER_TRACKING_ID", &marker);
        TestChild::start(&mut command)
    };
    let mut first = step("exec sleep 1000");
    let mut watcher = attach(place.path(), &["--job", "--hang-after", "1s", "--report", "json=hang.json"]);
    let mut watcher = TestChild::start(watcher.env("RUNNER_TRACKING_ID", &marker));
    seen(&mut watcher, &first);
    first.kill();
    first.wait();
    // No process of the job is alive now, and another step begins: it hangs.
    let mut second = step("mkfifo fifo; exec cat fifo");
    seen(&mut watcher, &second);
    let deadline = Instant::now() + PATIENCE;
    while !place.path().join("hang.json").exists() {
        assert!(Instant::now() < deadline, "no report came");
        watcher.line_within(Duration::from_millis(100));
    }
    let report = std::fs::read_to_string(place.path().join("hang.json")).expect("a report");
    assert!(report.contains("fifo-open"), "{report}");
    // Not SIGINT: a shell that runs the tests in the background has it ignored.
    watcher.signal(Signal::TERM);
    assert_eq!(watcher.wait_within(PATIENCE).and_then(|status| status.code()), Some(0));
    second.kill();
    second.wait();
}

#[test]
fn a_time_limit_ends_the_tracing_and_not_the_process() {
    let place = tempfile::tempdir().expect("a directory");
    let mut job = TestChild::start(Command::new("sleep").arg("1000"));
    let pid = job.pid().as_raw_nonzero().to_string();
    let mut watcher = TestChild::start(&mut attach(place.path(), &["--timeout", "300ms", &pid]));
    let ended = watcher.wait_within(PATIENCE).and_then(|status| status.code());
    assert_eq!(ended, Some(0));
    assert!(!job.ends_within(Duration::ZERO), "the process was ended");
    job.kill();
    job.wait();
}
