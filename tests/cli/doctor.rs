//! `doctor` on this machine: its report is true, what it reports was tried, and nothing is left behind.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::child::{TestChild, output};
use crate::support::{TRACER, is_required, is_root, skip};

/// A user without privileges.
const NOBODY: u32 = 65534;

fn doctor(program: &Path, trace_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("doctor").args(words);
    command.env("TRACER_TRACE_DIR", trace_dir).env("TRACER_LOG_DIR", trace_dir.join("log"));
    command
}

fn here(trace_dir: &Path, words: &[&str]) -> Output {
    output(&mut doctor(Path::new(TRACER), trace_dir, words))
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.is_empty(), "{text}");
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn requirement<'a>(report: &'a Value, id: &str) -> &'a Value {
    let all = report["requirements"].as_array().expect("a list");
    all.iter().find(|it| it["id"] == id).expect("a requirement of this id")
}

fn code_of(verdict: &Value) -> Option<i32> {
    match verdict.as_str() {
        Some("works") => Some(0),
        Some("degraded") => Some(1),
        Some("not") => Some(2),
        _ => None,
    }
}

#[test]
fn the_report_describes_this_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = here(directory.path(), &["--format", "json"]);
    let report = json(&output);
    assert_eq!(report["schema"], "tracer.doctor/1");
    assert_eq!(output.status.code(), code_of(&report["verdict"]), "{report:#}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("read");
    let kernel = requirement(&report, "kernel_version")["found"].as_str().expect("text");
    assert!(kernel.contains(release.trim()), "{kernel}");
    let place = directory.path().display().to_string();
    assert!(requirement(&report, "trace_dir")["found"].as_str().expect("text").starts_with(&place));
    for it in report["requirements"].as_array().expect("a list") {
        assert_eq!(it["lost"].is_null(), it["verdict"] == "works", "{it:#}");
        assert_eq!(it["remedy"].is_null(), it["verdict"] == "works", "{it:#}");
    }
    if is_required() {
        assert_eq!(report["kernel_events"], true, "{report:#}");
    }
}

#[test]
fn what_was_tried_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = TestChild::start(
        doctor(Path::new(TRACER), directory.path(), &["--format=json"]).stdout(Stdio::null()),
    );
    let pid = child.pid();
    child.wait();
    let pinned = Path::new("/sys/fs/bpf/tracer-user").join(format!("doctor-{pid}"));
    assert!(!pinned.exists(), "{} is left", pinned.display());
    assert!(!directory.path().join("log").exists(), "the log's directory exists");
    for entry in std::fs::read_dir(directory.path()).expect("it exists") {
        let path = entry.expect("an entry").path();
        assert_eq!(
            std::fs::read_dir(&path).expect("our directory").count(),
            0,
            "{} is not empty",
            path.display()
        );
    }
}

#[test]
fn with_no_kernel_nothing_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = here(directory.path(), &["--format", "json", "--no-kernel"]);
    let report = json(&output);
    assert_eq!(report["kernel_events"], Value::Null);
    assert_eq!(
        (requirement(&report, "kernel_events")["verdict"].as_str(), output.status.code()),
        (Some("degraded"), Some(1))
    );
}

#[test]
fn without_privileges_the_report_names_what_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    // Another user must be able to read and execute the program.
    let program = directory.path().join("tracer-user");
    std::fs::copy(TRACER, &program).expect("copied");
    let mode = std::fs::Permissions::from_mode;
    std::fs::set_permissions(&program, mode(0o755)).expect("mode");
    std::fs::set_permissions(directory.path(), mode(0o777)).expect("mode");
    let mut command = doctor(&program, directory.path(), &["--format", "json"]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = output(&mut command);
    let report = json(&output);
    assert_eq!((report["verdict"].as_str(), output.status.code()), (Some("degraded"), Some(1)), "{report:#}");
    assert_eq!(report["kernel_events"], false);
    for id in ["cap_bpf", "cap_perfmon", "cap_sys_ptrace", "cap_kill", "cap_sys_admin"] {
        let it = requirement(&report, id);
        assert_eq!((it["found"].as_str(), it["verdict"].as_str()), (Some("missing"), Some("degraded")));
    }
    assert_eq!(requirement(&report, "pidfd")["verdict"], "works");
}

