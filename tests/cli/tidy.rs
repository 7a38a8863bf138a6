//! The rules of the house hold: what `cargo xtask tidy` checks, as a test.

use std::path::Path;
use std::process::Command;

#[test]
fn repository_is_tidy() {
    let help = Command::new(env!("CARGO_BIN_EXE_tracer-user")).arg("--help").output().unwrap();
    assert!(help.status.success(), "--help: {}", help.status);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let problems = xtask::tidy::problems(root, &String::from_utf8(help.stdout).unwrap()).unwrap();
    let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(listed.is_empty(), "\n{}", listed.join("\n"));
}
