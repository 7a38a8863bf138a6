//! Suites of this program, each twice at once on one machine, with all that the two share by default.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sessions;

/// The suites: modules of this program.
const SUITES: [&str; 4] = ["autoskillit::", "kernel::", "races::", "store::"];

/// Longer than the suites take next to another run of them on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A run of the suites, ended with the test that started it. Its output goes into a file: a pipe would not end as long
/// as any process lives that a failed test has left.
struct Run {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Run {
    fn start() -> Self {
        let output = tempfile::NamedTempFile::new().expect("a file");
        let into = |file: &File| Stdio::from(file.try_clone().expect("dup"));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(SUITES).args(["--test-threads", "4"]);
        command.stdin(Stdio::null()).stdout(into(output.as_file())).stderr(into(output.as_file()));
        Self { child: sessions::start(&mut command).expect("starts"), output }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.output.path()).expect("read")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn suites_run_twice_at_once() {
    let runs = [Run::start(), Run::start()];
    for mut run in runs {
        let ended = pidfd_open(Pid::from_child(&run.child), PidfdFlags::empty()).expect("our child");
        let most = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&most)).expect("poll") > 0;
        assert!(ended, "still runs: {}", run.output());
        let status = run.child.wait().expect("ended");
        let output = run.output();
        assert!(status.success(), "{output}");
        for suite in SUITES {
            assert!(output.contains(&format!("test {suite}")), "{suite} was not run: {output}");
        }
    }
}
