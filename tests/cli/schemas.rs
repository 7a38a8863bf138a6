//! The JSON documents of the program against the schemas that it prints.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::TRACER;
use crate::support::child::output;

/// The schema of this kind, ready to check documents.
fn validator(kind: &str) -> jsonschema::Validator {
    let printed = output(Command::new(TRACER).args(["schema", kind]));
    assert!(printed.status.success(), "{printed:?}");
    let schema: Value = serde_json::from_slice(&printed.stdout).expect("a schema is JSON");
    jsonschema::validator_for(&schema).expect("a valid schema")
}

#[track_caller]
fn conforms(kind: &str, document: &Value) {
    let errors: Vec<String> = validator(kind)
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{kind}: {errors:#?}");
}

/// A shell and its child that writes more than the pipe to the test holds, until the test drops it.
struct Hung(Child);

impl Hung {
    fn start() -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "head -c 200000 /dev/zero; :"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        // A first byte: the writer has begun.
        let mut first = [0];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("a byte");
        Self(child)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Without a reader the writer ends by SIGPIPE, and the shell after it.
        drop(self.0.stdout.take());
        drop(self.0.wait());
    }
}

fn diagnose(options: &[&str], input: &[u8]) -> Value {
    let mut child = Command::new(TRACER)
        .arg("diagnose")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("written");
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn evidence_and_the_diagnosis_of_it_pass_their_schemas() {
    let hung = Hung::start();
    let pid = hung.0.id().to_string();
    let evidence = diagnose(&["--pid", &pid, "--format", "evidence"], b"");
    conforms("evidence", &evidence);
    let threads = evidence["processes"].as_array().expect("processes").iter().map(|one| &one["threads"]);
    assert!(threads.clone().count() > 1, "{evidence}");
    let diagnosis = diagnose(&["--from", "-", "--format", "json"], evidence.to_string().as_bytes());
    conforms("diagnose", &diagnosis);
    assert!(!diagnosis["waits"]["processes"].as_array().expect("a wait tree").is_empty(), "{diagnosis}");
}

#[test]
fn a_document_of_another_shape_does_not_pass() {
    let hung = Hung::start();
    let mut evidence = diagnose(&["--pid", &hung.0.id().to_string(), "--format", "evidence"], b"");
    evidence["processes"][0]["id"]["tgid"] = "1".into();
    assert!(!validator("evidence").is_valid(&evidence));
    let mut diagnosis = diagnose(&["--pid", &hung.0.id().to_string(), "--format", "json"], b"");
    assert!(validator("diagnose").is_valid(&diagnosis));
    diagnosis["verdict"] = "stuck".into();
    assert!(!validator("diagnose").is_valid(&diagnosis));
}
