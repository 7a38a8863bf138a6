//! A hang under `run` in a CI log: annotated, ended, and told by the exit status.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::talk;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a child whose output it does not read, after half a line.
const HANGS: &str = "
import subprocess, sys
print('test_it ... ', end='', flush=True)
subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE).wait()
";

/// A job that GitHub Actions would run in this directory, with its output and the tool's in the file `log`.
fn in_ci(place: &Path, job: &[&str], options: &[&str]) -> Command {
    let log = File::create(place.join("log")).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(["run", "--quiet", "--interval", "200ms", "--grace", "1s"]).args(options);
    command.args(["--hang-after", "1s", "--on-hang", "interrupt", "--"]).args(job).current_dir(place);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", place.join("page"));
    talk::isolate(&mut command);
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
        let status = in_ci(place.path(), &job, &[]).status().expect("the tool runs");
        let log = log(place.path());
        assert_eq!(status.code(), Some(124), "{log}");
        assert!(log.contains("test_it ... \n"), "{log}");
        let annotations: Vec<&str> = log.lines().filter(|line| line.starts_with("::")).collect();
        let [error] = annotations[..] else { panic!("one annotation: {log}") };
        assert!(error.starts_with(&format!("::error title={title}::")), "{error}");
    }
}

#[test]
fn a_silence_that_is_no_hang_is_not_annotated() {
    let place = tempfile::tempdir().expect("a directory");
    let report = place.path().join("report");
    mknodat(CWD, &report, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let (tell, told) = mpsc::channel();
    let path = report.clone();
    std::thread::spawn(move || {
        let mut fifo = File::open(path).expect("the report is written");
        let mut text = String::new();
        fifo.read_to_string(&mut text).expect("a report");
        // Open for as long as the tool may write another one.
        let _ = tell.send((text, fifo));
    });
    // It is silent until the report of its silence is there.
    let job = ["sh", "-c", "printf 'waits '; read -r line; echo done"];
    let mut command = in_ci(place.path(), &job, &["--report", "json=report"]);
    let mut tool = command.stdin(Stdio::piped()).spawn().expect("the tool runs");
    let said = told.recv_timeout(PATIENCE);
    tool.stdin.take().expect("a pipe").write_all(b"\n").expect("the job reads");
    let status = tool.wait().expect("it ends");
    let log = log(place.path());
    let (report, _fifo) = said.unwrap_or_else(|why| panic!("no report ({why}): {log}"));
    assert!(report.contains("\"verdict\""), "{report}");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("waits done\n") && !log.contains("::"), "{log}");
}
