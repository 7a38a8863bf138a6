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

/// A row of the table of races names the tests that show it.
#[test]
fn the_races_in_the_documentation_have_their_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/traces.md")).unwrap();
    let modules = ["faults", "many", "races"].map(|module| root.join(format!("tests/recover/{module}.rs")));
    let sources = modules.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let is_race = |line: &&str| line.starts_with("| R") || line.starts_with("| B");
    let rows: Vec<&str> = page.lines().filter(is_race).collect();
    assert!(rows.len() >= 19, "{rows:?}");
    for row in rows {
        let cell = row.split('|').nth(2).unwrap();
        let tests: Vec<&str> = cell.split('`').filter(|word| word.contains('_')).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            assert!(sources.contains(&format!("#[test]\nfn {test}()")), "no test {test}");
        }
    }
}
