//! AutoSkillit's own code and this tracer, each with the files of the other.
//!
//! Needs a Python that can import `autoskillit` (the package, or a checkout in its path), named by
//! AUTOSKILLIT_PYTHON. Without one these tests are skipped, and say so: it is no part of the project.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER};

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("AUTOSKILLIT_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: AUTOSKILLIT_PYTHON names no Python that can import autoskillit");
    }
    python
}

/// Its own code, called with these words.
fn its(python: &Path, words: &[&Path]) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recover/its_own_code.py")).args(words);
    // Its recovery is what is tested, and it has nothing to keep elsewhere.
    command.env_remove("PYTEST_CURRENT_TEST");
    command
}

fn asked(python: &Path, words: &[&Path]) -> Value {
    let done = output(&mut its(python, words));
    assert!(done.status.success(), "{done:?}");
    // Its log goes to the standard output, too: the answer is the last line.
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{text}"))
}

fn tracer(words: &[&str], place: &Path) -> Command {
    let mut command = Command::new(TRACER);
    command.args(words).arg("--log-dir").arg(place.join("log"));
    command
}

fn json_of(done: &Output) -> Value {
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a directory in memory")
}

/// Its writer, this tracer's recovery. While the writer lives nothing is taken, whatever its target does.
#[test]
fn its_sessions_are_recovered_here_and_its_live_owner_is_not_robbed() {
    let Some(python) = python() else { return };
    let (place, traces) = (memory(), memory());
    let mut writer = TestChild::with_pipes(its(&python, &[Path::new("write"), traces.path()]));
    let line = writer.line();
    let pid: i32 = line.trim().parse().unwrap_or_else(|_| panic!("{line}"));
    writer.track(pid);
    let recover = || {
        let mut command =
            tracer(&["recover", "--layout", "autoskillit", "--no-kernel", "--min-age", "0s"], place.path());
        command.args(["--format", "json", "--trace-dir"]).arg(traces.path());
        json_of(&output(&mut command))
    };
    let reasons = |report: &Value| report["sessions"][0]["reasons"].to_string();
    let both = recover();
    assert!(reasons(&both).contains("root_runs"), "{both}");
    writer.send_line("end the target");
    writer.line();
    let alive = recover();
    assert_eq!(alive["sessions"][0]["action"], "skip", "{alive}");
    assert_eq!(reasons(&alive), "[\"trace_open\"]");
    let trace = traces.path().join(format!("autoskillit_trace_{pid}.jsonl"));
    let written = std::fs::read_to_string(&trace).expect("its trace").lines().count();
    assert!(written >= 18, "{written}");
    writer.kill();
    let dead = recover();
    assert!(dead["sessions"][0]["outcome"]["filed"]["dir_name"].is_string(), "{dead}");
    assert_eq!(std::fs::read_dir(traces.path()).expect("readable").count(), 0);
    let listed = json_of(&output(&mut tracer(&["sessions", "list", "--format", "json"], place.path())));
    let row = &listed["sessions"][0];
    assert_eq!((&row["snapshot_count"], &row["kitchen_id"]), (&json!(written), &json!("kitchen")));
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1));
}

