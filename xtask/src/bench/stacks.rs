//! The time that stacks add to a look, by the kind of process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::context::Bench;

/// Threads that wait for a lock which no thread gives back.
const THREADS: &str = "import threading
lock = threading.Lock()
lock.acquire()
def wait():
    lock.acquire()
for _ in range(19):
    threading.Thread(target=wait).start()
wait()
";

/// A job that is killed with its row.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        // It is a child that is not yet waited for, so its pid is valid.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks at a Python process with 20 threads, and at this tool itself, which has line tables.
///
/// # Errors
/// When a job cannot be started or the tool fails.
pub fn stacks(bench: &Bench) -> Result<Vec<String>> {
    let python = job(Command::new("python3").args(["-c", THREADS]))?;
    let native = job(Command::new(&bench.tool).args(["diagnose", "--from", "-"]))?;
    Ok(vec![
        row(bench, "Python, 20 threads", &python)?,
        row(bench, "this tool, waiting for its standard input", &native)?,
    ])
}

fn job(command: &mut Command) -> Result<Job> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    Ok(Job(started.with_context(|| format!("{command:?}"))?))
}

fn row(bench: &Bench, name: &str, job: &Job) -> Result<String> {
    let pid = job.0.id().to_string();
    wait_until_asleep(&pid)?;
    let first = look(&bench.tool, &pid, &[])?;
    let mut added = Vec::new();
    for _ in 0..bench.rounds {
        let without = look(&bench.tool, &pid, &["--no-stacks"])?;
        let with = look(&bench.tool, &pid, &[])?;
        added.push(with.saturating_sub(without));
    }
    added.sort();
    let (without, median) = (look(&bench.tool, &pid, &["--no-stacks"])?, added[added.len() / 2]);
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(format!(
        "{name}: {:.1} ms more; the first look {:.1} ms more",
        ms(median),
        ms(first.saturating_sub(without))
    ))
}

/// The time of one look.
fn look(tool: &Path, pid: &str, options: &[&str]) -> Result<Duration> {
    let mut command = Command::new(tool);
    command.args(["diagnose", "--quiet-window", "100ms", "--format", "json", "--pid", pid]).args(options);
    let began = Instant::now();
    let done = command.stdin(Stdio::null()).output()?;
    let took = began.elapsed();
    ensure!(done.stdout.starts_with(b"{"), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(took)
}

/// Waits until every thread of the process sleeps.
fn wait_until_asleep(pid: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return Ok(());
        }
    }
    anyhow::bail!("process {pid} does not come to rest")
}
