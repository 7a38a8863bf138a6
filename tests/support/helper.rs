//! The helper program, whose sources are in `tests/helpers`: the processes that tests trace.

use std::process::Command;

use super::child::TestChild;

/// The program.
pub const HELPER: &str = env!("CARGO_BIN_EXE_test-helper");

/// The program as the helper of this name.
pub fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(HELPER);
    command.arg(name).args(arguments);
    command
}

/// Starts a helper that begins its work when it receives a line, such as that of [`TestChild::go`].
pub fn held(name: &str, arguments: &[&str]) -> TestChild {
    let mut command = Command::new(HELPER);
    command.args(["--held", name]).args(arguments);
    TestChild::with_pipes(command)
}
