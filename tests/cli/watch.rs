//! What makes `run` look, and what ends a job that has gone silent.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::isolated::isolate;
use crate::support::TRACER;
use crate::support::child::TestChild;

/// Waits for a child whose output it does not read.
const HANGS: &str = "import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE).wait()";

/// Starts a program that hangs, and works beside it.
const HANGS_BESIDE_WORK: &str = "
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', sys.argv[1]])
work = open('work', 'wb', buffering=0)
while True:
    work.write(b'x' * 4096)
    time.sleep(0.02)
";

/// The status of a run with these options, and what the tool reported.
fn run(options: &[&str], job: &[&str]) -> (Option<i32>, String) {
    let place = tempfile::tempdir().expect("a directory");
    let log = std::fs::File::create(place.path().join("log")).expect("a log");
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--interval", "100ms", "--grace", "1s"]).args(options);
    command.arg("--").args(job).current_dir(place.path());
    isolate(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let status = TestChild::start(&mut command).wait();
    let log = std::fs::read_to_string(place.path().join("log")).expect("a log");
    (status.code(), log)
}

#[test]
fn a_branch_that_waits_is_looked_at_although_another_one_works() {
    let options = ["--hang-after", "1s", "--on-hang", "interrupt", "--timeout", "60s"];
    let began = Instant::now();
    let (status, log) = run(&options, &["python3", "-c", HANGS_BESIDE_WORK, HANGS]);
    assert!(began.elapsed() < Duration::from_secs(50), "only the time limit ended it: {log}");
    assert_eq!(status, Some(124), "{log}");
    assert!(log.contains("verdict: deadlock") && log.contains("pipe-full"), "{log}");
    assert!(
        log.contains("ended the job after ") && log.contains(" because it hung: exit status 124"),
        "{log}"
    );
}

#[test]
fn the_same_answer_is_one_line() {
    let (status, log) = run(&["--hang-after", "500ms", "--timeout", "6s"], &["python3", "-c", HANGS]);
    assert_eq!(status, Some(124), "{log}");
    assert!(log.contains("still deadlock (pipe-full) after "), "{log}");
    // Once when it was found, once when the job was ended.
    assert_eq!(log.matches("verdict: deadlock").count(), 2, "{log}");
}

#[test]
fn a_job_without_progress_is_ended_and_one_that_goes_on_slowly_is_not() {
    let (status, log) = run(&["--max-idle", "1s"], &["sleep", "600"]);
    assert_eq!(status, Some(124), "{log}");
    assert!(log.contains("because nothing in it made progress"), "{log}");
    assert!(log.contains("verdict: idle"), "{log}");
    let slowly = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.4; done; exit 7";
    let (status, log) = run(&["--max-idle", "1s"], &["sh", "-c", slowly]);
    assert_eq!(status, Some(7), "{log}");
}
