//! Diagnoses recorded evidence, without root and without the machine it was recorded on.
//!
//! ```sh
//! tracer-user diagnose --pid PID --format evidence > evidence.json
//! cargo run --example diagnose_evidence evidence.json
//! ```

use std::error::Error;
use std::io::Write as _;

use tracer_user::{Evidence, diagnose, report};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: diagnose_evidence FILE")?;
    let evidence = Evidence::from_json(&std::fs::read(path)?)?;
    std::io::stdout().write_all(explain(&evidence).as_bytes())?;
    Ok(())
}

/// The verdict and the number of findings, and then the whole report.
fn explain(evidence: &Evidence) -> String {
    let diagnosis = diagnose(evidence);
    let head = format!("{} ({} findings)\n", diagnosis.verdict.id(), diagnosis.findings.len());
    head + &report::text(&diagnosis, report::TextStyle::default())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use tracer_user::{Ask, Request, collect};

    use super::*;

    /// A child that writes more than a pipe holds, to a parent that waits for its exit.
    const HANG: &str = "import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 300000)'], stdout=subprocess.PIPE)
child.wait()";

    #[test]
    fn recorded_evidence_of_a_hang_is_explained() -> Result<(), Box<dyn Error>> {
        let mut job =
            Command::new("python3").args(["-c", HANG]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let request = Request { ask: Ask::Tree(job.id()), quiet_window: Duration::from_millis(100) };
        let deadline = Instant::now() + Duration::from_secs(60);
        let explained = loop {
            let recorded = collect(&request)?.to_json()?;
            let explained = explain(&Evidence::from_json(recorded.as_bytes())?);
            if explained.contains("pipe-full") || Instant::now() > deadline {
                break explained;
            }
        };
        // The child ends as well, because nothing holds the read end of its pipe any more.
        job.kill()?;
        job.wait()?;
        assert!(explained.starts_with("deadlock ("), "{explained}");
        Ok(())
    }
}
