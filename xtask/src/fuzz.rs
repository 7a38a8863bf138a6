//! `cargo xtask fuzz`: feeds every parser and the diagnosis with mutated inputs.
//!
//! The targets are the tests of `tests/recover/fuzz.rs`, which each run for a moment in the test suite.

use anyhow::Result;

use crate::exec::exec;
use crate::workspace::cargo;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Only the targets whose name contains this
    target: Option<String>,
    /// How long each target is fed
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// Repeat the run with this seed, which a failure names
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

/// Runs the targets, one after the other, and prints how many inputs each took.
///
/// # Errors
/// When a target panics or takes too long.
pub fn run(args: &Args) -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--package=tracer-user", "--test=recover", "--"]);
    tests.arg(format!("fuzz::{}", args.target.as_deref().unwrap_or_default()));
    tests.args(["--nocapture", "--test-threads=1"]);
    tests.env("TRACER_FUZZ_SECONDS", args.seconds.to_string());
    tests.envs(args.seed.map(|seed| ("TRACER_FUZZ_SEED", seed.to_string())));
    exec(&mut tests)
}
