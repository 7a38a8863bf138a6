//! `schema`: prints the JSON schemas of everything that is written.

use clap::builder::{PossibleValue, PossibleValuesParser};

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::session::schema;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A kind of trace line (header, snapshot, fork and others), a file (trace, enrollment, summary, index,
    /// meta, evidence), or what a verb prints with --format json (diagnose, doctor, preflight, reap, holders,
    /// recover, list, show, export, prune); all of them without it
    #[arg(value_parser = PossibleValuesParser::new(schema::names().map(PossibleValue::new)), hide_possible_values = true)]
    kind: Option<String>,
}

/// Prints the schema.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let kind = args.kind.as_deref().unwrap_or("all");
    let found =
        schema::named(kind).ok_or_else(|| Failure::usage(format!("schema: no such kind: '{kind}'")))?;
    output.json(&found)?;
    Ok(Exit::Success)
}
