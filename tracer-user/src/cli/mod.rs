//! What was typed, turned into plain configuration; exit statuses; the only place that prints.
//!
//! Two stages. A verb's file holds its `Args`, which is what was typed (clap, no I/O), and one function that
//! turns it into the plain configuration of a session function, calls that, and prints what it gives. To add a
//! verb: a file with `Args` and `execute`, a variant of [`Verb`], a line in [`dispatch`]. Every option of it
//! is then read from `TRACER_<NAME>` too, and every error becomes one line: see [`typed`] and [`output`].

mod attach;
mod completions;
mod diagnose;
mod doctor;
pub mod exit;
mod live;
mod man;
pub mod output;
mod preflight;
mod reap;
mod recover;
mod report;
mod run;
mod schema;
mod sessions;
mod shared;
mod status_line;
pub mod typed;
pub mod value;

use std::process::ExitCode;

use self::exit::{Exit, Failure};
use self::output::Output;

/// What was typed.
#[derive(clap::Parser, Debug)]
#[command(
    name = "tracer-user",
    bin_name = "tracer-user",
    version,
    about,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "Every option can also be given in the environment, as TRACER_ and its name: TRACER_TRACE_DIR for --trace-dir."
)]
pub struct Typed {
    /// Say more on standard error; twice adds the kernel side's own log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do: only what works.
#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Trace a command and all it starts until it ends
    Run(Box<run::Args>),
    /// Trace a tree of processes that runs already
    Attach(Box<attach::Args>),
    /// Say what earlier runs left behind that would break the next
    Preflight(preflight::Args),
    /// End what earlier runs left behind, and only that
    Reap(reap::Args),
    /// Say what of this machine works, what does not, and what to do about it
    Doctor(doctor::Args),
    /// Finish the sessions whose tracer died
    Recover(recover::Args),
    /// List, show and export recorded sessions
    Sessions(sessions::Args),
    /// Print the JSON schema of what is written
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
    let exit = match typed::parse(&arguments, |name| std::env::var_os(name)) {
        Ok(typed) => {
            output.set_verbosity(typed.verbose);
            dispatch(typed.verb, &mut output)
        }
        Err(typed::Refused::Help(text)) => output.text(&text).map(|()| Exit::Success),
        Err(typed::Refused::Usage(failure)) => Err(failure),
    };
    let exit = exit.and_then(|exit| output.finish().map(|()| exit)).unwrap_or_else(|failure| {
        output.complain(&failure);
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
