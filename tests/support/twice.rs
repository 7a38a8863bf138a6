//! A whole suite, twice at once on one machine, with all that the two share by default.

use std::process::{Child, Command, Stdio};

/// Runs every test of this program in two processes at once, started by `start`, but the one that calls this.
///
/// # Panics
/// When a test of either fails, with what it said.
#[track_caller]
pub fn twice(caller: &str, start: impl Fn(&mut Command) -> std::io::Result<Child>) {
    let me = std::env::current_exe().expect("this program");
    let suites: Vec<Child> = (0..2)
        .map(|_| {
            let mut suite = Command::new(&me);
            suite.args(["--exact", "--skip", caller, "--test-threads", "4"]);
            suite.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            start(&mut suite).expect("starts")
        })
        .collect();
    for suite in suites {
        let output = suite.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            said.contains("1 filtered out") && !said.contains(" 0 passed"),
            "not the whole suite: {said}"
        );
    }
}
