//! Command-line arguments, turned into plain configuration; exit statuses; the only layer that prints.
//!
//! A verb's file holds its `Args` (clap, no I/O) and one function that turns them into the configuration of a
//! session function, calls it, and prints the result. To add a verb: a file with `Args` and `execute`, a
//! variant of [`args::Verb`], a line in [`dispatch`]. Its options are then also read from `TRACER_<NAME>`,
//! and every error becomes one line: see [`parse`] and [`output`].

mod args;
mod attach;
mod complete;
mod completions;
mod diagnose;
mod doctor;
pub mod exit;
mod holders;
mod live_output;
mod man;
mod man_page;
pub mod output;
pub mod parse;
mod preflight;
mod reap;
mod recover;
mod report;
mod report_target;
mod run;
mod schema;
mod session_table;
mod sessions;
mod shared;
mod since;
mod status_line;
mod stderr;
pub mod value;
mod verb_notes;
mod watch;

use std::process::ExitCode;

use self::args::Verb;
use self::exit::{Exit, Failure};
use self::output::Output;

/// The whole program.
pub fn main() -> ExitCode {
    crate::session::survive_file_size_limit();
    // A defect is reported as everything else is: without waiting for a reader.
    std::panic::set_hook(Box::new(|defect| stderr::write(format!("tracer-user: a defect: {defect}\n"))));
    let arguments: Vec<_> = std::env::args_os().collect();
    let mut output = Output::from_environment();
    match complete::answer(|| parse::command(|_| None)) {
        Ok(false) => {}
        Ok(true) => return ExitCode::from(Exit::Success.code()),
        Err(failure) => {
            output.failure(&failure);
            return ExitCode::from(failure.exit.code());
        }
    }
    let exit = match parse::parse(&arguments, |name| std::env::var_os(name)) {
        Ok(cli) => {
            output.set_verbosity(cli.verbose);
            dispatch(cli.verb, &mut output)
        }
        Err(parse::Stop::Help(text)) => output.text(&text).map(|()| Exit::Success),
        Err(parse::Stop::NoVerb(help)) => {
            output.help_on_error(&help);
            Ok(Exit::Usage)
        }
        Err(parse::Stop::Usage(failure)) => Err(failure),
    };
    let exit = exit.and_then(|exit| output.finish().map(|()| exit)).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    stderr::finish();
    ExitCode::from(exit.code())
}

fn dispatch(verb: Verb, output: &mut Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Run(args) => run::execute(*args, output),
        Verb::Attach(args) => attach::execute(*args, output),
        Verb::Holders(args) => holders::execute(&args, output),
        Verb::Preflight(args) => preflight::execute(args, output),
        Verb::Reap(args) => reap::execute(args, output),
        Verb::Doctor(args) => doctor::execute(&args, output),
        Verb::Recover(args) => recover::execute(&args, output),
        Verb::Sessions(args) => sessions::execute(&args, output),
        Verb::Schema(args) => schema::execute(&args, output),
        Verb::Diagnose(args) => diagnose::execute(args, output),
        Verb::Watch(args) => watch::execute(args, output),
        Verb::Completions(args) => completions::execute(&args, output),
        Verb::Man(args) => man::execute(&args, parse::command(|_| None), output),
    }
}
