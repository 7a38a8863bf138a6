//! The runner of the corpus, on scenarios and a tool whose outcomes are known.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::child::output;

/// A scenario that is ready at once.
const READY: &str = "import os, time\nopen(os.environ['READY'], 'w').close()\ntime.sleep(600)\n";
/// A scenario that ends before it is ready.
const BROKEN: &str = "print('broken')\n";

/// The tool's answer to every scenario.
const ANSWER: &str = r#"{"verdict": "deadlock", "findings": [{"class": "pipe-full",
    "processes": [{"role": "holder", "cmdline": ["x", "role=root"]}]}]}"#;

/// Runs scenarios, given as name, expectation and program, with a tool that prints this. Gives the lines of
/// the runner and whether it succeeded.
fn run(answer: &str, scenarios: &[(&str, &str, &str)]) -> (Vec<String>, bool) {
    let place = tempfile::tempdir().expect("a directory");
    let tool = place.path().join("tool");
    std::fs::write(&tool, format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")).expect("written");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("mode");
    for (name, expect, program) in scenarios {
        let text = format!("EXPECT = {{\"settle\": 0, {expect}}}\n{program}");
        std::fs::write(place.path().join(format!("{name}.py")), text).expect("written");
    }
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hangs/run.py");
    let output = output(Command::new("python3").arg(runner).arg(&tool).arg("--dir").arg(place.path()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (text.lines().map(str::to_owned).collect(), output.status.success())
}

#[test]
fn a_diagnosis_that_is_expected_passes_and_another_fails() {
    let (lines, success) = run(
        ANSWER,
        &[
            ("a", r#""verdict": ["deadlock", "external"], "class": "pipe-full", "holder": "root""#, READY),
            ("b", r#""verdict": "not-hung""#, READY),
            ("c", r#""verdict": "deadlock", "class": "pty-full""#, READY),
            ("d", r#""verdict": "deadlock", "class": "pipe-full", "holder": "child""#, READY),
        ],
    );
    let starts =
        ["ok   a", "FAIL b: verdict 'deadlock'", "FAIL c: class pipe-full", "FAIL d: holder is ['root']"];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{lines:?}");
    }
    assert_eq!(lines.last().map(String::as_str), Some("1 passed, 0 known gaps, 3 failed"));
    assert!(!success);
}

#[test]
fn a_known_gap_is_neither_a_success_nor_a_failure() {
    let (lines, success) = run(
        ANSWER,
        &[
            ("a", r#""verdict": "not-hung", "known_gap": "why""#, READY),
            ("b", r#""verdict": "deadlock""#, READY),
        ],
    );
    assert!(lines[0].starts_with("gap  a: why (verdict 'deadlock', expected 'not-hung'"), "{lines:?}");
    assert_eq!(lines[1..], ["ok   b", "1 passed, 1 known gaps, 0 failed"]);
    assert!(success);
}

#[test]
fn a_known_gap_that_is_closed_fails() {
    let (lines, success) = run(ANSWER, &[("a", r#""verdict": "deadlock", "known_gap": "why""#, READY)]);
    assert_eq!(lines[0], "FAIL a: the known gap is closed, remove `known_gap`: why");
    assert_eq!(lines[1], "0 passed, 0 known gaps, 1 failed");
    assert!(!success);
}

#[test]
fn a_known_gap_does_not_hide_a_broken_scenario_or_tool() {
    let gap = r#""verdict": "deadlock", "known_gap": "why""#;
    let (lines, success) = run(ANSWER, &[("a", gap, BROKEN)]);
    assert!(lines[0].starts_with("FAIL a: the scenario did not become ready: broken"), "{lines:?}");
    assert!(!success);
    let (lines, success) = run("no report", &[("a", gap, READY)]);
    assert!(lines[0].starts_with("FAIL a: exit 0, no JSON on stdout"), "{lines:?}");
    assert!(!success);
}
