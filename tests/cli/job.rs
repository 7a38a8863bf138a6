//! A job runs under `run` as it would alone: with the same exit status, descriptors, signals and limits.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::isolated::{isolate, recover};
use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root};

fn run(words: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--"]).args(words);
    isolate(&mut command);
    command
}

fn script(text: &str) -> Command {
    run(&["sh", "-c", text])
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_exit_status_is_the_jobs() {
    for (text, expected) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -HUP $$", 129),
        ("ulimit -c 0; kill -SEGV $$", 139),
    ] {
        let output = output(&mut script(text));
        assert_eq!(code(&output), Some(expected), "{text}: {}", stderr(&output));
    }
}

#[test]
fn a_process_that_outlives_a_successful_job_can_be_a_failure() {
    for (text, expected) in
        [("sleep 1000 & exit 0", 1), ("sleep 1000 & exit 7", 7), ("sleep 0 & wait; exit 0", 0)]
    {
        let mut command = Command::new(TRACER);
        command.args(["run", "--quiet", "--fail-on-leak", "--reap-leaked", "--", "sh", "-c", text]);
        isolate(&mut command);
        let output = output(&mut command);
        assert_eq!(code(&output), Some(expected), "{text}: {}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_executed_is_reported_as_env_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = directory.path().join("not-executable");
    std::fs::write(&plain, "#!/bin/sh\n").expect("written");
    let no_interpreter = directory.path().join("no-interpreter");
    std::fs::write(&no_interpreter, "#!/no/such/interpreter\n").expect("written");
    std::fs::set_permissions(&no_interpreter, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("mode");
    let plain = plain.to_str().expect("text");
    let no_interpreter = no_interpreter.to_str().expect("text");
    for (program, expected) in [
        ("no-such-program-anywhere", 127),
        ("/no/such/program", 127),
        ("", 127),
        (no_interpreter, 127),
        (plain, 126),
        ("/", 126),
        ("/etc/passwd/x", 126),
    ] {
        let traced = output(&mut run(&[program]));
        let text = stderr(&traced);
        let bare = output(Command::new("env").arg("--").arg(program));
        if !program.is_empty() {
            assert_eq!(code(&bare), Some(expected), "env(1) thinks otherwise of {program}");
        }
        assert_eq!(code(&traced), Some(expected), "{program}: {text}");
        // A line before may report that the directory of the test is on a disk.
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("tracer-user: run: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(program), "{text}");
    }
}

#[test]
fn a_file_in_the_path_that_may_not_be_run_is_reported_as_such() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("tool"), "").expect("written");
    let output = output(run(&["tool"]).env("PATH", directory.path()));
    assert_eq!(code(&output), Some(126), "{}", stderr(&output));
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_the_shell() {
    let directory = tempfile::tempdir().expect("a directory");
    let tool = directory.path().join("tool");
    std::fs::write(&tool, "echo $0 $1; exit 9\n").expect("written");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let output = output(run(&["tool", "word"]).env("PATH", directory.path()));
    let expected = format!("{} word\n", tool.display());
    assert_eq!(
        (code(&output), output.stdout),
        (Some(9), expected.into_bytes()),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn run_without_a_command_is_refused_with_125() {
    for words in [
        &["run"][..],
        &["run", "--"],
        &["run", "--timeout", "soon", "--", "true"],
        &["run", "--bogus", "true"],
    ] {
        let output = output(Command::new(TRACER).args(words));
        assert_eq!(
            (code(&output), stderr(&output).lines().count()),
            (Some(125), 1),
            "{words:?}: {}",
            stderr(&output)
        );
    }
}

/// Prints everything a process inherits that a wrapper could change.
const INHERITED: &str = "for fd in /proc/$$/fd/*; do case $(readlink $fd) in */sh|*/dash|*/bash) ;; *) echo ${fd##*/};; esac; done
umask; ulimit -a; ulimit -Ha; grep -E '^Sig(Ign|Blk|Cgt)|^NoNewPrivs|^Cap|^Seccomp' /proc/self/status
cut -d' ' -f5,6,7,8 /proc/$$/stat; cat /proc/$$/oom_score_adj; nice; pwd; env | grep -v -e ^_= | sort";

/// Runs [`INHERITED`] bare and traced, each prepared alike, and compares.
#[track_caller]
fn same_inheritance(prepare: impl Fn(&mut Command)) -> String {
    let mut bare = Command::new("sh");
    bare.args(["-c", INHERITED]);
    let mut traced = script(INHERITED);
    let [bare, traced] = [&mut bare, &mut traced].map(|command| {
        isolate(command);
        prepare(command);
        let output = output(command);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    });
    assert_eq!(bare, traced);
    traced
}

#[test]
fn a_job_inherits_what_it_would_without_the_tool() {
    let seen = same_inheritance(|_| {});
    // Signal 13 is SIGPIPE, which Rust's runtime ignores for itself.
    let ignored = seen.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("there").trim();
    assert_eq!(
        u64::from_str_radix(ignored, 16).expect("hex") & (1 << 12),
        0,
        "SIGPIPE is ignored in the job"
    );
}

#[test]
fn a_job_inherits_unusual_settings() {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let number = writer.as_raw_fd();
    same_inheritance(|command| {
        // SAFETY: between fork and exec only async-signal-safe system calls are made.
        unsafe {
            command.pre_exec(move || {
                for signal in [libc::SIGPIPE, libc::SIGINT, libc::SIGCHLD, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_IGN);
                }
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR1);
                libc::sigaddset(&mut set, libc::SIGTERM);
                libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
                libc::umask(0o027);
                libc::dup2(number, 9);
                libc::close(0);
                let limit = libc::rlimit { rlim_cur: 100, rlim_max: 200 };
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
                Ok(())
            });
        }
    });
}

#[test]
fn ends_of_pipes_that_the_job_closed_are_closed() {
    // Standard output and descriptor 9 are one pipe. The job closes both and goes on.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let number = writer.as_raw_fd();
    let mut command = script("echo $$; exec >&- 9>&-; exec sleep 1000");
    command.stdin(Stdio::null()).stdout(writer.try_clone().expect("dup"));
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::dup2(number, 9);
            Ok(())
        });
    }
    let mut tracer = TestChild::start(&mut command);
    drop((writer, command));
    let text = std::io::read_to_string(reader).expect("the end of the file comes while the job lives");
    assert!(!tracer.ends_within(Duration::ZERO), "the tracer has ended");
    tracer.track(text.trim().parse().expect("a pid"));
    tracer.kill_tracked();
    assert_eq!(tracer.wait().code(), Some(137));
}

