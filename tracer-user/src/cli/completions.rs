//! `completions`: a completion script for a shell.

use super::complete;
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
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let script = complete::script(args.shell)
        .map_err(|error| Failure::failed(format!("cannot write the completion script: {error}")))?;
    output.bytes(&script)?;
    Ok(Exit::Success)
}
