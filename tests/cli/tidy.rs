//! The repository's conventions, as `cargo xtask tidy` checks them.

use std::path::Path;
use std::process::Command;

use crate::support::TRACER;
use crate::support::child::output;

#[test]
fn repository_is_tidy() {
    let help = output(Command::new(TRACER).arg("--help"));
    assert!(help.status.success(), "--help: {}", help.status);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let problems = xtask::tidy::problems(root, &String::from_utf8(help.stdout).unwrap()).unwrap();
    let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(listed.is_empty(), "\n{}", listed.join("\n"));
}
