//! What was typed, turned into plain configuration; exit statuses; the only place that prints.

use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
