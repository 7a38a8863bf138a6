//! What the rows share: the tool, a directory, and jobs under the tool.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// What the rows share.
pub struct Bench {
    /// Path of the tool, built for release.
    pub tool: PathBuf,
    /// Path of this program, which has the workloads.
    pub this: PathBuf,
    /// A directory in memory for traces.
    pub place: TempDir,
    /// Number of rounds.
    pub rounds: usize,
    /// Measure only a part, for rows that can.
    pub quick: bool,
}

impl Bench {
    /// The command line of one of this program's workloads.
    pub fn job(&self, kind: &str, count: u32) -> Vec<String> {
        vec![self.this.display().to_string(), "bench-job".into(), kind.into(), count.to_string()]
    }

    /// Starts a traced job in the background. When this returns, its session has begun and the job runs.
    ///
    /// # Errors
    /// When the tracer or the job cannot be started.
    pub fn traced(&self, options: &[&str], job: &[&str]) -> Result<Background> {
        // A shell that is ended leaves its background jobs behind; --reap-leaked ends them.
        let words = traced_with(self, &[&["--reap-leaked", "--grace", "1s"], options].concat());
        let mut run = Command::new(&words[0]);
        run.args(&words[1..]).args(["sh", "-c", "echo runs; exec \"$@\"", "sh"]).args(job);
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut background = Background(run.spawn()?);
        let mut line = String::new();
        BufReader::new(background.0.stdout.take().context("no pipe")?).read_line(&mut line)?;
        ensure!(line == "runs\n", "`{}` did not run", job.join(" "));
        Ok(background)
    }
}

/// A traced job that is ended with its row, through its tracer.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        let tracer = rustix::process::Pid::from_child(&self.0);
        // The tracer passes the signal on to the job and ends with it. It is a child that is not yet waited
        // for, so its pid is valid.
        let _ = rustix::process::kill_process(tracer, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The command line of the tool before a job, with its files in the bench's directory.
pub fn traced(bench: &Bench) -> Vec<String> {
    let at = |folder: &str| bench.place.path().join(folder).display().to_string();
    let tool = bench.tool.display().to_string();
    let words = ["run", "--quiet", "--trace-dir", &at("traces"), "--log-dir", &at("log"), "--"];
    std::iter::once(tool).chain(words.map(String::from)).collect()
}

/// As [`traced`], with more options.
pub fn traced_with(bench: &Bench, options: &[&str]) -> Vec<String> {
    let mut words = traced(bench);
    let end = words.len() - 1;
    words.splice(end..end, options.iter().map(ToString::to_string));
    words
}
