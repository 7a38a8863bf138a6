//! What tracers leave in the BPF file system, and what they wait for there. Each test has a BPF file system
//! of its own.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::child::{TestChild, output};
use crate::support::namespace::MountNamespace;
use crate::support::{PATIENCE, TRACER, is_required, is_root};

struct Machine {
    namespace: MountNamespace,
    directory: tempfile::TempDir,
}

impl Machine {
    /// `None` without root.
    fn new() -> Option<Self> {
        is_root().then(|| Self {
            namespace: MountNamespace::new("bpf", "/sys/fs/bpf"),
            directory: tempfile::tempdir().expect("a directory"),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let place = self.directory.path();
        command.env("TRACER_TRACE_DIR", place).env("TRACER_LOG_DIR", place.join("log"));
        self.namespace.enter(&mut command);
        command
    }

    /// The directory of pins, made as the tool makes it.
    fn pins(&self) -> PathBuf {
        let path = self.namespace.root().join("sys/fs/bpf/tracer-user");
        make(&path);
        path
    }

    fn left(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.pins()).expect("listed").flatten();
        names.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
    }

    /// What a tracer that was killed while it began, and one that could not remove the hook, leave.
    fn plant(&self) {
        for name in ["1-2-0123456789abcdef", "hook-0123"] {
            make(&self.pins().join(name));
        }
    }
}

fn make(path: &Path) {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    assert!(made.is_ok() || path.is_dir(), "{made:?}");
}

/// Another process holds the lock of the directory and never lets it go.
#[test]
fn a_job_does_not_wait_for_a_process_that_holds_the_pins() {
    let Some(machine) = Machine::new() else { return };
    let held = File::open(machine.pins()).expect("opened");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let mut run = machine.command(TRACER);
    run.args(["run", "--quiet", "--session-id", "s", "--", "sh", "-c", "echo begun; exit 7"]);
    let begun = Instant::now();
    let mut run = TestChild::with_output(run);
    // Loading takes longer than the wait, and both take longer on a busy machine.
    assert!(run.line_within(PATIENCE).is_some_and(|line| line == "begun"));
    assert_eq!(run.wait().code(), Some(7));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(machine.left(), Vec::<String>::new());
    let shown = output(machine.command(TRACER).args(["sessions", "show", "s", "--format", "json"]));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    if is_required() {
        assert_eq!(shown["summary"]["kernel_events"], true, "{shown:#}");
    }
    // What others left cannot be collected meanwhile, and that is said at once.
    machine.plant();
    let recovered = output(machine.command(TRACER).args(["recover", "--min-age", "0s"]));
    let text = String::from_utf8_lossy(&recovered.stdout) + String::from_utf8_lossy(&recovered.stderr);
    assert!(text.contains("has held its lock for 1000 ms"), "{text}");
    drop(held);
}

#[test]
fn pins_without_an_owner_are_collected_at_once_and_named() {
    let Some(machine) = Machine::new() else { return };
    machine.plant();
    let recovered = output(machine.command(TRACER).args(["recover", "--min-age", "0s"]));
    let text = String::from_utf8_lossy(&recovered.stdout) + String::from_utf8_lossy(&recovered.stderr);
    assert!(text.contains("pins 1-2-0123456789abcdef") && text.contains("pins hook-0123"), "{text}");
    assert_eq!(machine.left(), Vec::<String>::new());

    machine.plant();
    let checked = output(machine.command(TRACER).args(["doctor", "--format", "json"]));
    let report: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let all = report["requirements"].as_array().expect("a list");
    let found = all.iter().find(|it| it["id"] == "pins").expect("a requirement")["found"].clone();
    let found = found.as_str().expect("text");
    assert!(found.contains("1-2-0123456789abcdef") && found.contains("hook-0123"), "{found}");
    assert_eq!(machine.left(), Vec::<String>::new());
}

/// So that nothing is left of it, however it ends.
#[test]
fn doctor_pins_nothing() {
    let Some(machine) = Machine::new() else { return };
    let calls = machine.directory.path().join("calls");
    let mut doctor = machine.command("strace");
    doctor.args(["-f", "-qq", "-e", "trace=bpf", "-o"]).arg(&calls).args([TRACER, "doctor"]);
    output(&mut doctor);
    let calls = std::fs::read_to_string(calls).expect("written");
    assert!(calls.contains("BPF_PROG_LOAD") && !calls.contains("BPF_OBJ_PIN"), "{calls}");
}
