//! A whole suite, twice at once on one machine, with all that the two share by default.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Longer than a suite takes next to another on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A suite, ended with the test that started it. What it says goes into a file: a pipe would not end as long as
/// anything lives that a failed test has left.
struct Suite {
    child: Child,
    said: tempfile::NamedTempFile,
}

impl Suite {
    fn said(&self) -> String {
        std::fs::read_to_string(self.said.path()).expect("read")
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs every test of this program in two processes at once, started by `start`, but the one that calls this.
///
/// # Panics
/// When a test of either fails or does not end, with what it said.
#[track_caller]
pub fn run_suite_twice(caller: &str, start: impl Fn(&mut Command) -> std::io::Result<Child>) {
    let me = std::env::current_exe().expect("this program");
    let suites: Vec<Suite> = (0..2)
        .map(|_| {
            let said = tempfile::NamedTempFile::new().expect("a file");
            let into = |file: &File| Stdio::from(file.try_clone().expect("dup"));
            let mut suite = Command::new(&me);
            suite.args(["--exact", "--skip", caller, "--test-threads", "4"]);
            suite.stdin(Stdio::null()).stdout(into(said.as_file())).stderr(into(said.as_file()));
            Suite { child: start(&mut suite).expect("starts"), said }
        })
        .collect();
    for mut suite in suites {
        let ended = pidfd_open(Pid::from_child(&suite.child), PidfdFlags::empty()).expect("our child");
        let most = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&most)).expect("poll") > 0;
        assert!(ended, "still runs: {}", suite.said());
        let status = suite.child.wait().expect("ended");
        let said = suite.said();
        assert!(status.success(), "{said}");
        assert!(
            said.contains("1 filtered out") && !said.contains(" 0 passed"),
            "not the whole suite: {said}"
        );
    }
}
