//! `cargo xtask TASK`: the repository's own tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
