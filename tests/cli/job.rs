//! A job under `run` cannot tell it is watched: its exit status, descriptors, signals and limits are what they
//! would be alone.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::talk::{self, Talk};
use rustix::process::Signal;

const TRACER: &str = env!("CARGO_BIN_EXE_tracer-user");

fn run(words: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(["run", "--quiet", "--"]).args(words).stdin(Stdio::null());
    talk::isolate(&mut command);
    command
}

fn script(text: &str) -> Command {
    run(&["sh", "-c", text])
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
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
        let output = script(text).output().expect("runs");
        assert_eq!(code(&output), Some(expected), "{text}: {}", said(&output));
    }
}

#[test]
fn what_cannot_be_executed_is_told_as_env_does() {
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
        let output = run(&[program]).output().expect("runs");
        let text = said(&output);
        let bare = Command::new("env").arg("--").arg(program).output().expect("env runs");
        if !program.is_empty() {
            assert_eq!(code(&bare), Some(expected), "env(1) thinks otherwise of {program}");
        }
        assert_eq!(code(&output), Some(expected), "{program}: {text}");
        // That the test's place is on a disk may be said before.
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("tracer-user: run: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(program), "{text}");
    }
}

#[test]
fn a_path_entry_that_may_not_be_run_is_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("tool"), "").expect("written");
    let output = run(&["tool"]).env("PATH", directory.path()).output().expect("runs");
    assert_eq!(code(&output), Some(126), "{}", said(&output));
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_the_shell() {
    let directory = tempfile::tempdir().expect("a directory");
    let tool = directory.path().join("tool");
    std::fs::write(&tool, "echo $0 $1; exit 9\n").expect("written");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let output = run(&["tool", "word"]).env("PATH", directory.path()).output().expect("runs");
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
        let output = Command::new(TRACER).args(words).output().expect("runs");
        assert_eq!(
            (code(&output), said(&output).lines().count()),
            (Some(125), 1),
            "{words:?}: {}",
            said(&output)
        );
    }
}

/// Everything a process inherits that a wrapper could spoil.
const INHERITED: &str = "for fd in /proc/$$/fd/*; do case $(readlink $fd) in */sh|*/dash|*/bash) ;; *) echo ${fd##*/};; esac; done
umask; ulimit -a; ulimit -Ha; grep -E '^Sig(Ign|Blk|Cgt)|^NoNewPrivs|^Cap|^Seccomp' /proc/self/status
cut -d' ' -f5,6,7,8 /proc/$$/stat; cat /proc/$$/oom_score_adj; nice; pwd; env | grep -v -e ^_= | sort";

/// Runs `INHERITED` bare and traced, each prepared alike, and compares.
#[track_caller]
fn same_inheritance(prepare: impl Fn(&mut Command)) -> String {
    let mut bare = Command::new("sh");
    bare.args(["-c", INHERITED]);
    let mut traced = script(INHERITED);
    let [bare, traced] = [&mut bare, &mut traced].map(|command| {
        command.stdin(Stdio::null());
        talk::isolate(command);
        prepare(command);
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    });
    assert_eq!(bare, traced);
    traced
}

#[test]
fn a_job_inherits_what_it_would_without_us() {
    let seen = same_inheritance(|_| {});
    // SIGPIPE, which Rust's runtime ignores for itself, is the 13th.
    let ignored = seen.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("there").trim();
    assert_eq!(
        u64::from_str_radix(ignored, 16).expect("hex") & (1 << 12),
        0,
        "SIGPIPE is ignored in the job"
    );
}

#[test]
fn a_job_inherits_what_was_unusual() {
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
    // Standard output and descriptor 9 are one pipe; the job lets go of both and lives on.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let number = writer.as_raw_fd();
    let mut command = script("echo $$; exec >&- 9>&-; exec sleep 1000");
    command.stdout(writer.try_clone().expect("dup"));
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::dup2(number, 9);
            Ok(())
        });
    }
    let mut tracer = command.spawn().expect("runs");
    drop((writer, command));
    let text = std::io::read_to_string(reader).expect("the end of the file comes while the job lives");
    assert!(tracer.try_wait().expect("asked").is_none(), "the tracer has ended");
    let job = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    let job = rustix::process::pidfd_open(job, rustix::process::PidfdFlags::empty()).expect("the job lives");
    rustix::process::pidfd_send_signal(job, Signal::KILL).expect("ended");
    assert_eq!(tracer.wait().expect("ends").code(), Some(137));
}

#[test]
fn orphans_go_where_they_would_go_without_us() {
    // The child waits until its parent is another than $1, and says who; whoever holds the pipe waits for it.
    let orphan = "while [ $(cut -d' ' -f4 /proc/$$/stat) = $1 ]; do :; done; cut -d' ' -f4 /proc/$$/stat";
    let text = r#"sh -c 'sh -c "$ORPHAN" orphan $$ & exit 0'"#;
    let mut bare = Command::new("sh");
    bare.args(["-c", text]).stdin(Stdio::null());
    let [bare, traced] = [bare, script(text)].map(|mut it| it.env("ORPHAN", orphan).output().expect("runs"));
    assert!(!bare.stdout.is_empty(), "{}", said(&bare));
    assert_eq!(String::from_utf8_lossy(&bare.stdout), String::from_utf8_lossy(&traced.stdout));
}