#[test]
fn orphans_are_adopted_as_they_would_be_without_the_tool() {
    // The child waits until its parent is another than $1, and prints which. The reader of the pipe waits for
    // it.
    let orphan = "while [ $(cut -d' ' -f4 /proc/$$/stat) = $1 ]; do :; done; cut -d' ' -f4 /proc/$$/stat";
    let text = r#"sh -c 'sh -c "$ORPHAN" orphan $$ & exit 0'"#;
    let mut bare = Command::new("sh");
    bare.args(["-c", text]);
    let [bare, traced] = [bare, script(text)].map(|mut it| output(it.env("ORPHAN", orphan)));
    assert!(!bare.stdout.is_empty(), "{}", stderr(&bare));
    assert_eq!(String::from_utf8_lossy(&bare.stdout), String::from_utf8_lossy(&traced.stdout));
}

/// Counts and prints signals, and ends by itself after USR2.
const COUNTS: &str = "i=0; t=0; u=0; h=0
trap 'i=$((i+1)); echo INT' INT; trap 't=$((t+1)); echo TERM' TERM; trap 'u=$((u+1)); echo USR1' USR1
trap 'h=$((h+1)); echo HUP' HUP; trap 'echo counted $i $t $u $h; exit 33' USR2
echo ready $$
while :; do sleep 0.05; done";

#[test]
fn signals_are_passed_on_once() {
    let mut child = TestChild::with_output(script(COUNTS));
    child.expect("ready");
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::HUP, "HUP"),
        (Signal::TERM, "TERM"),
    ] {
        child.signal(signal);
        child.expect(name);
    }
    child.signal(Signal::USR2);
    let (status, text) = child.finish();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 1 2 1 1"));
}

