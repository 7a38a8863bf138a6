//! Command-line arguments, turned into plain configuration; exit statuses; the only layer that prints.
//!
//! A verb's file holds its `Args` (clap, no I/O) and one function that turns them into the configuration of a
//! session function, calls it, and prints the result. To add a verb: a file with `Args` and `execute`, a variant
//! of [`Verb`], a line in [`dispatch`]. Its options are then also read from `TRACER_<NAME>`, and every error
//! becomes one line: see [`parse`] and [`output`].

mod attach;
mod completions;
mod diagnose;
mod doctor;
pub mod exit;
mod live_output;
mod man;
pub mod output;
pub mod parse;
mod preflight;
mod reap;
mod recover;
mod report;
mod report_target;
mod run;
mod schema;
mod sessions;
mod shared;
mod status_line;
pub mod value;

use std::process::ExitCode;

use self::exit::{Exit, Failure};
use self::output::Output;

/// The command line.
#[derive(clap::Parser, Debug)]
#[command(
    name = "tracer-user",
    bin_name = "tracer-user",
    version,
    about,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "Every option can also be set in the environment, as TRACER_ and its name: TRACER_TRACE_DIR for --trace-dir."
)]
pub struct Cli {
    /// Print more on standard error; twice adds the log of the kernel programs
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Trace a command and everything it starts, until it ends
    Run(Box<run::Args>),
    /// Trace a process tree that is already running
    Attach(Box<attach::Args>),
    /// Report what earlier runs left behind that would break the next
    Preflight(preflight::Args),
    /// End what earlier runs left behind, and nothing else
    Reap(reap::Args),
    /// Check this machine: what works, what does not, and what to do about it
    Doctor(doctor::Args),
    /// Finish the sessions whose tracer died
    Recover(recover::Args),
    /// List, show and export recorded sessions
    Sessions(sessions::Args),
    /// Print the JSON schema of what the tool writes
    Schema(schema::Args),
    /// Explain what hangs now
    Diagnose(diagnose::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let mut output = Output::from_environment();
    let exit = match parse::parse(&arguments, |name| std::env::var_os(name)) {
        Ok(cli) => {
            output.set_verbosity(cli.verbose);
            dispatch(cli.verb, &mut output)
        }
        Err(parse::Stop::Help(text)) => output.text(&text).map(|()| Exit::Success),
        Err(parse::Stop::Usage(failure)) => Err(failure),
    };
    let exit = exit.and_then(|exit| output.finish().map(|()| exit)).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

fn dispatch(verb: Verb, output: &mut Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Run(args) => run::execute(*args, output),
        Verb::Attach(args) => attach::execute(*args, output),
        Verb::Preflight(args) => preflight::execute(args, output),
        Verb::Reap(args) => reap::execute(args, output),
        Verb::Doctor(args) => doctor::execute(&args, output),
        Verb::Recover(args) => recover::execute(&args, output),
        Verb::Sessions(args) => sessions::execute(&args, output),
        Verb::Schema(args) => schema::execute(&args, output),
        Verb::Diagnose(args) => diagnose::execute(args, output),
        Verb::Completions(args) => completions::execute(&args, output),
        Verb::Man(args) => man::execute(&args, output),
    }
}
