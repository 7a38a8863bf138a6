//! `completions`: a completion script for a shell.

use super::exit::{Exit, Failure};
use super::output::Output;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn execute(args: &Args, mut command: clap::Command, output: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tracer-user", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Success)
}
