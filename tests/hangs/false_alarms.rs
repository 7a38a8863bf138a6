//! Healthy work of CI jobs: no diagnosis, at whatever moment, may call it hung.
//!
//! Needs a shell, python3 and make, and node where it is installed. Runs as any user: only its own processes
//! are diagnosed.

use std::process::{Command, Stdio};

use crate::support::TRACER;
use crate::support::child::{TestChild, output};

/// A job that leads a process group, all of which ends with it.
struct Job(TestChild);

impl Job {
    fn start(program: &str, words: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(TestChild::leading_group(command))
    }

    /// The verdict at this moment, and the report.
    fn verdict(&self) -> (String, String) {
        let output = output(
            Command::new(TRACER)
                .args(["diagnose", "--format", "json", "--quiet-window", "200ms", "--pid"])
                .arg(self.0.pid().to_string()),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: serde_json::Value = serde_json::from_str(&text)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
        (report["verdict"].as_str().unwrap_or("none").to_owned(), text)
    }
}

/// Diagnoses a job several times: at its start, at work, and at rest.
fn stays_healthy(program: &str, words: &[&str]) {
    let job = Job::start(program, words);
    for round in 0..4 {
        let (verdict, report) = job.verdict();
        assert!(
            matches!(verdict.as_str(), "not-hung" | "idle" | "external"),
            "round {round} of {words:?}: {report}"
        );
    }
}

fn shell(script: &str) {
    stays_healthy("sh", &["-c", script]);
}

#[test]
fn steps_that_wait_for_long_children() {
    shell("sleep 600 & sleep 500 & wait");
    shell("sleep 600 | cat | tee /dev/null");
    shell("out=$(sleep 600; echo done); echo \"$out\"");
}

#[test]
fn pipelines_that_flow_slowly() {
    shell("while :; do echo line; sleep 0.3; done | cat | while read -r line; do :; done");
    shell("yes | while read -r line; do sleep 0.1; done");
}

#[test]
fn graceful_endings() {
    shell("trap 'sleep 600' TERM; kill -TERM $$; exit 0");
    shell("for n in 1 2 3 4 5; do sleep 100; done");
}

#[test]
fn a_build_with_a_jobserver() {
    stays_healthy(
        "sh",
        &["-c", "printf 'all: a b c d\\na b c d:\\n\\t+@sleep 600\\n' | exec make -s -j2 -f - all"],
    );
    stays_healthy("sh", &["-c", "printf '1\\n2\\n3\\n' | xargs -P 2 -n 1 sh -c 'sleep 600'"]);
}

#[test]
fn python_at_work_and_at_rest() {
    for program in [
        "import subprocess; subprocess.run(['sleep', '600'], capture_output=True)",
        "import asyncio; asyncio.run(asyncio.sleep(600))",
        "import socketserver as s; s.TCPServer(('127.0.0.1', 0), s.BaseRequestHandler).serve_forever()",
        "import multiprocessing as m, time\nwith m.Pool(2) as pool: pool.map(time.sleep, [600, 600])",
        "import concurrent.futures as c, time\nwith c.ThreadPoolExecutor(4) as pool: list(pool.map(time.sleep, [600] * 8))",
        "import threading, time; threading.Thread(target=time.sleep, args=[600]).start()",
        "import subprocess\nwith subprocess.Popen(['sleep', '600']) as child:\n    while child.poll() is None:\n        try: child.wait(0.2)\n        except subprocess.TimeoutExpired: pass",
    ] {
        stays_healthy("python3", &["-c", program]);
    }
}

#[test]
fn node_at_work_and_at_rest() {
    let installed =
        Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !installed {
        println!("skipped: node is not installed");
        return;
    }
    for program in [
        "require('http').createServer().listen(0, '127.0.0.1')",
        "setTimeout(() => {}, 600000)",
        "require('child_process').spawn('sleep', ['600'])",
        "require('child_process').execSync('sleep 600')",
    ] {
        stays_healthy("node", &["-e", program]);
    }
}
