//! The corpus of real hangs (and of healthy work that looks like one) in tests/hangs, judged by the real program.
//!
//! Needs python3, and root: reading another process's system calls needs the right to ptrace it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Scenarios mostly sleep: this many at a time keep two cores busy.
const AT_ONCE: usize = 4;

fn hangs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hangs")
}

/// The scenarios' names, in order.
fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(hangs().join("scenarios"))
        .expect("the scenarios lie beside the runner")
        .map(|entry| entry.expect("a folder that can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Runs some scenarios one after the other; what the runner says of them.
fn judge(names: &[String]) -> String {
    let output = Command::new("python3")
        .arg(hangs().join("hangs"))
        .arg(env!("CARGO_BIN_EXE_tracer-user"))
        .args(names)
        .output()
        .expect("python3 is needed to run the corpus");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{said}{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_scenario_is_explained_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        let required = std::env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1");
        assert!(!required, "the corpus needs root, and TRACER_REQUIRE_BPF=1 forbids to skip it");
        println!("skipped: the corpus needs root");
        return;
    }
    let names = scenarios();
    assert!(names.len() >= 10, "the corpus is incomplete: {names:?}");
    let said: Vec<String> = std::thread::scope(|scope| {
        let shares: Vec<Vec<String>> =
            (0..AT_ONCE).map(|first| names.iter().skip(first).step_by(AT_ONCE).cloned().collect()).collect();
        let judges: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || judge(&share))).collect();
        judges.into_iter().map(|judge| judge.join().unwrap()).collect()
    });
    let passed = said.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, names.len(), "\n{}", said.concat());
}
