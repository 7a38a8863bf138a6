//! Runs what a suite needs before its first test, each for a limited time and in a process group of its own.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::core::readiness::{
    ProbeResult, ReadinessCheck, collection_check, environment_check, import_check,
};
use crate::core::text::ByteString;

/// The end of a program's output that is read, bytes.
const MAX_OUTPUT: u64 = 64 * 1024;
/// Where a checkout has its virtual environment.
const ENVIRONMENTS: [&str; 3] = [".venv", "venv", "env"];

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessOptions {
    /// The interpreter that will run the suite.
    pub python: PathBuf,
    /// These modules have to be importable.
    pub imports: Vec<String>,
    /// The tests have to be collectable.
    pub collect: bool,
    /// The longest time for each check.
    pub limit: Duration,
}

impl Default for ReadinessOptions {
    fn default() -> Self {
        Self {
            python: PathBuf::from("python3"),
            imports: Vec::new(),
            collect: false,
            limit: Duration::from_secs(60),
        }
    }
}

impl ReadinessOptions {
    /// Nothing is to be checked.
    pub fn is_empty(&self) -> bool {
        self.imports.is_empty() && !self.collect
    }
}

/// Runs the checks in the checkout, else in the working directory.
///
/// # Errors
/// When the interpreter cannot be started.
pub fn check(options: &ReadinessOptions, checkout: Option<&Path>) -> io::Result<Vec<ReadinessCheck>> {
    let place = match checkout {
        Some(checkout) => checkout.to_owned(),
        None => std::env::current_dir()?,
    };
    let python = options.python.as_path();
    let name = python.display().to_string();
    let run = |python: &Path, words: &[&str]| probe(python.as_os_str(), words, &place, options.limit);
    let mut checks = Vec::new();
    let environment =
        ENVIRONMENTS.iter().map(|name| place.join(name)).find(|it| it.join("pyvenv.cfg").is_file());
    if let Some(environment) = &environment {
        let prefix = run(python, &["-c", "import sys; print(sys.prefix)"])?;
        let shown = environment.canonicalize().unwrap_or_else(|_| environment.clone());
        checks.push(environment_check(&name, &shown.display().to_string(), &prefix));
    }
    let other = environment.map(|it| it.join("bin/python3")).filter(|other| other.exists());
    for module in &options.imports {
        let words = ["-c", "import importlib, sys; importlib.import_module(sys.argv[1])", module];
        let probe = run(python, &words)?;
        let can = |other: &&PathBuf| run(other, &words).is_ok_and(|probe| probe.exit_code == Some(0));
        let others = other.iter().filter(|_| probe.exit_code != Some(0)).filter(can);
        let others: Vec<_> = others.map(|other| other.display().to_string()).collect();
        checks.push(import_check(&name, module, &probe, &others));
    }
    if options.collect {
        let words = ["-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"];
        checks.push(collection_check(&name, &run(python, &words)?));
    }
    Ok(checks)
}

/// Runs a program. Past the limit its process group is killed.
fn probe(program: &OsStr, words: &[&str], place: &Path, limit: Duration) -> io::Result<ProbeResult> {
    // A file and no pipe: what the program leaves running cannot keep this waiting.
    let output = rustix::fs::memfd_create(c"probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut output = std::fs::File::from(output);
    let mut command = Command::new(program);
    command.args(words).current_dir(place).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command.stdout(output.try_clone()?).stderr(output.try_clone()?).process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    let pid = Pid::from_child(&child);
    let ended = ends_within(pid, limit);
    if !matches!(ended, Ok(true)) {
        // Not reaped yet, so the group is the child's. It may just have ended by itself.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait()?;
    let ended = ended?;
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(size.saturating_sub(MAX_OUTPUT)))?;
    let mut bytes = Vec::new();
    output.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    let exit_code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).filter(|_| ended);
    Ok(ProbeResult { exit_code, timed_out: !ended, output: ByteString(bytes) })
}

fn ends_within(pid: Pid, limit: Duration) -> io::Result<bool> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
