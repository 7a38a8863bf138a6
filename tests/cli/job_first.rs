//! The job's status comes first: faults of the tracer's surroundings neither keep a job from running nor
//! change how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::isolated::isolate;
use crate::support::child::{TestChild, output};
use crate::support::helper::HELPER;
use crate::support::{TRACER, is_root, skip};

const AT_MOST: Duration = Duration::from_secs(60);

fn run(options: &[&str], job: &str) -> Command {
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet"]).args(options).args(["--", "sh", "-c", job]);
    isolate(&mut command);
    command
}

/// Sets a limit in the tracer, which its job inherits.
fn limited(mut command: Command, resource: libc::__rlimit_resource_t, limit: u64) -> Command {
    // SAFETY: one system call between fork and exec, with a pointer to a value on the stack.
    unsafe {
        command.pre_exec(move || {
            let limits = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            match libc::setrlimit(resource, &limits) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    command
}

#[test]
fn no_limit_of_the_tracer_changes_the_status() {
    let limits = [
        ("file size", libc::RLIMIT_FSIZE, 0..1),
        // Fewer than 4 are not enough for the loader of any program.
        ("open files", libc::RLIMIT_NOFILE, 4..24),
        ("locked memory", libc::RLIMIT_MEMLOCK, 0..1),
        ("pending signals", libc::RLIMIT_SIGPENDING, 0..1),
    ];
    for (name, resource, values) in limits {
        for limit in values {
            let output = output(&mut limited(run(&[], "exit 7"), resource, limit));
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(7), "{name} limited to {limit}: {text}");
        }
    }
}

#[test]
fn the_limit_of_file_sizes_ends_the_job_as_it_would_alone() {
    let mut alone = Command::new("sh");
    let text = "ulimit -c 0; printf text > file; exit 3";
    alone.args(["-c", text]);
    for (name, command) in [("alone", alone), ("traced", run(&[], text))] {
        let place = tempfile::tempdir().expect("a directory");
        let mut command = limited(command, libc::RLIMIT_FSIZE, 0);
        let ended = output(command.current_dir(place.path()));
        let code = ended.status.code().or_else(|| {
            std::os::unix::process::ExitStatusExt::signal(&ended.status).map(|signal| 128 + signal)
        });
        assert_eq!(code, Some(128 + libc::SIGXFSZ), "{name}: {ended:?}");
    }
}

#[test]
fn a_refused_trace_directory_keeps_the_session_in_memory_unless_tracing_is_required() {
    let place = tempfile::tempdir().expect("a directory");
    let squatted = place.path().join("file");
    std::fs::write(&squatted, "").expect("written");
    let squatted = squatted.to_str().expect("text");
    let ended = output(&mut run(&["--trace-dir", squatted], "exit 7"));
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(7), "{text}");
    assert!(text.contains("trace directory") && text.contains("kept in memory"), "{text}");
    let ran = place.path().join("ran");
    let job = format!("touch {}", ran.display());
    let refused = output(&mut run(&["--trace-dir", squatted, "--require-tracing"], &job));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), text.lines().count()), (Some(125), 1), "{text}");
    assert!(!ran.exists(), "the job ran untraced");
}

#[test]
fn without_proc_the_job_runs_and_keeps_its_time_limit_and_its_signals() {
    if !is_root() {
        return;
    }
    let without_proc = |options: &[&str], job: &str| {
        let mut command = run(options, job);
        // SAFETY: system calls between fork and exec, with pointers to constants.
        unsafe {
            command.pre_exec(|| {
                let none = std::ptr::null();
                if libc::unshare(libc::CLONE_NEWNS) == -1
                    || libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
                        == -1
                    || libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) == -1
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command
    };
    let ended = output(&mut without_proc(&[], "exit 7"));
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(7), "{text}");
    assert!(text.contains("without being traced"), "{text}");
    let ended = output(&mut without_proc(&["--timeout", "200ms", "--grace", "100ms"], "exec sleep 1000"));
    assert_eq!(ended.status.code(), Some(124), "{ended:?}");
    let job = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = TestChild::with_output(without_proc(&[], job));
    child.expect("ready");
    child.signal(Signal::TERM);
    assert_eq!(child.wait_within(AT_MOST).map(|status| status.code()), Some(Some(9)));
    let missing = output(&mut without_proc(&[], "exec /no/such/program"));
    assert_eq!(missing.status.code(), Some(127));
}

/// A job that changes its user, as `sudo` does, cannot be sent signals by the user who started it.
#[test]
fn a_job_of_another_user_is_followed_to_its_end_whatever_signals_it_cannot_be_sent() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    mode(place.path(), 0o777);
    let program = place.path().join("becomes-root");
    std::fs::copy(HELPER, &program).expect("copied");
    mode(&program, 0o4755);
    let tool = place.path().join("tool");
    std::fs::copy(TRACER, &tool).expect("copied");
    let mut command = Command::new(&tool);
    command.args(["run", "--quiet", "--"]).arg(&program).arg("becomes_root_until_a_line");
    command.env("TRACER_TRACE_DIR", place.path()).env("TRACER_LOG_DIR", place.path().join("log"));
    command.uid(65534).gid(65534).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = TestChild::start(&mut command);
    child.expect("ready");
    for signal in [Signal::TERM, Signal::HUP, Signal::CONT] {
        child.signal(signal);
    }
    assert!(!child.ends_within(Duration::from_millis(1500)), "the tracer left its job");
    child.send_line("end");
    assert_eq!(child.wait_within(AT_MOST).map(|status| status.code()), Some(Some(11)));
}

/// A slice of `cargo xtask faults`.
#[test]
fn a_system_call_of_the_tracer_that_fails_costs_no_status() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        skip("strace is not installed");
        return;
    }
    for error in ["EMFILE", "EIO"] {
        let sweep = xtask::faults::sweep(Path::new(TRACER), "run", error, 8).expect("a sweep");
        assert!(sweep.faults >= 8 && sweep.bad.is_empty(), "{sweep:#?}");
    }
}