/// `kill -- -GROUP` and timeout(1) signal the tracer and the job. Only kernel events distinguish that from a
/// signal for the tracer alone.
#[test]
fn a_signal_to_the_whole_group_is_not_passed_on_as_well() {
    if !is_root() {
        return;
    }
    let mut command = script(COUNTS);
    command.process_group(0);
    let mut child = TestChild::with_output(command);
    child.expect("ready");
    for (signal, name) in [(Signal::INT, "INT"), (Signal::USR1, "USR1"), (Signal::TERM, "TERM")] {
        rustix::process::kill_process_group(child.pid(), signal).expect("signalled");
        child.expect(name);
    }
    // The tracer examines a SIGTERM before it passes it on.
    assert!(!child.prints_within("TERM", Duration::from_millis(1500)), "passed on as well");
    // A signal for the tracer alone is passed on.
    child.signal(Signal::HUP);
    child.expect("HUP");
    child.signal(Signal::USR2);
    let (status, text) = child.finish();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 1 1 1 1"));
}

#[test]
fn a_signal_that_ends_the_job_is_the_tracers_exit_status() {
    for (signal, expected) in
        [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)]
    {
        let mut child =
            TestChild::with_output(run(&["sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000"]));
        child.expect("ready");
        child.signal(signal);
        assert_eq!(child.wait().code(), Some(expected));
    }
}

#[test]
fn a_second_interrupt_ends_the_tracer_and_leaves_the_job() {
    let mut child = TestChild::with_output(run(&["sh", "-c", "trap '' INT; echo ready $$; exec sleep 1000"]));
    let job = child.expect_number("ready");
    child.track(job);
    child.signal(Signal::INT);
    assert!(
        !child.tracked_ends_within(0, Duration::from_millis(200)),
        "the job ended by a signal it ignores"
    );
    child.signal(Signal::INT);
    assert_eq!(child.wait().code(), Some(130));
    assert!(!child.tracked_ends_within(0, Duration::ZERO), "the job ended with the tracer");
    recover(&child);
}

#[test]
fn ignored_signals_stay_ignored() {
    let mut command = script(COUNTS);
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut child = TestChild::with_output(command);
    child.expect("ready");
    child.signal(Signal::INT);
    child.signal(Signal::INT);
    child.signal(Signal::TERM);
    child.expect("TERM");
    child.signal(Signal::USR2);
    let (status, text) = child.finish();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 0 1 0 0"));
}

#[test]
fn a_killed_tracer_leaves_the_job_unharmed() {
    let directory = tempfile::tempdir().expect("a directory");
    let done = directory.path().join("done");
    let text = format!(
        "echo ready $$; read line < {0}/fifo; echo $line > {1}",
        directory.path().display(),
        done.display()
    );
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a fifo");
    let mut child = TestChild::with_output(script(&text));
    let job = child.expect_number("ready");
    child.track(job);
    child.signal(Signal::KILL);
    child.wait();
    assert!(!child.tracked_ends_within(0, Duration::ZERO));
    std::fs::write(directory.path().join("fifo"), "went on\n").expect("the job reads");
    assert!(child.tracked_ends_within(0, PATIENCE));
    assert_eq!(std::fs::read_to_string(done).expect("written"), "went on\n");
    recover(&child);
}

#[test]
fn a_stopped_job_without_a_shell_does_not_stop_the_tracer() {
    let mut child = TestChild::with_output(script(COUNTS));
    let job = child.expect_number("ready");
    let job = child.track(job);
    rustix::process::kill_process(job, Signal::STOP).expect("stopped");
    // The tracer is not stopped: it passes a SIGCONT for itself on.
    child.signal(Signal::TERM);
    child.signal(Signal::CONT);
    child.expect("TERM");
    child.signal(Signal::USR2);
    let (status, text) = child.finish();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 0 1 0 0"));
}

