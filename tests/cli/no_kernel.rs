//! `run --no-kernel`: the process connector and `/proc` stand in for kernel events.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// Runs a shell script under `run --no-kernel` in places of its own; its exit code, summary and events.
fn traced(script: &str) -> (Option<i32>, serde_json::Value, Vec<serde_json::Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(["run", "--no-kernel", "--quiet"]);
    recorded(command, script)
}

/// As [`traced`], by a command that lacks the places and the job.
fn recorded(mut command: Command, script: &str) -> (Option<i32>, serde_json::Value, Vec<serde_json::Value>) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let status = command
        .arg("--trace-dir")
        .arg(place.path().join("traces"))
        .arg("--log-dir")
        .arg(place.path().join("log"))
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .status()
        .expect("the tool runs");
    let sessions = std::fs::read_dir(place.path().join("log/sessions")).expect("sessions");
    let session = sessions.flatten().next().expect("one session").path();
    let summary = std::fs::read(session.join("summary.json")).expect("a summary");
    let events = std::fs::read_to_string(session.join("events.jsonl")).expect("events");
    let events = events.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    (status.code(), serde_json::from_slice(&summary).expect("a summary"), events)
}

#[test]
fn the_job_keeps_its_status_and_the_session_says_that_it_has_no_kernel_events() {
    let (code, summary, _) = traced("exit 7");
    assert_eq!(code, Some(7));
    assert_eq!(summary["kernel_events"], false);
    assert_eq!(summary["termination_reason"], "EXITED 7");
}

#[test]
fn a_child_that_lives_is_found_and_its_end_is_told() {
    // The parent waits until its child has been alive for a look at all of /proc, by the child's own clock.
    let (code, summary, events) = traced("sh -c 'sleep 0.5; exit 3'; exit $?");
    assert_eq!(code, Some(3));
    assert!(summary["processes"]["found"].as_u64() >= Some(1), "{summary}");
    assert_eq!(summary["processes"]["leaked"].as_array().map(Vec::len), Some(0), "{summary}");
    let ends = events.iter().filter(|event| event["kind"] == "exit").count();
    assert!(ends >= 2, "{events:?}");
}

#[test]
fn where_the_connector_is_served_short_processes_and_their_statuses_are_told() {
    if tracer_user::procfs_view::connector::Connector::open().is_err() {
        eprintln!("skipped: no process connector here");
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
fn a_container_is_told_so_and_its_numbers_are_not_mixed_with_the_machines() {
    if !rustix::process::geteuid().is_root() {
        assert_ne!(std::env::var("TRACER_REQUIRE_BPF").as_deref(), Ok("1"), "needs root for a pid namespace");
        eprintln!("skipped: not root");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.args([env!("CARGO_BIN_EXE_tracer-user"), "run", "--quiet"]);
    let (code, summary, events) = recorded(command, "sleep 0.5; exit 7");
    assert_eq!((code, &summary["kernel_events"]), (Some(7), &false.into()), "{summary}");
    assert_eq!(summary["processes"]["leaked"].as_array().map(Vec::len), Some(0), "{summary}");
    let said =
        events.iter().any(|event| event.to_string().contains("pid namespace is not the machine's first"));
    assert!(said, "{events:?}");
}

#[test]
fn the_end_of_a_root_that_was_attached_to_is_seen() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let log = place.path().join("log");
    let mut root = Command::new("sleep").arg("1000").spawn().expect("starts");
    let mut tracer = Command::new(env!("CARGO_BIN_EXE_tracer-user"))
        .args(["attach", "--no-kernel", "--events", "--session-id", "s", "--trace-dir"])
        .arg(place.path().join("traces"))
        .arg("--log-dir")
        .arg(&log)
        .arg(root.id().to_string())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let said = BufReader::new(tracer.stderr.take().expect("piped"));
    let mut lines = said.lines().map_while(Result::ok);
    // The tree has been joined when its root is told of.
    assert!(lines.any(|line| line.contains("found") && line.contains("sleep")), "the root was not found");
    root.kill().expect("killed");
    // It is not reaped until the tracer has ended: how it ended can be read.
    lines.for_each(drop);
    assert!(tracer.wait().expect("ends").success());
    root.wait().expect("reaped");
    let summary = std::fs::read(log.join("sessions/s/summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("a summary");
    assert_eq!(summary["termination_reason"], "SIGNALED SIGKILL", "{summary}");
}

#[test]
fn a_log_that_cannot_be_written_does_not_keep_the_job_from_running() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let in_the_way = place.path().join("file");
    std::fs::write(&in_the_way, "").expect("written");
    let log = in_the_way.join("log");
    let tracer = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
        command.args([verb, "--no-kernel", "--log-dir"]).arg(&log);
        command.arg("--trace-dir").arg(place.path().join("traces"));
        command
    };
    let output =
        tracer("run").args(["--session-id", "s", "--", "sh", "-c", "exit 7"]).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("was not filed and waits for `tracer-user recover`"), "{said}");
    std::fs::remove_file(&in_the_way).expect("removed");
    let output = tracer("recover").args(["--min-age", "0s"]).output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("finished as s (EXITED 7)"), "{output:?}");
}
