//! The command line: global options and the list of verbs.

use super::{
    attach, completions, diagnose, doctor, holders, man, preflight, reap, recover, run, schema, sessions,
    watch,
};

/// The command line.
#[derive(clap::Parser, Debug)]
#[command(
    name = "tracer-user",
    bin_name = "tracer-user",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Every option can also be set in the environment, as TRACER_ and its name: TRACER_TRACE_DIR for --trace-dir. Only what `reap` ends and removes is given on the command line alone."
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
    /// Show who holds the other end of a descriptor, a file, a socket or a port
    Holders(holders::Args),
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
    /// Show what each process of a job waits for, drawn once a second
    Watch(watch::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print a manual page, or write all of them
    Man(man::Args),
}
