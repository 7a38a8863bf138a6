//! The cost of watching for hangs, the time to a verdict, and false alarms on healthy jobs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::context::{Bench, traced_with};
use super::measure::median;

/// Processes of the crowd; each holds ten pipes.
const CROWD: u32 = 1_000;
/// How long the tracer's CPU time is counted while its session is idle.
const IDLE: Duration = Duration::from_secs(60);
/// The wait before that, longer than the session takes to become idle.
const WARM_UP: Duration = Duration::from_secs(15);
/// Healthy jobs that run in parallel.
const AT_ONCE: usize = 4;
/// `run --hang-after` for the healthy jobs: shorter than the idle time of each.
const HANG_AFTER: &str = "2s";

/// Healthy jobs that are idle for longer than [`HANG_AFTER`], as in CI: builds, suites, servers, slow
/// consumers.
const HEALTHY: [(&str, &str); 10] = [
    ("a sleep", "sleep 5"),
    ("a slow consumer", "seq 200000 | while read -r line; do sleep 0.05; [ $line -ge 80 ] && break; done"),
    ("a slow producer", "for i in 1 2 3; do echo $i; sleep 1.7; done | cat"),
    (
        "a writer in front of one that sleeps",
        "(sleep 4; cat) < /dev/null & seq 10000 | (sleep 4; wc -l); wait",
    ),
    ("a parent of sleepers", "for i in 1 2 3 4; do sleep 4 & done; wait"),
    ("a lock that is handed on", "f=$(mktemp); for i in 1 2; do flock $f sleep 2.5 & done; wait; rm $f"),
    (
        "an idle server with a client",
        "python3 -c \"
import socket, threading, time
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
threading.Thread(target=lambda: s.accept()[0].recv(1), daemon=True).start()
c = socket.create_connection(s.getsockname()); time.sleep(4); c.send(b'x')\"",
    ),
    (
        "a pool of processes",
        "python3 -c \"
import multiprocessing, time
with multiprocessing.Pool(3) as pool: pool.map(time.sleep, [4, 1, 1])\"",
    ),
    ("a long teardown", "trap 'sleep 3; exit 0' TERM; (sleep 1; kill $$) & while :; do sleep 0.2; done"),
    (
        "work",
        "python3 -c \"
import time
end = time.monotonic() + 4
while time.monotonic() < end: sum(range(1000))\"",
    ),
];

/// `diagnose` of many processes.
///
/// # Errors
/// When the crowd or the tool fails.
pub fn diagnose(bench: &Bench) -> Result<Vec<String>> {
    let mut crowd = Command::new(&bench.this);
    let crowd =
        crowd.args(bench.job("crowd", CROWD).split_off(1)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut crowd = KilledOnDrop(crowd.spawn()?);
    let mut ready = String::new();
    BufReader::new(crowd.0.stdout.take().context("no pipe")?).read_line(&mut ready)?;
    let pid = crowd.0.id().to_string();
    let (mut took, mut fds) = (Vec::new(), 0);
    for _ in 0..bench.rounds {
        let began = Instant::now();
        let mut look = Command::new(&bench.tool);
        let said = output_whatever(look.args(["diagnose", "--format", "json", "--pid", &pid]))?;
        took.push(began.elapsed().as_secs_f64());
        let report: Value = serde_json::from_str(&said).context("the report is not JSON")?;
        ensure!(report["verdict"] == "not-hung", "the crowd is idle, not {}", report["verdict"]);
        fds = fs::read_dir(format!("/proc/{pid}/fd"))?.count() + CROWD as usize * fds_of_first(&pid)?;
    }
    let most = took.iter().copied().fold(0.0, f64::max);
    Ok(vec![format!(
        "{CROWD} processes, {fds} fds: {:.2} s, at most {most:.2} s; 0.40 s of which are the quiet window",
        median(took)
    )])
}

/// Number of fds of the first child; all children have the same number.
fn fds_of_first(parent: &str) -> Result<usize> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let first = children.split_whitespace().next().context("no children")?;
    Ok(fs::read_dir(format!("/proc/{first}/fd"))?.count())
}

/// CPU time of a tracer whose session is idle.
///
/// # Errors
/// When the session fails.
pub fn idle(bench: &Bench) -> Result<Vec<String>> {
    let job = ["sh", "-c", "for i in $(seq 199); do sleep 1000000 & done; wait"];
    [("5 s", "60s"), ("5 s", "2s")]
        .into_iter()
        .map(|(interval, hang_after)| {
            let traced = bench.traced(&["--interval", "5s", "--hang-after", hang_after], &job)?;
            // The start, with its forks and first samples, is not idle.
            std::thread::sleep(WARM_UP);
            let before = cpu_ticks(traced.0.id())?;
            std::thread::sleep(IDLE);
            let ticks = cpu_ticks(traced.0.id())? - before;
            let per_second = ticks as f64 * 10.0 / IDLE.as_secs_f64();
            Ok(format!(
                "--interval {interval} --hang-after {hang_after}: {per_second:.2} ms per second, {:.2} % of a core",
                per_second / 10.0
            ))
        })
        .collect()
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the tracer ended early")?;
    let after = stat.rsplit(") ").next().context("no stat")?;
    let fields: Vec<u64> = after.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(fields.iter().sum())
}

