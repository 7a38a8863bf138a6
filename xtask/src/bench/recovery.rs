//! The time to finish many dead sessions, and to list many finished ones.
//!
//! The dead sessions are copies of a real one whose tracer is killed, with another root and another id.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::context::Bench;
use crate::exec::exec;

/// The first of the pids of the copies. They are above the largest pid of Linux (2^22), so no process has
/// them.
const UNUSED_PID: u64 = 0x0040_0001;
/// Numbers of sessions finished in one sweep.
const DEAD: [u64; 3] = [2_500, 5_000, 10_000];
/// Number of rows in the listed log.
const ROWS: usize = 100_000;

/// `recover` of many dead sessions.
///
/// # Errors
/// When the tool fails or does not finish all of them.
pub fn recover(bench: &Bench) -> Result<Vec<String>> {
    let session = DeadSession::make(bench)?;
    let mut lines = Vec::new();
    for count in DEAD {
        let place = tempfile::tempdir_in(bench.place.path())?;
        session.copy(place.path(), count)?;
        let began = Instant::now();
        finish(bench, place.path())?;
        let took = began.elapsed().as_secs_f64();
        let rows = fs::read(place.path().join("log/sessions.jsonl"))?;
        let finished = rows.iter().filter(|byte| **byte == b'\n').count();
        ensure!(finished as u64 == count, "{finished} of {count} sessions were finished");
        let each = took * 1000.0 / count as f64;
        lines.push(format!("{count:>6} sessions in {took:.2} s, {each:.3} ms each"));
    }
    Ok(lines)
}

/// `sessions list` of a large log.
///
/// # Errors
/// When the tool fails.
pub fn listing(bench: &Bench) -> Result<Vec<String>> {
    let place = tempfile::tempdir_in(bench.place.path())?;
    DeadSession::make(bench)?.copy(place.path(), 1)?;
    finish(bench, place.path())?;
    let log = place.path().join("log");
    let index = log.join("sessions.jsonl");
    let row = fs::read_to_string(&index)?;
    fs::write(&index, row.repeat(ROWS))?;
    let mut lines = Vec::new();
    for format in ["text", "json"] {
        let began = Instant::now();
        let mut list = Command::new(&bench.tool);
        list.args(["sessions", "list", "--format", format, "--log-dir"]).arg(&log);
        exec(list.stdout(Stdio::null()))?;
        lines.push(format!(
            "{ROWS} rows of {} bytes as {format} in {:.2} s",
            row.len(),
            began.elapsed().as_secs_f64()
        ));
    }
    Ok(lines)
}

fn finish(bench: &Bench, place: &Path) -> Result<()> {
    let mut recover = Command::new(&bench.tool);
    recover.args(["recover", "--no-kernel", "--min-age", "0s", "--max-sessions", "1000000", "--trace-dir"]);
    recover.arg(place).arg("--log-dir").arg(place.join("log"));
    exec(recover.stdout(Stdio::null()))
}

/// The files of a session whose tracer was killed.
struct DeadSession {
    sidecar: Value,
    trace: String,
}

impl DeadSession {
    fn make(bench: &Bench) -> Result<Self> {
        let place = tempfile::tempdir_in(bench.place.path())?;
        let mut run = Command::new(&bench.tool);
        run.args(["run", "--no-kernel", "--quiet", "--interval", "100ms", "--trace-dir"]).arg(place.path());
        run.arg("--log-dir").arg(place.path().join("log")).args(["--", "cat"]);
        let mut tracer = run.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let made = wait_for_samples(place.path());
        tracer.kill()?;
        // The job ends at the end of its input, when the write end is dropped.
        tracer.wait()?;
        made
    }

    /// Writes `count` copies of the session below `place`.
    fn copy(&self, place: &Path, count: u64) -> Result<()> {
        let directory = traces(place);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let field = |name: &str| self.sidecar[name].clone();
        let (pid, id) = (field("pid"), field("session_id"));
        let (pid, id) = (format!("\"pid\":{pid},"), id.as_str().context("no session_id")?.to_owned());
        let ticks = field("starttime_ticks");
        for number in 0..count {
            let (root, name) = (UNUSED_PID + number, format!("s{number:06}"));
            let mut sidecar = self.sidecar.clone();
            sidecar["pid"] = root.into();
            sidecar["session_id"] = name.clone().into();
            sidecar["pidfd_ino"] = Value::Null;
            let trace = self.trace.replace(&id, &name).replace(&pid, &format!("\"pid\":{root},"));
            write(&directory.join(format!("enrollment_{root}-{ticks}.json")), &sidecar.to_string())?;
            write(&directory.join(format!("trace_{root}-{ticks}.jsonl")), &trace)?;
        }
        Ok(())
    }
}

fn traces(place: &Path) -> PathBuf {
    place.join(format!("tracer-user-{}", rustix::process::geteuid().as_raw()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn wait_for_samples(place: &Path) -> Result<DeadSession> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        let names: Vec<PathBuf> =
            fs::read_dir(traces(place)).into_iter().flatten().flatten().map(|it| it.path()).collect();
        let named = |begin: &str| {
            names
                .iter()
                .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)))
        };
        if let (Some(sidecar), Some(trace)) = (named("enrollment_"), named("trace_")) {
            let trace = fs::read_to_string(trace)?;
            if trace.matches("\"kind\":\"sample\"").count() >= 2 && trace.ends_with('\n') {
                return Ok(DeadSession { sidecar: serde_json::from_slice(&fs::read(sidecar)?)?, trace });
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("a traced job wrote no samples in 30 s")
}
