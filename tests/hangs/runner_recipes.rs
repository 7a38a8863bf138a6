//! `examples/conftest.py`, with a real pytest.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One test that is slow and one that hangs until whoever reads its report ends it.
const TESTS: &str = "
import subprocess, sys, time

def test_takes_its_time():
    time.sleep(3)

def test_waits_before_it_reads():
    child = subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE)
    child.wait()
";

/// pytest, by whichever of its names it goes.
fn pytest() -> Option<&'static str> {
    let works =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|ran| ran.status.success());
    ["pytest", "pytest-3"].into_iter().find(works)
}

/// Ends the job whatever the test does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pytest_asks_why_a_test_hangs_and_leaves_slow_ones_alone() {
    let Some(pytest) = pytest() else {
        let required = std::env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1");
        assert!(!required, "pytest is needed, and TRACER_REQUIRE_BPF=1 forbids to skip it");
        println!("skipped: pytest is not installed");
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    std::fs::write(place.path().join("conftest.py"), include_str!("../../examples/conftest.py"))
        .expect("written");
    std::fs::write(place.path().join("test_it.py"), TESTS).expect("written");
    let program = Path::new(env!("CARGO_BIN_EXE_tracer-user")).parent().expect("a directory");
    let path = std::env::join_paths(
        std::iter::once(program.to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let job = Command::new(pytest)
        .args(["-p", "no:cacheprovider", "test_it.py"])
        .current_dir(place.path())
        .env("PATH", path.expect("a path"))
        .env("TRACER_DIAGNOSE_AFTER", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("pytest starts");
    let report = place.path().join(format!("hang-{}.txt", job.id()));
    let job = Killed(job);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut slow_one_was_asked_about = false;
    let said = loop {
        let said = std::fs::read_to_string(&report).unwrap_or_default();
        slow_one_was_asked_about |= said.contains("verdict: not-hung");
        if said.contains("verdict: ") && !said.contains("verdict: not-hung") {
            break said;
        }
        assert!(Instant::now() < deadline, "no report came: {said}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(slow_one_was_asked_about, "the first report is of the test that hangs: {said}");
    assert!(said.contains("test_it.py::test_waits_before_it_reads"), "{said}");
    assert!(said.contains("pipe-full") && said.contains("verdict: deadlock"), "{said}");
    drop(job);
}
