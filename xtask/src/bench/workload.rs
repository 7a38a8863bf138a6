//! The timed workloads: an internal task of this program, so that every contender runs the same job.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exec::exec;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    kind: Kind,
    count: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Writes of 4 KiB into a pipe that a child drains
    Pipes,
    /// The child of `pipes`
    Drain,
    /// Short-lived processes, one after the other
    Spawns,
    /// Short-lived processes, on every core
    Storm,
    /// One byte to a child and back
    PingPong,
    /// The child of `ping-pong`
    Echo,
    /// Idle processes with many fds
    Crowd,
    /// One process of `crowd`
    Member,
}

/// Environment variable with the file into which the job writes its duration in milliseconds.
pub const TOOK: &str = "TRACER_BENCH_TOOK";

/// Runs the workload. A writer and its reader share one CPU, because where the scheduler places the two makes
/// a larger difference than what is measured here.
///
/// # Errors
/// When a child cannot be started or fails.
pub fn run(args: &Args) -> Result<()> {
    if matches!(args.kind, Kind::Pipes | Kind::PingPong) {
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        rustix::thread::sched_setaffinity(None, &one)?;
    }
    let began = std::time::Instant::now();
    let done = work(args);
    if let Some(place) = std::env::var_os(TOOK).filter(|_| !matches!(args.kind, Kind::Drain | Kind::Echo)) {
        std::fs::write(place, (began.elapsed().as_secs_f64() * 1000.0).to_string())?;
    }
    done
}

fn work(args: &Args) -> Result<()> {
    match args.kind {
        Kind::Pipes => pipes(args.count),
        Kind::Drain => drain(),
        Kind::Spawns => spawns(args.count),
        Kind::Storm => storm(args.count),
        Kind::PingPong => ping_pong(args.count),
        Kind::Echo => echo(),
        Kind::Crowd => crowd(args.count),
        Kind::Member => member(args.count),
    }
}

fn pipes(writes: u32) -> Result<()> {
    let mut child = this("drain", 0)?.stdin(Stdio::piped()).spawn()?;
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

fn ping_pong(rounds: u32) -> Result<()> {
    let mut child = this("echo", 0)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut to = child.stdin.take().context("no pipe")?;
    let mut from = child.stdout.take().context("no pipe")?;
    for _ in 0..rounds {
        to.write_all(b"x")?;
        from.read_exact(&mut [0])?;
    }
    drop(to);
    let ended = child.wait()?;
    if ended.success() { Ok(()) } else { bail!("the child failed: {ended}") }
}

fn echo() -> Result<()> {
    let (mut input, mut output) =
        (std::io::stdin().lock(), File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    let mut byte = [0];
    while input.read(&mut byte)? != 0 {
        output.write_all(&byte)?;
    }
    Ok(())
}

/// Starts the members, prints `ready`, and idles.
fn crowd(members: u32) -> Result<()> {
    for _ in 0..members {
        // Not waited for: they end with this process.
        let mut child = this("member", 10)?.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        child.stdout.take().context("no pipe")?.read_exact(&mut [0])?;
    }
    println!("ready");
    idle()
}

fn member(pipes: u32) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let _pipes = (0..pipes).map(|_| std::io::pipe()).collect::<std::io::Result<Vec<_>>>()?;
    println!(".");
    idle()
}

fn idle() -> Result<()> {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1_000_000));
    }
}

fn this(kind: &str, count: u32) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench-job", kind, &count.to_string()]);
    Ok(command)
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
