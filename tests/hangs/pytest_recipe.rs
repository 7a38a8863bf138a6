//! The plugin of `contrib/pytest`, with the installed pytest.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::child::TestChild;
use crate::support::{PATIENCE, TRACER, skip};

/// A slow test and one that hangs until the job is ended.
const TESTS: &str = "
import subprocess, sys, time

def test_takes_its_time():
    time.sleep(3)

def test_waits_before_it_reads():
    child = subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE)
    with open('child', 'w') as file:
        print(child.pid, file=file)
    assert child.wait() == 0
";

/// The name of the installed pytest.
fn pytest() -> Option<&'static str> {
    let works =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|ran| ran.status.success());
    ["pytest", "pytest-3"].into_iter().find(works)
}

#[test]
fn pytest_diagnoses_a_test_that_hangs_and_leaves_slow_ones_alone() {
    let Some(pytest) = pytest() else {
        skip("pytest is not installed");
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    std::fs::write(place.path().join("test_it.py"), TESTS).expect("written");
    let program = Path::new(TRACER).parent().expect("a directory");
    let path = std::env::join_paths(
        std::iter::once(program.to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/pytest/src");
    let log = place.path().join("log");
    let mut command = Command::new(pytest);
    command
        .args(["-p", "no:cacheprovider", "-p", "pytest_tracer_user", "--tracer-after", "1"])
        .args(["--junitxml", "junit.xml", "test_it.py"])
        .current_dir(place.path())
        .env("PATH", path.expect("a path"))
        .env("PYTHONPATH", plugin)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("TRACER_USER_PYTEST_STDERR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("created"));
    let mut job = TestChild::start(&mut command);
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.contains("verdict: ") {
            break text;
        }
        assert!(Instant::now() < deadline, "no report came: {text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    // Pytest captures standard error, and the report is in the job's all the same, while the test still
    // hangs.
    let (before, report) =
        text.split_once("test_it.py::test_waits_before_it_reads hangs:").expect("a report");
    assert!(before.contains("test_takes_its_time takes longer than 1 s: no hang is found yet"), "{before}");
    assert!(report.contains("pipe-full") && report.contains("verdict: deadlock"), "{report}");
    // What blocks the test is ended, so that the test fails and its result has the report.
    // Nothing reaps it before, so the number is still its own.
    let child = std::fs::read_to_string(place.path().join("child")).expect("a pid");
    let child = Pid::from_raw(child.trim().parse().expect("a pid")).expect("a pid");
    kill_process(child, Signal::KILL).expect("killed");
    assert_eq!(job.wait().code(), Some(1));
    let junit = std::fs::read_to_string(place.path().join("junit.xml")).expect("a report of the runner");
    assert!(junit.contains("name=\"tracer-user\"") && junit.contains("pipe-full"), "{junit}");
}