/// Counts signals, says so, and ends by itself once USR2 came.
const COUNTS: &str = "i=0; t=0; u=0; h=0
trap 'i=$((i+1)); echo INT' INT; trap 't=$((t+1)); echo TERM' TERM; trap 'u=$((u+1)); echo USR1' USR1
trap 'h=$((h+1)); echo HUP' HUP; trap 'echo counted $i $t $u $h; exit 33' USR2
echo ready $$
while :; do sleep 0.05; done";

#[test]
fn signals_are_passed_on_once() {
    let mut talk = Talk::on_pipe(script(COUNTS));
    talk.hear("ready");
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::HUP, "HUP"),
        (Signal::TERM, "TERM"),
    ] {
        talk.signal(signal);
        talk.hear(name);
    }
    talk.signal(Signal::USR2);
    let (status, text) = talk.end();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 1 2 1 1"));
}

/// `kill -- -GROUP` and timeout(1) send to the tracer and to the job; only the kernel tells that from one for the tracer.
#[test]
fn a_signal_to_the_whole_group_is_not_passed_on_as_well() {
    if !rustix::process::geteuid().is_root() {
        assert_ne!(std::env::var("TRACER_REQUIRE_BPF").as_deref(), Ok("1"), "needs kernel events");
        eprintln!("skipped: not root");
        return;
    }
    let mut command = script(COUNTS);
    command.process_group(0);
    let mut talk = Talk::on_pipe(command);
    talk.hear("ready");
    for (signal, name) in [(Signal::INT, "INT"), (Signal::USR1, "USR1"), (Signal::TERM, "TERM")] {
        rustix::process::kill_process_group(talk.pid(), signal).expect("signalled");
        talk.hear(name);
    }
    // SIGTERM is looked into before it is passed on.
    assert!(!talk.output_has("TERM", Duration::from_millis(1500)), "passed on as well");
    // One for the tracer alone is passed on.
    talk.signal(Signal::HUP);
    talk.hear("HUP");
    talk.signal(Signal::USR2);
    let (status, text) = talk.end();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 1 1 1 1"));
}

#[test]
fn a_signal_that_ends_the_job_ends_us_like_it() {
    for (signal, expected) in
        [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)]
    {
        let mut talk = Talk::on_pipe(run(&["sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000"]));
        talk.hear("ready");
        talk.signal(signal);
        assert_eq!(talk.wait().code(), Some(expected));
    }
}

#[test]
fn a_second_interrupt_ends_the_tracer_and_leaves_the_job() {
    let mut talk = Talk::on_pipe(run(&["sh", "-c", "trap '' INT; echo ready $$; exec sleep 1000"]));
    let job = talk.hear_number("ready");
    talk.adopt(job);
    talk.signal(Signal::INT);
    assert!(!talk.adopted_ended(0, Duration::from_millis(200)), "the job ended of a signal it ignores");
    talk.signal(Signal::INT);
    assert_eq!(talk.wait().code(), Some(130));
    assert!(!talk.adopted_ended(0, Duration::ZERO), "the job was ended with the tracer");
    talk.recover();
}

#[test]
fn signals_that_were_ignored_stay_so() {
    let mut command = script(COUNTS);
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut talk = Talk::on_pipe(command);
    talk.hear("ready");
    talk.signal(Signal::INT);
    talk.signal(Signal::INT);
    talk.signal(Signal::TERM);
    talk.hear("TERM");
    talk.signal(Signal::USR2);
    let (status, text) = talk.end();
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
    let mut talk = Talk::on_pipe(script(&text));
    let job = talk.hear_number("ready");
    talk.adopt(job);
    talk.signal(Signal::KILL);
    talk.wait();
    assert!(!talk.adopted_ended(0, Duration::ZERO));
    std::fs::write(directory.path().join("fifo"), "went on\n").expect("told to go on");
    assert!(talk.adopted_ended(0, talk::PATIENCE));
    assert_eq!(std::fs::read_to_string(done).expect("written"), "went on\n");
    talk.recover();
}

#[test]
fn a_stopped_job_without_a_shell_does_not_stop_the_tracer() {
    let mut talk = Talk::on_pipe(script(COUNTS));
    let job = talk.hear_number("ready");
    let job = talk.adopt(job);
    rustix::process::kill_process(job, Signal::STOP).expect("stopped");
    // The tracer still listens: a SIGCONT for it alone is passed on.
    talk.signal(Signal::TERM);
    talk.signal(Signal::CONT);
    talk.hear("TERM");
    talk.signal(Signal::USR2);
    let (status, text) = talk.end();
    assert_eq!((status.code(), text.trim()), (Some(33), "counted 0 1 0 0"));
}