#[test]
fn autoskillits_files_are_there_while_the_job_runs_and_removed_with_its_session() {
    let place = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--no-kernel", "--layout", "autoskillit", "--trace-dir"]);
    command.arg(place.path()).arg("--log-dir").arg(place.path().join("log"));
    command.arg("--autoskillit-log").arg(place.path().join("its"));
    command.args(["--", "ls"]).arg(place.path());
    let output = output(&mut command);
    let listed = String::from_utf8_lossy(&output.stdout);
    for prefix in ["autoskillit_enrollment_", "autoskillit_trace_"] {
        assert_eq!(listed.matches(prefix).count(), 1, "{listed}{}", stderr(&output));
    }
    let left: Vec<_> = std::fs::read_dir(place.path()).expect("readable").flatten().collect();
    assert!(
        left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("autoskillit")),
        "{left:?}"
    );
}

/// Its recovery deletes both files where the sidecar and the first snapshot have different names.
#[test]
fn autoskillits_sidecar_has_the_name_of_the_first_snapshot() {
    let place = tempfile::tempdir().expect("a directory");
    let shown = "cd \"$0\"; until [ -s autoskillit_trace_$$.jsonl ]; do sleep 0.02; done; \
        head -n 1 autoskillit_trace_$$.jsonl; cat autoskillit_enrollment_$$.json";
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--interval", "20ms", "--layout", "autoskillit", "--trace-dir"]);
    command.arg(place.path()).arg("--log-dir").arg(place.path().join("log"));
    command.arg("--autoskillit-log").arg(place.path().join("its"));
    command.args(["--", "env", "sh", "-c", shown]).arg(place.path());
    let output = output(&mut command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&text)
        .into_iter::<serde_json::Value>()
        .map(|value| value.expect("JSON")["comm"].clone())
        .collect();
    assert_eq!(names.len(), 2, "{text}{}", stderr(&output));
    assert_eq!(names[0], names[1], "{text}");
    assert!(names[0] == "sh" || names[0] == "env", "{text}");
}

/// The sidecar is written before the job executes its program, and has the name that the program will have.
#[test]
fn the_sidecar_has_the_name_of_the_program() {
    let place = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--no-kernel", "--trace-dir"]);
    command.arg(place.path()).arg("--log-dir").arg(place.path().join("log"));
    command.args(["--", "sh", "-c", "cat \"$0\"/tracer-user-*/enrollment_$$-*.json"]).arg(place.path());
    let output = output(&mut command);
    let sidecar: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a sidecar");
    assert_eq!(sidecar["comm"], "sh", "{sidecar}");
    assert_eq!(sidecar["cmdline"][0], "sh");
}

/// Without a tracer the job is this very process, and has the state that it inherited.
#[test]
fn a_job_that_is_not_traced_runs_bare() {
    let place = tempfile::tempdir().expect("a directory");
    let bare = |how: &dyn Fn(&mut Command), words: &[&str]| {
        let mut command = Command::new(TRACER);
        how(&mut command);
        command
            .args(["--trace-dir"])
            .arg(place.path())
            .arg("--log-dir")
            .arg(place.path())
            .arg("--")
            .args(words);
        output(&mut command)
    };
    let off = |command: &mut Command| {
        command.args(["run", "--enabled=false"]);
    };
    let done = bare(&off, &["sh", "-c", "grep SigIgn /proc/self/status; exit 7"]);
    assert_eq!((code(&done), stderr(&done).as_str()), (Some(7), ""));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let without = output(Command::new("grep").args(["SigIgn", "/proc/self/status"]));
    assert!(text.contains(&*String::from_utf8_lossy(&without.stdout)), "{text}");
    let by_variable = |command: &mut Command| {
        command.args(["run", "-v"]).env("TRACER_ENABLED", "0");
    };
    let done = bare(&by_variable, &["sh", "-c", "exit 3"]);
    assert_eq!((code(&done), stderr(&done).lines().count()), (Some(3), 1), "{done:?}");
    assert_eq!(code(&bare(&off, &["/nonexistent/program"])), Some(127));
    assert_eq!(std::fs::read_dir(place.path()).expect("readable").count(), 0, "nothing is recorded");
}
