//! A hang under `run` in a CI log: annotated, ended, and told by the exit status.

#[path = "support/talk.rs"]
#[allow(dead_code, reason = "shared with tests that use the rest")]
mod talk;

use std::process::{Command, Stdio};

/// Waits for a child whose output it does not read, after half a line.
const HANGS: &str = "
import subprocess, sys
print('test_it ... ', end='', flush=True)
subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE).wait()
";

/// The log of a job that GitHub Actions would run, and its exit code.
fn logged(job: &[&str], options: &[&str]) -> (String, Option<i32>) {
    let place = tempfile::tempdir().expect("a directory");
    let log = std::fs::File::create(place.path().join("log")).expect("a log");
    let both = || Stdio::from(log.try_clone().expect("the log"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(["run", "--quiet", "--interval", "200ms", "--grace", "1s"]).args(options);
    command.arg("--").args(job).current_dir(place.path());
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", place.path().join("page"));
    talk::isolate(&mut command);
    let status = command.stdin(Stdio::null()).stdout(both()).stderr(both()).status().expect("the tool runs");
    (std::fs::read_to_string(place.path().join("log")).expect("a log"), status.code())
}

#[test]
fn a_hang_is_annotated_at_the_beginning_of_a_line() {
    let jobs = [
        (["python3", "-c", HANGS], "deadlock%3A pipe-full"),
        (["sh", "-c", "mkfifo fifo; printf 'test_it ... '; cat fifo"], "orphaned-wait%3A fifo-open"),
    ];
    for (job, title) in jobs {
        let (log, code) = logged(&job, &["--hang-after", "1s", "--on-hang", "interrupt"]);
        assert_eq!(code, Some(124), "{log}");
        assert!(log.contains("test_it ... \n"), "{log}");
        let annotations: Vec<&str> = log.lines().filter(|line| line.starts_with("::")).collect();
        let [error] = annotations[..] else { panic!("one annotation: {log}") };
        assert!(error.starts_with(&format!("::error title={title}::")), "{error}");
    }
}

#[test]
fn a_silence_that_is_no_hang_is_not_annotated() {
    let job = "printf 'sleeping '; sleep 3; echo done";
    let (log, code) = logged(&["sh", "-c", job], &["--hang-after", "500ms", "--on-hang", "interrupt"]);
    assert!(log.ends_with("sleeping done\n") && !log.contains("::"), "{log}");
    assert_eq!(code, Some(0));
}
