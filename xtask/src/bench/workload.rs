//! The jobs that are timed: hidden tasks of this program, so that every contender runs the same.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exec::exec;

/// A job.
#[derive(clap::Args)]
pub struct Args {
    kind: Kind,
    count: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Writes of 4 KiB into a pipe that a child drains
    Pipes,
    /// The child
    Drain,
    /// Short processes, one after the other
    Spawns,
    /// Short processes, on every core
    Storm,
}

/// Does the job.
///
/// # Errors
/// When a child cannot be started or fails.
pub fn run(args: &Args) -> Result<()> {
    match args.kind {
        Kind::Pipes => pipes(args.count),
        Kind::Drain => drain(),
        Kind::Spawns => spawns(args.count),
        Kind::Storm => storm(args.count),
    }
}

fn pipes(writes: u32) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?);
    let mut child = child.args(["bench-job", "drain", "0"]).stdin(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    for _ in 0..writes {
        pipe.write_all(&[b'x'; 4096])?;
    }
    drop(pipe);
    let ended = child.wait()?;
    if ended.success() { Ok(()) } else { bail!("the child failed: {ended}") }
}

fn drain() -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; 65_536];
    while input.read(&mut buffer)? != 0 {}
    Ok(())
}

fn spawns(count: u32) -> Result<()> {
    (0..count).try_for_each(|_| exec(&mut Command::new("/bin/true")))
}

fn storm(count: u32) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get() as u32;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(move || spawns(count / cores))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}
