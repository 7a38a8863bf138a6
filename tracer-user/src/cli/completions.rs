//! `completions`: a completion script for a shell.

use super::exit::{Exit, Failure};
use super::output::Output;
use super::parse;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parse::command(|_| None), "tracer-user", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Success)
}
