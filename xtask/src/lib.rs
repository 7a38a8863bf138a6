//! The repository's own tasks, a file a task. `main` is a flat match.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tasks are for people at a terminal")]

pub mod build_ebpf;
pub mod exec;
pub mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The repository's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the kernel programs and writes the object that is committed and embedded
    BuildEbpf(build_ebpf::Args),
}

/// Runs the task that was named on the command line; a failure is one line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::BuildEbpf(args) => build_ebpf::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
