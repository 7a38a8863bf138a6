//! `cargo xtask faults`: lets system calls of the tool fail, one a run, and counts how the runs end.
//!
//! strace injects the fault: one system call of the main thread fails with an error, any from the first call
//! of `main` to the last. A job under `run` has to end with its own status whatever fails. No run may panic,
//! abort, or wait.

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::exec::probe;
use crate::run;

/// The job's exit status.
const JOB_STATUS: i32 = 7;
/// A run that takes longer waits for something.
const AT_MOST: Duration = Duration::from_secs(30);
/// Calls that are left out: those that end a process or begin a program, those that never fail, and those
/// whose failure is a defect to the C library (`futex`, `brk`) or to Rust's (`close` of a directory).
const NOT_INJECTED: &str =
    "!execve,exit,exit_group,rt_sigreturn,futex,brk,close,getpid,gettid,getuid,geteuid,getgid,getegid";

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// The verbs
    #[arg(long = "verb", value_delimiter = ',', default_value = "run,recover,diagnose,doctor")]
    verbs: Vec<String>,
    /// The errors
    #[arg(long = "error", value_delimiter = ',', default_value = "EMFILE,ENOSPC,EIO,EPERM,ENOMEM")]
    errors: Vec<String>,
    /// Faults per verb and error, evenly spread over all calls
    #[arg(long, default_value_t = 100)]
    samples: usize,
}

/// What came of the faults of one verb.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Calls of the main thread.
    pub calls: usize,
    /// Faults that were injected, one a run.
    pub faults: u32,
    /// Runs by how they ended.
    pub outcomes: BTreeMap<String, u32>,
    /// The runs that lost the job's status, panicked, aborted or waited; a line each.
    pub bad: Vec<String>,
}

/// Sweeps the faults.
///
/// # Errors
/// When strace is missing, or when a run lost the job's status, panicked or waited.
pub fn run(args: &Args) -> Result<()> {
    let tool = run::build_quickly()?;
    let mut bad = Vec::new();
    println!("{:<10} {:<8} {:>6} {:>6}  outcomes (status: runs)", "verb", "error", "calls", "faults");
    for verb in &args.verbs {
        for error in &args.errors {
            let Sweep { calls, faults, outcomes, bad: found } = sweep(&tool, verb, error, args.samples)?;
            let outcomes: Vec<String> = outcomes.iter().map(|(end, runs)| format!("{end}: {runs}")).collect();
            println!("{verb:<10} {error:<8} {calls:>6} {faults:>6}  {}", outcomes.join(", "));
            bad.extend(found);
        }
    }
    if !bad.is_empty() {
        bail!("statuses were lost, or runs broke:\n{}", bad.join("\n"));
    }
    Ok(())
}

/// Lets about `samples` calls of a verb fail with an error, one a run.
///
/// # Errors
/// When strace is missing or cannot trace the tool.
pub fn sweep(tool: &Path, verb: &str, error: &str, samples: usize) -> Result<Sweep> {
    probe(Command::new("strace").arg("-V")).context("strace is not installed")?;
    let calls = calls(tool, verb)?;
    let mut sweep = Sweep { calls: calls.len(), ..Sweep::default() };
    let step = (calls.len() / samples.max(1)).max(1);
    for (name, at) in calls.iter().step_by(step) {
        let (outcome, call) = faulty(tool, verb, error, name, *at)?;
        sweep.faults += 1;
        let lost = verb == "run" && outcome != JOB_STATUS.to_string();
        let broken = ["101", "134", "signal 6", "signal 11", "waits"].contains(&outcome.as_str());
        if lost || broken {
            sweep.bad.push(format!("{verb}: {call} fails with {error} ({name} {at}): ends with {outcome}"));
        }
        *sweep.outcomes.entry(outcome).or_default() += 1;
    }
    Ok(sweep)
}

fn words(verb: &str) -> Vec<String> {
    let words = match verb {
        "run" => format!("run --quiet -- sh -c,exit {JOB_STATUS}"),
        "diagnose" => format!("diagnose --quiet-window 10ms --pid {}", std::process::id()),
        "recover" => "recover --min-age 0s".to_owned(),
        other => other.to_owned(),
    };
    let (words, script) = words.split_once(',').unwrap_or((&words, ""));
    let script = (!script.is_empty()).then(|| script.to_owned());
    words.split(' ').map(str::to_owned).chain(script).collect()
}

fn command(tool: &Path, verb: &str, place: &Path, options: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.arg("-o").arg(place.join("calls")).args(options).arg("--").arg(tool).args(words(verb));
    command.env("TRACER_TRACE_DIR", place).env("TRACER_LOG_DIR", place.join("log"));
    // With its job, it ends as a group.
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The calls of the main thread from the beginning of `main` on: the name of each, and which call of that
/// name it is, from 1. Before `main` the loader and the runtime make calls. The first thing that `main` does
/// is to ignore SIGXFSZ.
fn calls(tool: &Path, verb: &str) -> Result<Vec<(String, usize)>> {
    let place = tempfile::tempdir()?;
    let options = ["-e".to_owned(), format!("trace={NOT_INJECTED}")];
    command(tool, verb, place.path(), &options).status().context("cannot start strace")?;
    let text = std::fs::read_to_string(place.path().join("calls"))?;
    let (mut calls, mut begun) = (Vec::new(), false);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name).or_default();
        *count += 1;
        if begun {
            calls.push((name.to_owned(), *count));
        }
        begun |= rest.contains("SIGXFSZ") && rest.contains("SIG_IGN");
    }
    anyhow::ensure!(!calls.is_empty(), "strace shows no beginning of main");
    Ok(calls)
}

/// How a run ends in which one call fails, and which call that is.
fn faulty(tool: &Path, verb: &str, error: &str, name: &str, at: usize) -> Result<(String, String)> {
    let place = tempfile::tempdir()?;
    let options = [
        "-e".to_owned(),
        format!("trace={NOT_INJECTED}"),
        "-e".to_owned(),
        format!("inject={name}:error={error}:when={at}"),
    ];
    let mut child = command(tool, verb, place.path(), &options).spawn().context("cannot start strace")?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > AT_MOST {
            if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
            }
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let outcome = match status {
        None => "waits".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => code.to_string(),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        },
    };
    let text = std::fs::read_to_string(place.path().join("calls")).unwrap_or_default();
    let call = text.lines().find(|line| line.contains("INJECTED")).unwrap_or("a call");
    Ok((outcome, call.chars().take(90).collect()))
}
