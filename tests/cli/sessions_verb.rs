//! `sessions` as its users type it, and what every verb prints as JSON, held against its schema.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER};

/// The tool with its sessions below a directory.
fn tracer(place: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(TRACER);
    command.args(words).current_dir(place);
    command.env("TRACER_LOG_DIR", place.join("log")).env("TRACER_TRACE_DIR", place.join("traces"));
    output(&mut command)
}

fn run(place: &Path, id: &str, job: &str) {
    let options = ["run", "--no-kernel", "--quiet", "--label", "kind=test", "--session-id", id, "--"];
    tracer(place, &[&options[..], &["sh", "-c", job]].concat());
}

fn stdout(place: &Path, words: &[&str]) -> String {
    let output = tracer(place, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A place with three sessions, the oldest first.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    run(place.path(), "ci-1", "true");
    run(place.path(), "ci-2", "exit 3");
    run(place.path(), "nightly", "true");
    place
}

#[test]
fn a_session_is_found_by_its_beginning_by_its_place_and_in_an_exported_file() {
    let place = place();
    let place = place.path();
    let shown = |word: &str| stdout(place, &["sessions", "show", word]);
    assert!(shown("night").starts_with("session     nightly\n"));
    assert!(shown("last").starts_with("session     nightly\n"));
    assert!(shown("-2").starts_with("session     ci-2\n"));
    let ambiguous = tracer(place, &["sessions", "show", "ci"]);
    assert_eq!(ambiguous.status.code(), Some(125));
    assert!(stderr(&ambiguous).contains("2 sessions begin like this: ci-2, ci-1"), "{ambiguous:?}");
    let unknown = tracer(place, &["sessions", "show", "other"]);
    assert!(stderr(&unknown).contains("no session other"), "{unknown:?}");

    std::fs::write(place.join("export.json"), stdout(place, &["sessions", "export", "ci-2"]))
        .expect("written");
    let elsewhere = ["sessions", "show", "--log-dir", "nowhere", "export.json"];
    assert_eq!(stdout(place, &elsewhere), shown("ci-2"), "an export is shown as the session itself");
    let foreign = tracer(place, &["sessions", "show", "./log/sessions.jsonl"]);
    assert!(stderr(&foreign).contains("not written by `tracer-user sessions export`"), "{foreign:?}");
}

#[test]
fn without_a_sub_command_the_sessions_of_today_are_listed() {
    let place = place();
    let text = stdout(place.path(), &["sessions"]);
    assert_eq!(text.lines().count(), 4, "a head and three sessions: {text}");
    assert_eq!(stdout(place.path(), &["sessions", "list", "--since", "today"]), text);
    assert_eq!(stdout(place.path(), &["sessions", "list", "--since", "2999-01-01"]), "no sessions\n");
    let failed = stdout(place.path(), &["sessions", "list", "--outcome", "failed"]);
    assert!(failed.contains("ci-2") && !failed.contains("ci-1"), "{failed}");
}

#[test]
fn what_clear_hides_is_reported_and_not_lost() {
    let place = place();
    let cleared = tracer(place.path(), &["sessions", "clear"]);
    assert!(stderr(&cleared).contains("3 sessions before are hidden and kept"), "{cleared:?}");
    let listed = tracer(place.path(), &["sessions", "list"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "no sessions\n");
    assert!(stderr(&listed).contains("3 sessions from before `sessions clear`"), "{listed:?}");
    let all = tracer(place.path(), &["sessions", "list", "--all"]);
    assert_eq!((String::from_utf8_lossy(&all.stdout).lines().count(), stderr(&all).as_str()), (4, ""));
    assert!(stdout(place.path(), &["sessions", "show", "last"]).contains("nightly"), "a hidden one is shown");
}

#[test]
fn prune_removes_the_oldest_and_never_a_protected_one() {
    let place = place();
    let place = place.path();
    assert_eq!(tracer(place, &["sessions", "prune"]).status.code(), Some(2), "a limit is required");
    tracer(place, &["sessions", "protect", "ci-1"]);
    let planned = stdout(place, &["sessions", "prune", "--keep", "2", "--dry-run"]);
    assert_eq!(planned, "would remove session ci-2: more than 2 sessions\nwould remove 1 session\n");
    assert_eq!(stdout(place, &["sessions", "list"]).lines().count(), 4, "a plan removes nothing");
    let removed = stdout(place, &["sessions", "prune", "--keep", "2"]);
    assert_eq!(removed, "removed session ci-2: more than 2 sessions\nremoved 1 session\n");
    let left = stdout(place, &["sessions", "list"]);
    assert!(left.contains("ci-1") && !left.contains("ci-2") && left.contains("nightly"), "{left}");
    assert!(!place.join("log/sessions/ci-2").exists());
    let removed = stdout(place, &["sessions", "prune", "--older-than", "0s", "--size", "1B"]);
    assert!(removed.contains("nightly") && !removed.contains("ci-1"), "{removed}");
}

/// Fails unless the document has a schema of this name, and satisfies it.
#[track_caller]
fn holds(place: &Path, kind: &str, words: &[&str]) {
    let output = tracer(place, words);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}: {}", stderr(&output)));
    let schema: Value = serde_json::from_str(&stdout(place, &["schema", kind])).expect("a schema");
    assert_eq!(schema["$id"], format!("urn:tracer-user:schema:{kind}"));
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{words:?}: {errors:#?}");
    // A schema that accepts anything would accept this.
    assert!(!validator.is_valid(&Value::from(1)), "{kind}");
}

#[test]
fn what_verbs_print_satisfies_its_schema() {
    let place = place();
    let place = place.path();
    holds(place, "list", &["sessions", "--format", "json"]);
    holds(place, "list", &["sessions", "list", "--format", "json"]);
    holds(place, "show", &["sessions", "show", "last", "--format", "json"]);
    holds(place, "export", &["sessions", "export", "last"]);
    holds(place, "prune", &["sessions", "prune", "--keep", "1", "--dry-run", "--format", "json"]);
    holds(place, "recover", &["recover", "--dry-run", "--no-kernel", "--format", "json"]);
    holds(place, "doctor", &["doctor", "--no-kernel", "--format", "json"]);
    holds(place, "preflight", &["preflight", "--port", "1", "--format", "json"]);
    let own = std::process::id().to_string();
    holds(place, "reap", &["reap", "--pid", &own, "--format", "json"]);
    holds(place, "holders", &["holders", "--pid", &own, "--fd", "0", "--format", "json"]);
    let row = std::fs::read_to_string(place.join("log/sessions.jsonl")).expect("an index");
    let schema: Value = serde_json::from_str(&stdout(place, &["schema", "index"])).expect("a schema");
    let row: Value = serde_json::from_str(row.lines().next().expect("a row")).expect("JSON");
    assert!(jsonschema::is_valid(&schema, &row));
}

#[test]
fn every_schema_is_listed_and_valid() {
    let place = tempfile::tempdir().expect("a directory");
    let all: Value = serde_json::from_str(&stdout(place.path(), &["schema"])).expect("JSON");
    for (kind, schema) in all.as_object().expect("an object") {
        assert!(jsonschema::meta::is_valid(schema), "{kind}");
        let alone: Value = serde_json::from_str(&stdout(place.path(), &["schema", kind])).expect("JSON");
        assert_eq!(alone, *schema, "{kind}");
    }
}

/// A job whose descendant has inherited a pipe, and the pid of each.
const JOB: &str = r#"
{ sleep 1000 & echo "left $!"; exec sleep 1000; } | { read -r line; echo "reader $$ $line"; exec cat; }
"#;

#[test]
fn holders_names_the_other_end_and_who_passed_it_on() {
    let place = tempfile::tempdir().expect("a directory");
    let mut job = Command::new("bash");
    job.args(["-c", JOB]).stdout(Stdio::piped());
    let mut job = TestChild::leading_group(job);
    let line = job.line_within(PATIENCE).expect("the reader's line");
    let left = line.split(' ').next_back().expect("a pid").to_owned();
    let answer = |words: &[&str]| {
        let output = tracer(place.path(), &[&["holders", "--format", "json"], words].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report)
    };
    // From the writer: its reader, and the process that it was forked from and that writes as well.
    let (code, report) = answer(&["--pid", &left]);
    let object = &report["objects"][0];
    assert_eq!((code, object["kind"].as_str()), (Some(1), Some("pipe")), "{report:#}");
    let other = object["other_end"].as_array().expect("a list");
    assert_eq!((other.len(), other[0]["access"].as_str()), (1, Some("read")), "{report:#}");
    let same = object["same_end"].as_array().expect("a list");
    assert_eq!((same.len(), same[0]["cmdline"][0].as_str()), (1, Some("sleep")), "{report:#}");
    // From the reader: both writers, and from which process the second one has it.
    let reader = other[0]["pid"].to_string();
    let (_, report) = answer(&["--pid", &reader, "--fd", "0"]);
    let writers = report["objects"][0]["other_end"].as_array().expect("a list");
    let of_left =
        writers.iter().find(|it| it["pid"].as_u64() == left.parse().ok()).expect("the process that was left");
    assert_eq!(of_left["inherited_from"]["pid"], same[0]["pid"], "{report:#}");
    assert_eq!(of_left["fds"], serde_json::json!([1]), "{report:#}");
    // In words.
    let text = tracer(place.path(), &["holders", "--pid", &reader, "--fd", "0"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let line = format!("other end   sleep 1000 (pid {left}), fd 1 for writing");
    assert!(text.contains(&line) && text.contains("inherited from sleep"), "{text}");
}

#[test]
fn holders_of_a_path_and_of_a_port() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("socket");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let inet = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let file = std::fs::File::create(place.path().join("file")).expect("made");
    let port = inet.local_addr().expect("an address").port().to_string();
    let own = std::process::id();
    for (words, kind) in [
        (["--path", "socket"], "unix-socket"),
        (["--path", "file"], "file"),
        (["--port", &port], "ip-socket"),
    ] {
        let output = tracer(place.path(), &[&["holders", "--format", "json"], &words[..]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["objects"][0]["kind"], kind, "{report:#}");
        let holders = report["objects"][0]["same_end"].as_array().expect("a list");
        assert!(holders.iter().any(|holder| holder["pid"] == own), "{words:?}: {report:#}");
        assert_eq!(output.status.code(), Some(1));
    }
    drop((unix, inet, file));
    let output = tracer(place.path(), &["holders", "--path", "file"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = tracer(place.path(), &["holders", "--path", "missing"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("holders: missing: "), "{output:?}");
    let output = tracer(place.path(), &["holders", "--pid", &own.to_string(), "--fd", "99999"]);
    assert!(stderr(&output).contains("has no descriptor 99999 open"), "{output:?}");
}
