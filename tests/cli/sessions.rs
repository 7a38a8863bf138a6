//! `sessions`: columns and protection by label, attached files, and AutoSkillit's log.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::TRACER;
use crate::support::child::output;

/// A traced run of a job with these options, below this directory.
fn run(place: &Path, options: &[&str], job: &[&str]) -> Output {
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--no-kernel", "--interval", "20ms", "--trace-dir"]).arg(place);
    command.arg("--log-dir").arg(place.join("log")).args(options).arg("--").args(job);
    let done = output(&mut command);
    assert!(done.status.success(), "{done:?}");
    done
}

fn sessions(place: &Path, words: &[&str]) -> Output {
    output(Command::new(TRACER).arg("sessions").args(words).arg("--log-dir").arg(place.join("log")))
}

fn json(done: &Output) -> Value {
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn names(listing: &Value) -> Vec<String> {
    let sessions = listing["sessions"].as_array().expect("sessions");
    sessions.iter().map(|row| row["dir_name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn labels_are_columns_and_a_protected_label_keeps_its_campaign() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    let labelled = |id: &str, label: &str, options: &[&str]| {
        let own = ["--session-id", id, "--label", label, "--max-sessions", "2"];
        run(place, &[&own[..], options].concat(), &["true"]);
    };
    labelled("first", "campaign_id=c", &[]);
    labelled("second", "order_id=o", &[]);
    labelled("third", "campaign_id=c", &["--protect", "campaign_id=c"]);
    let listing = json(&sessions(place, &["list", "--format", "json"]));
    assert_eq!(names(&listing), ["first", "third"], "the oldest went but for the protected campaign");
    assert_eq!(listing["sessions"][0]["campaign_id"], "c");
    assert!(listing["sessions"][0]["order_id"].is_null());
    let found = json(&sessions(place, &["list", "--label", "campaign_id=other", "--format", "json"]));
    assert!(names(&found).is_empty());
    let text = sessions(place, &["list"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("campaign_id=c"), "{text:?}");
}

#[test]
fn files_are_attached_under_their_names_and_replace_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    let keep = place.join("keep");
    std::fs::create_dir(&keep).expect("a directory");
    std::fs::write(keep.join("harness.log"), "kept").expect("a file");
    std::fs::write(keep.join(".hidden"), "left").expect("a file");
    let kept = keep.to_str().expect("a path");
    // The job writes into the directory, too.
    let job = format!("echo '{{\"input_tokens\": 5}}' > {kept}/token_usage.json");
    run(place, &["--session-id", "s", "--keep", kept], &["sh", "-c", &job]);
    let shown = json(&sessions(place, &["show", "s", "--format", "json"]));
    let files: Vec<_> = shown["files"].as_array().expect("files").iter().map(|it| &it["name"]).collect();
    assert_eq!(files, ["harness.log", "token_usage.json"]);

    let more = place.join("more.txt");
    std::fs::write(&more, "more").expect("a file");
    let summary = place.join("summary.json");
    std::fs::write(&summary, "{}").expect("a file");
    let again = keep.join("harness.log");
    let attach = |file: &Path| sessions(place, &["attach", "s", file.to_str().expect("a path")]);
    assert!(attach(&more).status.success());
    for refused in [&summary, &again, &place.join("absent"), &keep] {
        let refused = attach(refused);
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    }
    let there = place.join("log/sessions/s");
    assert_eq!(std::fs::read_to_string(there.join("more.txt")).expect("there"), "more");
    assert_eq!(std::fs::read_to_string(there.join("harness.log")).expect("there"), "kept");
    assert_eq!(json(&sessions(place, &["show", "s", "--format", "json"]))["summary"]["session_id"], "s");
}

/// A run is added to its log, which is listed, shown and filtered as the tracer's own.
#[test]
fn a_run_is_added_to_autoskillits_log() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    let log = place.join("autoskillit");
    let to = log.to_str().expect("a path");
    let options = ["--layout", "autoskillit", "--autoskillit-log", to, "--session-id"];
    let labelled = |id, label| {
        run(place, &[&options[..], &[id, "--label", label]].concat(), &["sleep", "0.4"]);
    };
    labelled("one", "kitchen_id=k");
    labelled("two", "campaign_id=c");
    let read = |words: &[&str]| {
        json(&output(Command::new(TRACER).arg("sessions").args(words).args([
            "--layout",
            "autoskillit",
            "--log-dir",
            to,
        ])))
    };
    assert_eq!(names(&read(&["list", "--format", "json"])), ["one", "two"]);
    assert_eq!(names(&read(&["list", "--label", "kitchen_id=k", "--format", "json"])), ["one"]);
    let shown = read(&["show", "two", "--format", "json"]);
    assert_eq!(shown["summary"]["termination_reason"], "EXITED 0");
    assert_eq!(shown["summary"]["tracked_comm"], "sleep");
    let row: Value = serde_json::from_str(
        std::fs::read_to_string(log.join("sessions.jsonl")).expect("an index").lines().next().expect("a row"),
    )
    .expect("JSON");
    assert_eq!((&row["kitchen_id"], &row["order_id"]), (&"k".into(), &"".into()));
    let trace = std::fs::read_to_string(log.join("sessions/one/proc_trace.jsonl")).expect("a trace");
    assert!(trace.lines().count() >= 1, "{trace}");
    let live = std::fs::read_dir(place).expect("readable").flatten();
    assert!(live.map(|it| it.file_name()).all(|name| !name.to_string_lossy().starts_with("autoskillit_")));

    // Its fence hides what began before.
    std::fs::write(log.join(".telemetry_cleared_at"), "2999-01-01T00:00:00+00:00").expect("written");
    assert!(names(&read(&["list", "--format", "json"])).is_empty());
    assert_eq!(names(&read(&["list", "--all", "--format", "json"])).len(), 2);
    // The same session is not added twice.
    let exported = sessions(place, &["export", "one", "--layout", "autoskillit", "--to", to]);
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(names(&read(&["list", "--all", "--format", "json"])).len(), 2);
}

/// Each layout's retention would remove the other's sessions: neither is written into a log of the other.
#[test]
fn a_log_holds_sessions_of_one_layout() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path();
    run(place, &["--session-id", "own"], &["true"]);
    let own = place.join("log");
    let refused =
        sessions(place, &["export", "own", "--layout", "autoskillit", "--to", own.to_str().expect("a path")]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");

    let other = place.join("other");
    std::fs::create_dir(&other).expect("a directory");
    let row = "{\"dir_name\": \"s\", \"session_id\": \"s\", \"kitchen_id\": \"\"}\n";
    std::fs::write(other.join("sessions.jsonl"), row).expect("written");
    let mut command = Command::new(TRACER);
    command.args(["run", "--no-kernel", "--trace-dir"]).arg(place).arg("--log-dir").arg(&other);
    let done = output(command.args(["--session-id", "left", "--", "true"]));
    assert!(done.status.success(), "the job runs all the same: {done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("name another directory"), "{done:?}");
    assert_eq!(std::fs::read_to_string(other.join("sessions.jsonl")).expect("there"), row);
    assert!(!other.join("sessions").exists());
    // It waits for a recovery with another log.
    let mut recover = Command::new(TRACER);
    recover.args(["recover", "--no-kernel", "--min-age", "0s", "--trace-dir"]).arg(place);
    assert!(output(recover.arg("--log-dir").arg(&own)).status.success());
    assert_eq!(names(&json(&sessions(place, &["list", "--format", "json"]))), ["own", "left"]);
}
