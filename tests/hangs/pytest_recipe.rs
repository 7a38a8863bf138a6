//! `examples/conftest.py`, with pytest.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::child::TestChild;
use crate::support::{PATIENCE, TRACER, skip};

/// A slow test and one that hangs until the job is ended.
const TESTS: &str = "
import subprocess, sys, time

def test_takes_its_time():
    time.sleep(3)

def test_waits_before_it_reads():
    child = subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE)
    child.wait()
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
    std::fs::write(place.path().join("conftest.py"), include_str!("../../examples/conftest.py"))
        .expect("written");
    std::fs::write(place.path().join("test_it.py"), TESTS).expect("written");
    let program = Path::new(TRACER).parent().expect("a directory");
    let path = std::env::join_paths(
        std::iter::once(program.to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut command = Command::new(pytest);
    command
        .args(["-p", "no:cacheprovider", "test_it.py"])
        .current_dir(place.path())
        .env("PATH", path.expect("a path"))
        .env("TRACER_DIAGNOSE_AFTER", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let job = TestChild::start(&mut command);
    let path = place.path().join(format!("hang-{}.txt", job.pid()));
    let deadline = Instant::now() + PATIENCE;
    let mut slow_test_is_reported = false;
    let report = loop {
        let report = std::fs::read_to_string(&path).unwrap_or_default();
        let is_calm = ["not-hung", "idle"].iter().any(|calm| report.contains(&format!("verdict: {calm}")));
        slow_test_is_reported |= is_calm;
        if report.contains("verdict: ") && !is_calm {
            break report;
        }
        assert!(Instant::now() < deadline, "no report came: {report}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(slow_test_is_reported, "the first report is about the test that hangs: {report}");
    assert!(report.contains("test_it.py::test_waits_before_it_reads"), "{report}");
    assert!(report.contains("pipe-full") && report.contains("verdict: deadlock"), "{report}");
}
