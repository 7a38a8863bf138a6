//! `preflight --import` and `--collect`: what fails before the first test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::isolated::isolate;
use crate::support::TRACER;
use crate::support::child::output;

fn checks(repo: &Path, words: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(TRACER);
    command.args(["preflight", "--format", "json", "--repo"]).arg(repo).args(words);
    isolate(&mut command);
    let done = output(&mut command);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.code(), report["checks"].as_array().cloned().unwrap_or_default())
}

fn statuses(checks: &[Value]) -> Vec<&str> {
    checks.iter().filter_map(|check| check["status"].as_str()).collect()
}

#[test]
fn imports_and_collection_are_checked_with_the_suites_interpreter() {
    let repo = tempfile::tempdir().expect("a directory");
    let repo = repo.path();
    std::fs::write(repo.join("only_here.py"), "").expect("written");
    let (code, found) =
        checks(repo, &["--import", "json", "--import", "only_here", "--import", "not_there_at_all"]);
    assert_eq!(statuses(&found), ["ready", "ready", "broken"], "{found:?}");
    assert_eq!(code, Some(1));
    let sentence = found[2]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("No module named 'not_there_at_all'"), "{sentence}");

    // A suite whose collection fails, and an interpreter that takes too long: both act as pytest does.
    let program = |name: &str, text: &str| {
        let path = repo.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        path.to_str().expect("a path").to_owned()
    };
    let fails = program("fails", "#!/bin/sh\necho 'ERROR test_x.py - SyntaxError'\nexit 2\n");
    let (_, found) = checks(repo, &["--collect", "--python", &fails]);
    assert_eq!(statuses(&found), ["broken"]);
    assert!(
        found[0]["sentence"].as_str().is_some_and(|text| text.ends_with("ERROR test_x.py - SyntaxError"))
    );
    let slow = program("slow", "#!/bin/sh\nsleep 1000 & wait\n");
    let (_, found) = checks(repo, &["--collect", "--python", &slow, "--check-timeout", "100ms"]);
    assert_eq!(statuses(&found), ["unknown"], "{found:?}");
}

/// The interpreter is not the one of the checkout's environment, which can import what it cannot.
#[test]
fn another_interpreter_than_that_of_the_checkouts_environment_is_reported() {
    let repo = tempfile::tempdir().expect("a directory");
    let repo = repo.path();
    std::fs::create_dir_all(repo.join(".venv/bin")).expect("directories");
    std::fs::write(repo.join(".venv/pyvenv.cfg"), "home = /nowhere\n").expect("written");
    let other = repo.join(".venv/bin/python3");
    std::fs::write(&other, "#!/bin/sh\nexit 0\n").expect("written");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let (code, found) = checks(repo, &["--import", "not_there_at_all"]);
    assert_eq!((code, statuses(&found)), (Some(1), vec!["broken", "broken"]), "{found:?}");
    assert_eq!(found[0]["check"], "environment");
    assert!(
        found[1]["sentence"].as_str().is_some_and(|text| text.contains(".venv/bin/python3 can")),
        "{found:?}"
    );
}
