//! `watch`: the wait tree of a job.

use std::process::{Command, Stdio};

use crate::support::TRACER;
use crate::support::child::{TestChild, output};

/// A shell that waits for its child, which waits for its input.
fn job() -> TestChild {
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; cat >&2; true"]).stderr(Stdio::null());
    let mut job = TestChild::with_pipes(command);
    job.expect("ready");
    job
}

#[test]
fn the_tree_is_printed_once_without_a_terminal() {
    let job = job();
    let pid = job.pid().as_raw_nonzero().to_string();
    for words in [&["watch", &pid, "--once"][..], &["watch", &pid]] {
        let done = output(Command::new(TRACER).args(words));
        assert!(done.status.success(), "{done:?}");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(text.starts_with("verdict: "), "{text}");
        let shell = text.lines().position(|line| line.contains(&format!("(pid {pid})"))).expect("the shell");
        let cat =
            text.lines().position(|line| line.starts_with("  cat ")).unwrap_or_else(|| panic!("{text}"));
        assert!(shell < cat, "{text}");
    }
    let absent = output(Command::new(TRACER).args([
        "watch",
        "--session",
        "none",
        "--trace-dir",
        "/nonexistent/place",
    ]));
    assert_eq!(absent.status.code(), Some(125), "{absent:?}");
}

#[test]
fn on_a_terminal_it_is_drawn_until_the_job_has_ended() {
    let mut job = job();
    let mut command = Command::new(TRACER);
    command.args(["watch", "--every", "100ms"]).arg(job.pid().as_raw_nonzero().to_string());
    let mut watch = TestChild::on_terminal(command);
    for _ in 0..3 {
        watch.expect("verdict: ");
    }
    job.kill();
    job.wait();
    watch.expect("watch: the job has ended");
    assert!(watch.wait().success());
}