/// This tracer's writer, its recovery: each of the sessions becomes a row, whichever program started the job.
#[test]
fn sessions_of_here_are_recovered_by_its_own_code() {
    let Some(python) = python() else { return };
    let (place, traces) = (memory(), memory());
    let its_log = place.path().join("its");
    let jobs: [&[&str]; 4] = [
        &["sleep", "1000"],
        &["env", "sleep", "1000"],
        &["sh", "-c", "exec sleep 1000"],
        &["sh", "-c", "sleep 1000; true"],
    ];
    for job in jobs {
        let mut command =
            tracer(&["run", "--layout", "autoskillit", "--interval", "20ms", "--no-kernel"], place.path());
        command
            .arg("--trace-dir")
            .arg(traces.path())
            .arg("--autoskillit-log")
            .arg(&its_log)
            .arg("--")
            .args(job);
        let run = TestChild::leading_group(command);
        let trace = || {
            let of_it = |entry: &std::fs::DirEntry| {
                entry.file_name().to_string_lossy().starts_with("autoskillit_trace_")
            };
            let entries = std::fs::read_dir(traces.path()).expect("readable").flatten();
            entries.filter(of_it).filter(|entry| entry.metadata().is_ok_and(|it| it.len() > 0)).count()
        };
        let wanted = jobs.iter().position(|it| *it == job).expect("it is one of them") + 1;
        let deadline = Instant::now() + PATIENCE;
        while trace() < wanted {
            assert!(Instant::now() < deadline, "{job:?} has no snapshot");
            std::thread::yield_now();
        }
        // The tracer and its job, at once.
        drop(run);
    }
    let live = |prefix: &str| {
        let entries = std::fs::read_dir(traces.path()).expect("readable").flatten();
        entries.filter(|it| it.file_name().to_string_lossy().starts_with(prefix)).count()
    };
    assert_eq!(live("autoskillit_"), 8);
    // To its code a zombie lives; the jobs are reaped by another process, when that comes to it.
    let reaped = || {
        let entries = std::fs::read_dir(traces.path()).expect("readable").flatten();
        let names: Vec<_> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        let pid =
            |name: &String| Some(name.strip_prefix("autoskillit_trace_")?.strip_suffix(".jsonl")?.to_owned());
        names.iter().filter_map(pid).all(|pid| !Path::new("/proc").join(pid).exists())
    };
    let deadline = Instant::now() + PATIENCE;
    while !reaped() {
        assert!(Instant::now() < deadline, "the jobs are not reaped");
        std::thread::yield_now();
    }
    assert_eq!(asked(&python, &[Path::new("recover"), traces.path(), &its_log]), json!(4));
    assert_eq!(live("autoskillit_"), 0);
    let mut list = Command::new(TRACER);
    list.args(["sessions", "list", "--layout", "autoskillit", "--format", "json", "--log-dir"]).arg(&its_log);
    let listed = json_of(&output(&mut list));
    let rows = listed["sessions"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["tracked_comm"].as_str().unwrap_or("?")).collect();
    assert!(names.iter().all(|name| ["sleep", "env", "sh"].contains(name)), "{names:?}");
    assert!(rows.iter().all(|row| row["owner_fate"] == "died" && row["exit_code"].is_null()), "{rows:?}");
    let name = rows[0]["dir_name"].as_str().expect("a name");
    let mut show = Command::new(TRACER);
    show.args(["sessions", "show", name, "--layout", "autoskillit", "--format", "json", "--log-dir"])
        .arg(&its_log);
    assert!(json_of(&output(&mut show))["summary"]["snapshot_count"].as_u64() > Some(0));
    // Its fence hides them here, too.
    asked(&python, &[Path::new("clear"), &its_log]);
    assert_eq!(json_of(&output(&mut list))["sessions"], json!([]));
    // The sessions themselves are whole in this tracer's own files.
    let mut recover =
        tracer(&["recover", "--no-kernel", "--min-age", "0s", "--format", "json"], place.path());
    let report = json_of(&output(recover.arg("--trace-dir").arg(traces.path())));
    let filed = report["sessions"].as_array().expect("sessions");
    assert_eq!(filed.iter().filter(|it| it["outcome"]["filed"].is_object()).count(), 4, "{report}");
}

/// A finished session of here, in its log: its index readers and its bug reports find everything.
#[test]
fn its_readers_understand_a_session_of_here() {
    let Some(python) = python() else { return };
    let place = memory();
    let its_log = place.path().join("its");
    let keep = place.path().join("keep");
    std::fs::create_dir(&keep).expect("a directory");
    let usage =
        json!({"session_label": "step", "input_tokens": 11, "output_tokens": 5, "timing_seconds": 1.5});
    std::fs::write(keep.join("token_usage.json"), usage.to_string()).expect("written");
    let mut run = tracer(
        &["run", "--quiet", "--layout", "autoskillit", "--interval", "20ms", "--no-kernel"],
        place.path(),
    );
    run.arg("--autoskillit-log").arg(&its_log).arg("--keep").arg(&keep).arg("--trace-dir").arg(place.path());
    run.args(["--label", "campaign_id=campaign", "--label", "recipe_name=recipe", "--session-id", "of-here"]);
    let done = output(run.args(["--", "sh", "-c", "sleep 0.3; exit 3"]));
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let read = asked(&python, &[Path::new("read"), &its_log, Path::new("of-here")]);
    assert_eq!((&read["loaded"], &read["tokens"]["input_tokens"]), (&json!(1), &json!(11)), "{read}");
    assert_eq!(read["prior"], 1, "its index row names the recipe");
    assert!(read["snapshots"].as_u64() > Some(0), "{read}");
    let report = read["report"].as_str().expect("a report");
    for part in [
        "| Session ID | `of-here` |",
        "| Exit Code | 3 |",
        "| Termination | natural_exit |",
        "| Tracked Process | `sh` |",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}