#[test]
fn an_unusable_directory_is_reported_and_nothing_is_made_in_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("target");
    std::fs::create_dir(&target).expect("made");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&target, &link).expect("linked");
    let output = here(&link, &["--format", "json", "--no-kernel"]);
    let report = json(&output);
    let it = requirement(&report, "trace_dir");
    assert_eq!(it["verdict"], "not", "{it:#}");
    assert!(it["found"].as_str().expect("text").contains("symbolic link"), "{it:#}");
    assert_eq!(std::fs::read_dir(&target).expect("it exists").count(), 0);
}

/// Tests and the tool that they run are built with fault points. Another build reports null.
#[test]
fn a_test_build_names_its_fault_points() {
    let directory = tempfile::tempdir().expect("a directory");
    let report = json(&here(directory.path(), &["--format", "json", "--no-kernel"]));
    let names: Vec<&str> =
        report["fault_points"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(names, tracer_user::store::fault::POINTS);
    let text = String::from_utf8(here(directory.path(), &["--no-kernel"]).stdout).expect("text");
    let line = text.lines().find(|line| line.contains("TRACER_FAULT_KILL")).expect("a line");
    assert!(names.iter().all(|name| line.contains(name)), "{line}");
}

#[test]
fn the_text_has_a_line_for_each_requirement_and_no_color_in_a_pipe() {
    let directory = tempfile::tempdir().expect("a directory");
    let report = json(&here(directory.path(), &["--format", "json", "--no-kernel"]));
    let output = here(directory.path(), &["--no-kernel"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.contains('\x1b'));
    for it in report["requirements"].as_array().expect("a list") {
        let (id, verdict) = (it["id"].as_str().expect("text"), it["verdict"].as_str().expect("text"));
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(id));
        assert!(line.is_some_and(|line| line.starts_with(verdict)), "{id}: {line:?}");
    }
}

/// Takes a directory of the BPF file system away again.
struct PinDirectory(String);

impl Drop for PinDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn the_commands_that_it_prints_give_a_user_kernel_events_without_sudo() {
    if !is_root() {
        return;
    }
    if Command::new("setcap").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        skip("setcap is not installed");
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).expect("mode");
    let tool = place.path().join("tracer-user");
    std::fs::copy(TRACER, &tool).expect("copied");
    // Root runs the commands here: this sudo executes what it is given.
    let sudo = place.path().join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").expect("written");
    std::fs::set_permissions(&sudo, PermissionsExt::from_mode(0o755)).expect("mode");
    let uid = 100_000 + std::process::id();
    let traces = place.path().join("traces");
    std::fs::create_dir(&traces).expect("made");
    std::os::unix::fs::chown(&traces, Some(uid), Some(uid)).expect("given");
    let examined = || json(&output(doctor(&tool, &traces, &["--format=json"]).uid(uid).gid(uid)));
    let before = examined();
    if requirement(&before, "btf")["verdict"] != "works" {
        skip("this machine has no BTF");
        return;
    }
    assert_eq!(before["kernel_events"], false, "{before:#}");
    let remedy = requirement(&before, "kernel_events")["remedy"].as_str().expect("commands").to_owned();
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap_or_default());
    let _pins = PinDirectory(format!("/sys/fs/bpf/tracer-user-{uid}"));
    let ran = output(Command::new("sh").args(["-c", &remedy]).env("PATH", path));
    assert!(ran.status.success(), "{remedy}: {}", String::from_utf8_lossy(&ran.stderr));
    let after = examined();
    assert_eq!(after["kernel_events"], true, "{after:#}");
}
