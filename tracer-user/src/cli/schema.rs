//! `schema`: the JSON schemas of what is written.

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::core::record::{SCHEMA_KINDS, schema};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A kind of trace line (header, snapshot, fork, …), or trace, enrollment, summary, index, meta, doctor, preflight, reap; all of them without it
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SCHEMA_KINDS), hide_possible_values = true)]
    kind: Option<String>,
}

/// Prints it.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let kind = args.kind.as_deref().unwrap_or("all");
    let schema = schema(kind).ok_or_else(|| Failure::usage(format!("schema: no such kind: '{kind}'")))?;
    output.json(&schema)?;
    Ok(Exit::Success)
}
