//! Modules of this program, run twice at once on one machine with all that the two runs share by default.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::child::TestChild;

/// The modules.
const MODULES: [&str; 4] = ["autoskillit::", "kernel::", "races::", "store::"];

/// Longer than they take next to another run on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the modules. Their output goes into a file: a pipe has no end while a process lives that a failed
/// test has left.
fn start() -> (TestChild, tempfile::NamedTempFile) {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let copy = || Stdio::from(output.as_file().try_clone().expect("dup"));
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(MODULES).args(["--test-threads", "4"]);
    command.stdin(Stdio::null()).stdout(copy()).stderr(copy());
    // A run that is killed leaves children, which are in its group.
    (TestChild::leading_group(command), output)
}

#[test]
fn modules_run_twice_at_once() {
    for (mut run, output) in [start(), start()] {
        let status = run.wait_within(PATIENCE);
        let output = std::fs::read_to_string(output.path()).expect("read");
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {output}");
        for module in MODULES {
            assert!(output.contains(&format!("test {module}")), "{module} did not run: {output}");
        }
    }
}
