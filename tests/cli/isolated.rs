//! Commands whose sessions and signals are a test's own.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::TRACER;
use crate::support::child::{TestChild, output};

thread_local! {
    /// The directory of this test's sessions: the harness gives each test a thread.
    static PLACE: tempfile::TempDir = tempfile::tempdir().expect("a directory");
}

/// Lets a tracer keep its sessions in a directory of this test, and start with the signals' default actions:
/// a test runner that a script put into the background ignores SIGINT and SIGQUIT, and so would all processes
/// below it.
pub fn isolate(command: &mut Command) {
    // SAFETY: between fork and exec only system calls are made, which set default actions.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
                if libc::signal(signal, libc::SIG_DFL) == libc::SIG_ERR {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let place: PathBuf = PLACE.with(|place| place.path().to_owned());
    command.env("TRACER_TRACE_DIR", &place).env("TRACER_LOG_DIR", place.join("log"));
}

/// Ends the processes that a child tracks, and recovers the session of a tracer that ended before them: its
/// files and pins.
#[track_caller]
pub fn recover(child: &TestChild) {
    child.kill_tracked();
    let mut command = Command::new(TRACER);
    isolate(&mut command);
    let recovered = output(command.args(["recover", "--min-age", "0s"]));
    assert!(recovered.status.success(), "{recovered:?}");
}
