//! `schema`: prints the JSON schemas of everything that is written.

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::core::schema::{SchemaKind, schema};
use strum::VariantNames as _;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A kind of trace line (header, snapshot, fork, …), or trace, enrollment, summary, index, meta,
    /// diagnose, evidence, doctor, preflight, reap; all of them without it
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SchemaKind::VARIANTS), hide_possible_values = true)]
    kind: Option<String>,
}

/// Prints the schema.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let kind = args.kind.as_deref().unwrap_or("all");
    let kind =
        kind.parse::<SchemaKind>().map_err(|_| Failure::usage(format!("schema: no such kind: '{kind}'")))?;
    output.json(&schema(kind))?;
    Ok(Exit::Success)
}
