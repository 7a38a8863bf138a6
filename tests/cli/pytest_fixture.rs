//! `contrib/pytest/tracer_user.py`, with pytest-xdist.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::TRACER;
use crate::support::child::output;

/// Every test has one session, its own. A default place is refused although it is given.
const TESTS: &str = r#"
import json, os, subprocess
import pytest

TRACER = os.environ["TRACER"]

def tracer(*words):
    return subprocess.run([TRACER, *words], capture_output=True, text=True)

@pytest.mark.parametrize("number", range(8))
def test_has_a_session_of_its_own(isolated_tracing_config, number):
    job = f"cat {isolated_tracing_config.trace_dir}/tracer-user-*/enrollment_$$-*.json"
    done = tracer("run", "--quiet", "--no-kernel", "--session-id", f"s{number}", "--", "sh", "-c", job)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["interval_ms"] == 50
    listed = json.loads(tracer("sessions", "list", "--format", "json").stdout)
    assert [row["dir_name"] for row in listed["sessions"]] == [f"s{number}"]

def test_does_not_reach_real_sessions(isolated_tracing_config):
    refused = tracer("run", "--require-tracing", "--trace-dir", "/dev/shm/.", "--", "true")
    assert refused.returncode == 125 and "PYTEST_CURRENT_TEST is set" in refused.stderr, refused.stderr
"#;

/// A Python with pytest and pytest-xdist: the one of the field corpus, or the system's.
fn python() -> Option<PathBuf> {
    let target = Path::new(TRACER).parent()?.parent()?;
    let has_both = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import pytest, xdist"])
            .output()
            .is_ok_and(|ran| ran.status.success())
    };
    let given = std::env::var_os("FIELD_PYTHON").map(PathBuf::from);
    given.into_iter().chain([target.join("field/venv/bin/python3"), PathBuf::from("python3")]).find(has_both)
}

#[test]
fn the_fixture_isolates_parallel_tests() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with pytest and pytest-xdist");
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).expect("written");
    write("tracer_user.py", include_str!("../../contrib/pytest/tracer_user.py"));
    write("conftest.py", "pytest_plugins = [\"tracer_user\"]\n");
    write("test_it.py", TESTS);
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "4"]).current_dir(place.path());
    // The one of these tests would do as well, but is not what is tested.
    let ran =
        output(command.env("TRACER", TRACER).env_remove("TRACER_TRACE_DIR").env_remove("TRACER_LOG_DIR"));
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && text.contains("9 passed"),
        "{text}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
