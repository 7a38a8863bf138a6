//! `run --no-kernel`: the process connector and `/proc` replace kernel events.

use std::process::{Command, Stdio};

use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root};

/// Runs a shell script under `run --no-kernel` with directories of its own. Gives its exit code, summary and
/// events.
fn traced(script: &str) -> (Option<i32>, serde_json::Value, Vec<serde_json::Value>) {
    let mut command = Command::new(TRACER);
    command.args(["run", "--no-kernel", "--quiet"]);
    recorded(command, script)
}

/// As [`traced`], by a command without the directories and the job.
fn recorded(mut command: Command, script: &str) -> (Option<i32>, serde_json::Value, Vec<serde_json::Value>) {
    let place = tempfile::tempdir().expect("a temporary folder");
    command
        .arg("--trace-dir")
        .arg(place.path().join("traces"))
        .arg("--log-dir")
        .arg(place.path().join("log"))
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null());
    let status = TestChild::start(&mut command).wait();
    let sessions = std::fs::read_dir(place.path().join("log/sessions")).expect("sessions");
    let session = sessions.flatten().next().expect("one session").path();
    let summary = std::fs::read(session.join("summary.json")).expect("a summary");
    let events = std::fs::read_to_string(session.join("events.jsonl")).expect("events");
    let events = events.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    (status.code(), serde_json::from_slice(&summary).expect("a summary"), events)
}

#[test]
fn the_job_keeps_its_status_and_the_summary_shows_no_kernel_events() {
    let (code, summary, _) = traced("exit 7");
    assert_eq!(code, Some(7));
    assert_eq!(summary["kernel_events"], false);
    assert_eq!(summary["termination_reason"], "EXITED 7");
}

#[test]
fn a_live_child_is_found_and_its_end_is_recorded() {
    // The child lives for longer than the tool takes to look at all of /proc.
    let (code, summary, events) = traced("sh -c 'sleep 0.5; exit 3'; exit $?");
    assert_eq!(code, Some(3));
    assert!(summary["processes"]["found"].as_u64() >= Some(1), "{summary}");
    assert_eq!(summary["processes"]["leaked"].as_array().map(Vec::len), Some(0), "{summary}");
    let ends = events.iter().filter(|event| event["kind"] == "exit").count();
    assert!(ends >= 2, "{events:?}");
}

#[test]
fn the_connector_records_short_processes_and_their_statuses() {
    if tracer_user::procfs_view::connector::Connector::open().is_err() {
        eprintln!("skipped: this machine has no process connector");
        return;
    }
    let (_, _, events) = traced("(exit 3); sh -c 'kill -9 $$'; true");
    let ended = |field: &str, value: serde_json::Value| {
        events.iter().any(|event| event["kind"] == "exit" && event[field] == value)
    };
    assert!(ended("exit_code", 3.into()), "{events:?}");
    assert!(ended("signal", "SIGKILL".into()), "{events:?}");
}

#[test]
fn in_a_container_its_pids_are_not_mixed_with_those_of_the_machine() {
    if !is_root() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.args([TRACER, "run", "--quiet"]);
    let (code, summary, events) = recorded(command, "sleep 0.5; exit 7");
    assert_eq!((code, &summary["kernel_events"]), (Some(7), &false.into()), "{summary}");
    assert_eq!(summary["processes"]["leaked"].as_array().map(Vec::len), Some(0), "{summary}");
    let noted = events.iter().any(|event| event.to_string().contains("this is a container"));
    assert!(noted, "{events:?}");
}

#[test]
fn the_end_of_an_attached_root_is_recorded() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let log = place.path().join("log");
    let mut root = TestChild::start(Command::new("sleep").arg("1000"));
    let mut tracer = Command::new(TRACER);
    tracer
        .args(["attach", "--no-kernel", "--events", "--session-id", "s", "--trace-dir"])
        .arg(place.path().join("traces"))
        .arg("--log-dir")
        .arg(&log)
        .arg(root.pid().to_string())
        .stderr(Stdio::piped());
    let mut tracer = TestChild::start(&mut tracer);
    // The whole tree is enrolled when the line of its root comes.
    let is_root = |line: &String| line.contains("found") && line.contains("sleep");
    let root_line = std::iter::from_fn(|| tracer.line_within(PATIENCE)).find(is_root);
    assert!(root_line.is_some(), "the root was not found");
    // It is not reaped before the tracer has ended, so that its status can be read.
    root.kill();
    assert!(tracer.wait().success());
    root.wait();
    let summary = std::fs::read(log.join("sessions/s/summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("a summary");
    assert_eq!(summary["termination_reason"], "SIGNALED SIGKILL", "{summary}");
}

#[test]
fn a_job_runs_although_the_log_cannot_be_written() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = place.path().join("file");
    std::fs::write(&file, "").expect("written");
    let log = file.join("log");
    let tracer = |verb: &str| {
        let mut command = Command::new(TRACER);
        command.args([verb, "--no-kernel", "--log-dir"]).arg(&log);
        command.arg("--trace-dir").arg(place.path().join("traces"));
        command
    };
    let run = output(tracer("run").args(["--session-id", "s", "--", "sh", "-c", "exit 7"]));
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("was not filed and waits for `tracer-user recover`"), "{stderr}");
    std::fs::remove_file(&file).expect("removed");
    let output = output(tracer("recover").args(["--min-age", "0s"]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("finished as s (EXITED 7)"), "{output:?}");
}