/// Time from the last progress of a hanging job to the printed verdict.
///
/// # Errors
/// When no verdict is printed.
pub fn verdict(bench: &Bench) -> Result<Vec<String>> {
    ["1s", "5s"].into_iter().map(|after| verdict_after(bench, after)).collect()
}

fn verdict_after(bench: &Bench, hang_after: &str) -> Result<String> {
    let mut seconds = Vec::new();
    for _ in 0..bench.rounds {
        let log = tempfile::tempdir_in(bench.place.path())?;
        let mut words = traced_with(bench, &["--hang-after", hang_after, "--on-hang", "interrupt"]);
        replace_log(&mut words, log.path())?;
        words.extend([bench.this.display().to_string(), "demo-parent".into()]);
        let mut run = KilledOnDrop(
            Command::new(&words[0])
                .args(&words[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?,
        );
        let stderr = BufReader::new(run.0.stderr.take().context("no pipe")?);
        let verdict = stderr.lines().map_while(Result::ok).find(|line| line.starts_with("verdict: deadlock"));
        let printed_at_ns = boot_ns();
        ensure!(verdict.is_some(), "no verdict was printed");
        run.0.wait()?;
        let session =
            fs::read_dir(log.path().join("sessions"))?.next().context("the session was not recorded")??;
        let diagnosis: Value = serde_json::from_slice(&fs::read(session.path().join("diagnosis.json"))?)?;
        let since =
            diagnosis["findings"][0]["since_boot_ns"].as_u64().context("the finding has no start time")?;
        seconds.push(printed_at_ns.saturating_sub(since) as f64 / 1e9);
    }
    Ok(format!("--hang-after {hang_after}: {:.2} s after the write blocked", median(seconds)))
}

fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// False alarms: healthy jobs that are reported as hung.
///
/// # Errors
/// When a job fails.
pub fn healthy(bench: &Bench) -> Result<Vec<String>> {
    let jobs: Vec<_> = HEALTHY.iter().cycle().take(HEALTHY.len() * bench.rounds.max(5)).collect();
    let (mut alarms, mut count) = (Vec::new(), 0);
    for together in jobs.chunks(AT_ONCE) {
        let running: Vec<_> = together
            .iter()
            .map(|(name, script)| {
                let log = tempfile::tempdir_in(bench.place.path())?;
                let mut words = traced_with(bench, &["--hang-after", HANG_AFTER, "--interval", "200ms"]);
                replace_log(&mut words, log.path())?;
                let mut run = Command::new(&words[0]);
                run.args(&words[1..]).args(["sh", "-c", script]).stdin(Stdio::null());
                let run = KilledOnDrop(run.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
                Ok((*name, log, run))
            })
            .collect::<Result<_>>()?;
        for (name, log, mut run) in running {
            let ended = run.0.wait()?;
            ensure!(ended.success(), "{name}: {ended}");
            for diagnosis in diagnoses(log.path())? {
                count += 1;
                if matches!(diagnosis["verdict"].as_str(), Some("deadlock" | "orphaned-wait" | "livelock")) {
                    alarms.push(name);
                }
            }
        }
    }
    let named = if alarms.is_empty() { String::new() } else { format!(": {}", alarms.join(", ")) };
    Ok(vec![format!("{} false alarms in {} runs with {count} diagnoses{named}", alarms.len(), jobs.len())])
}

/// The diagnoses of the only session in a log directory, in order.
///
/// # Errors
/// When the session was not recorded.
pub fn diagnoses(log: &Path) -> Result<Vec<Value>> {
    let session = fs::read_dir(log.join("sessions"))?.next().context("the session was not recorded")??;
    let trace = fs::read_to_string(session.path().join("events.jsonl"))?;
    let lines = trace.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|line| line["kind"] == "diagnosis").map(|mut line| line["diagnosis"].take()).collect())
}

/// Sets the log directory of a command line.
///
/// # Errors
/// When the command line is not that of a run.
pub fn replace_log(words: &mut [String], log: &Path) -> Result<()> {
    let at = words.iter().position(|word| word == "--log-dir").context("no --log-dir")?;
    words[at + 1] = log.display().to_string();
    Ok(())
}

/// The stdout of a command, whatever its exit status.
fn output_whatever(command: &mut Command) -> Result<String> {
    let said = command.stderr(Stdio::inherit()).output()?;
    String::from_utf8(said.stdout).context("invalid UTF-8")
}

/// A process that is killed at the end of its row.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
