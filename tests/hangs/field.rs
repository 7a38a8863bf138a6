//! Real software that hangs, and healthy software that looks alike (tests/field), judged by the real program.
//!
//! What is not installed is skipped and named: `.ci/run` installs the cheap half with `tests/field/install`.
//! A case that is a known gap does not fail. One that fails beside five others is tried once more alone,
//! because a loaded machine may not have brought it to its hang in time.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Cases mostly wait: this many at a time keep two cores busy.
const AT_ONCE: &str = "6";
/// Seconds for all cases; they take three minutes on two cores.
const LIMIT: &str = "420";

fn field() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/field")
}

/// The packages that `.ci/run` installed, beside the program under test.
fn installed(place: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_tracer-user")).parent()?.parent()?;
    Some(target.join("field").join(place)).filter(|place| place.exists())
}

/// Asks some cases, or all: the output and a row per case.
fn ask(at_once: &str, names: &[String]) -> (String, Vec<Value>) {
    let rows = tempfile::NamedTempFile::new().expect("a file for the rows");
    let mut command = Command::new("python3");
    command.arg(field().join("field")).arg(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(["--jobs", at_once, "--limit", LIMIT, "--json"]).arg(rows.path()).args(names);
    for (variable, place) in [("FIELD_PYTHON", "venv/bin/python3"), ("FIELD_NODE_MODULES", "js/node_modules")]
    {
        if let (None, Some(place)) = (std::env::var_os(variable), installed(place)) {
            command.env(variable, place);
        }
    }
    let output = command.output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = std::fs::read(rows.path()).expect("the rows are there");
    let Ok(Value::Array(rows)) = serde_json::from_slice(&rows) else {
        panic!("no rows: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    (text, rows)
}

fn failed(rows: &[Value]) -> Vec<String> {
    rows.iter()
        .filter(|row| row["state"] == "fail")
        .filter_map(|row| row["name"].as_str().map(String::from))
        .collect()
}

#[test]
fn real_software_is_diagnosed_as_an_expert_would() {
    let (text, rows) = ask(AT_ONCE, &[]);
    println!("{text}");
    let again = failed(&rows);
    if !again.is_empty() {
        let (text, rows) = ask("1", &again);
        assert!(failed(&rows).is_empty(), "wrong twice:\n{text}");
    }
}
