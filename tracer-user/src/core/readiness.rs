//! Whether a test suite can start at all: its interpreter, its environment, its imports, its collection.

use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessKind {
    /// The interpreter runs.
    Interpreter,
    /// The interpreter is the one of the checkout's virtual environment.
    Environment,
    /// A module can be imported.
    Import,
    /// The suite's tests can be collected.
    Collection,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    /// The suite can start, as far as this goes.
    Ready,
    /// It fails before its first test.
    Broken,
    /// The check did not end in time.
    Unknown,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessCheck {
    /// What was checked.
    pub check: ReadinessKind,
    /// The result.
    pub status: ReadinessStatus,
    /// The result in a sentence.
    pub sentence: String,
}

/// How a program ended that was run for a check, and the end of what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// Its exit code; `None` when it did not exit by itself, or not in time.
    pub exit_code: Option<i32>,
    /// It was ended because it took too long.
    pub timed_out: bool,
    /// The end of its output.
    pub output: ByteString,
}

/// Exit statuses of pytest with which a suite can start: all collected, and no tests found.
const COLLECTED: [i32; 2] = [0, 5];

/// Judges an import of a module by an interpreter. `others` are interpreters that can import it.
pub fn import_check(
    interpreter: &str,
    module: &str,
    probe: &ProbeResult,
    others: &[String],
) -> ReadinessCheck {
    let what = format!("{interpreter}: import {module}");
    check(ReadinessKind::Import, &what, probe, probe.exit_code == Some(0), &|| {
        let reason = last_line(&probe.output);
        match others.first() {
            Some(other) => format!("{reason}; {other} can: run the suite with it"),
            None => format!("{reason}; install it for this interpreter"),
        }
    })
}

/// Judges a collection of the suite's tests.
pub fn collection_check(interpreter: &str, probe: &ProbeResult) -> ReadinessCheck {
    let what = format!("{interpreter}: collecting the tests");
    let passed = probe.exit_code.is_some_and(|code| COLLECTED.contains(&code));
    check(ReadinessKind::Collection, &what, probe, passed, &|| {
        let text = probe.output.printable_lines();
        let errors: Vec<_> = text.iter().filter(|line| line.starts_with("ERROR ")).take(5).cloned().collect();
        if errors.is_empty() { last_line(&probe.output) } else { errors.join("; ") }
    })
}

/// Judges whether the interpreter is the one of the checkout's virtual environment. It printed its prefix.
pub fn environment_check(interpreter: &str, environment: &str, probe: &ProbeResult) -> ReadinessCheck {
    if probe.exit_code != Some(0) {
        return check(ReadinessKind::Interpreter, interpreter, probe, false, &|| last_line(&probe.output));
    }
    let prefix = last_line(&probe.output);
    check(ReadinessKind::Environment, interpreter, probe, prefix == environment, &|| {
        format!("it runs in {prefix}, and this checkout has {environment}: activate that")
    })
}

fn check(
    kind: ReadinessKind,
    what: &str,
    probe: &ProbeResult,
    passed: bool,
    reason: &dyn Fn() -> String,
) -> ReadinessCheck {
    let (status, sentence) = if probe.timed_out {
        (ReadinessStatus::Unknown, format!("{what}: did not end in time"))
    } else if passed {
        (ReadinessStatus::Ready, format!("{what}: works"))
    } else {
        (ReadinessStatus::Broken, format!("{what}: {}", reason()))
    };
    ReadinessCheck { check: kind, status, sentence }
}

fn last_line(output: &ByteString) -> String {
    output.printable_lines().pop().unwrap_or_else(|| "it printed nothing".to_owned())
}

impl ByteString {
    /// The lines that are not empty, printable.
    fn printable_lines(&self) -> Vec<String> {
        let lines =
            self.0.split(|byte| *byte == b'\n').map(|line| Self(line.trim_ascii().to_vec()).printable());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: Option<i32>, output: &str) -> ProbeResult {
        ProbeResult { exit_code, timed_out: false, output: output.into() }
    }

    #[test]
    fn an_import_that_fails_names_the_error_and_who_can() {
        let failed = probe(Some(1), "Traceback\nModuleNotFoundError: No module named 'x'\n");
        let check = import_check("python3", "x", &failed, &[".venv/bin/python3".to_owned()]);
        assert_eq!(check.status, ReadinessStatus::Broken);
        assert_eq!(
            check.sentence,
            "python3: import x: ModuleNotFoundError: No module named 'x'; .venv/bin/python3 can: run the suite with it"
        );
        assert_eq!(import_check("python3", "x", &probe(Some(0), ""), &[]).status, ReadinessStatus::Ready);
        let slow = ProbeResult { timed_out: true, ..probe(None, "") };
        assert_eq!(import_check("python3", "x", &slow, &[]).status, ReadinessStatus::Unknown);
    }

    #[test]
    fn a_collection_without_tests_is_none_that_fails() {
        for (code, status) in
            [(0, ReadinessStatus::Ready), (5, ReadinessStatus::Ready), (2, ReadinessStatus::Broken)]
        {
            assert_eq!(
                collection_check("p", &probe(Some(code), "x\nERROR test_a.py - boom\n")).status,
                status
            );
        }
        let check = collection_check("p", &probe(Some(2), "x\nERROR test_a.py - boom\n1 error in 0.1s"));
        assert!(check.sentence.ends_with("ERROR test_a.py - boom"), "{}", check.sentence);
    }
}
