//! The repository's tasks, one file per task. `main` is a flat match.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tasks print to a terminal")]

pub mod bench;
pub mod build_ebpf;
pub mod demo;
pub mod dist;
pub mod exec;
pub mod faults;
pub mod field;
pub mod fuzz;
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
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The repository's tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure the overhead of tracing, compared with other tools
    Bench(bench::Args),
    /// (internal) A timed workload of `bench`
    #[command(hide = true)]
    BenchJob(bench::workload::Args),
    /// Build the kernel programs and write the object that is committed and embedded
    BuildEbpf(build_ebpf::Args),
    /// Run a program that hangs, under the tool
    Demo(demo::Args),
    /// (internal) The parent of `demo`
    #[command(hide = true)]
    DemoParent,
    /// (internal) The child of `demo`
    #[command(hide = true)]
    DemoChild,
    /// Build static binaries, archives and packages
    Dist(dist::Args),
    /// Let system calls of the tool fail, one a run, and count how the runs end
    Faults(faults::Args),
    /// Compare the tool's diagnoses of real software that hangs with the truth
    Field(field::Args),
    /// Feed every parser and the diagnosis with mutated inputs
    Fuzz(fuzz::Args),
    /// (internal) Run one test program with a time limit
    #[command(hide = true)]
    Guard(guard::Args),
    /// Build the tool for release and run it, through sudo when not root
    Run(run::Args),
    /// Install what this machine lacks to build the kernel programs
    Setup,
    /// Run every check and every test, including the privileged ones
    Test(test::Args),
    /// Check repository conventions
    Tidy,
    /// Run the privileged tests on Debian's kernels in virtual machines
    Vm(vm::Args),
}

/// Runs the task named on the command line. A failure prints one line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::BenchJob(args) => bench::workload::run(&args),
        Task::BuildEbpf(args) => build_ebpf::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::DemoParent => demo::parent(),
        Task::DemoChild => demo::child(),
        Task::Dist(args) => dist::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Field(args) => field::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
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
