//! `man`: the manual page, for `tracer-user man | man -l -`.

use super::exit::{Exit, Failure};
use super::output::Output;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The verb to print the page of [default: the program's page]
    verb: Option<String>,
}

/// Prints the page.
pub fn execute(args: &Args, mut command: clap::Command, output: &mut Output) -> Result<Exit, Failure> {
    command.build();
    if let Some(verb) = &args.verb {
        let page = command.find_subcommand(verb).cloned();
        command = page.ok_or_else(|| {
            Failure::usage(format!("man: no such verb: '{verb}': try 'tracer-user --help'"))
        })?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("cannot write the manual page: {error}")))?;
    output.bytes(&page)?;
    Ok(Exit::Success)
}
