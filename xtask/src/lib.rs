//! The repository's own tasks, a file a task. `main` is a flat match.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tasks are for people at a terminal")]

pub mod bench;
pub mod build_ebpf;
pub mod demo;
pub mod exec;
pub mod field;
pub mod guard;
pub mod run;
pub mod setup;
pub mod test;
pub mod tidy;
pub mod vm;
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
    /// Measures what tracing costs, against other tools
    Bench(bench::Args),
    /// A job that is timed
    #[command(hide = true)]
    BenchJob(bench::workload::Args),
    /// Builds the kernel programs and writes the object that is committed and embedded
    BuildEbpf(build_ebpf::Args),
    /// Shows the tool on a bundled program that hangs
    Demo(demo::Args),
    /// The bundled program
    #[command(hide = true)]
    DemoParent,
    /// Its child
    #[command(hide = true)]
    DemoChild,
    /// Compares the tool's diagnosis of real software that hangs with the truth
    Field(field::Args),
    /// One test program, which may take only so long
    #[command(hide = true)]
    Guard(guard::Args),
    /// Builds the tool for release and runs it, through sudo when not root
    Run(run::Args),
    /// Gets what this machine lacks to build the kernel programs
    Setup,
    /// Runs every check and every test, privileged ones included
    Test(test::Args),
    /// Checks the rules of the house
    Tidy,
    /// Runs the privileged tests in virtual machines of Debian's kernels
    Vm(vm::Args),
}

/// Runs the task that was named on the command line; a failure is one line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::BenchJob(args) => bench::workload::run(&args),
        Task::BuildEbpf(args) => build_ebpf::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::DemoParent => demo::parent(),
        Task::DemoChild => demo::child(),
        Task::Field(args) => field::run(&args),
        Task::Guard(args) => guard::run(&args),
        Task::Run(args) => run::run(&args),
        Task::Setup => setup::run(),
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(),
        Task::Vm(args) => vm::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
