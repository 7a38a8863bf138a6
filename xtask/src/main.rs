//! `cargo xtask TASK`: the repository's tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
