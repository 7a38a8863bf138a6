//! The corpus of real hangs, and of healthy work that looks like one, in this folder, diagnosed by the tool.
//!
//! Needs python3 and root: reading another process's system calls requires the right to ptrace it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::child::output;
use crate::support::{TRACER, is_root};

/// Scenarios mostly sleep: this many in parallel keep two processors busy.
const AT_ONCE: usize = 4;

/// One scenario of each kind of hang and of each kind of healthy work, for other kernels, where time is
/// short.
const CORE: [&str; 14] = [
    "wait_before_read",
    "full_by_slots_not_bytes",
    "two_pipes_swapped",
    "keeps_its_own_write_end",
    "orphan_holds_stdout",
    "fifo_without_partner",
    "socketpair_full",
    "pty_full",
    "flocks_crossed",
    "waits_for_stopped_reader",
    "zombie_leader",
    "unreaped_child",
    "slow_consumer_is_healthy",
    "idle_workers_are_healthy",
];

fn hangs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hangs")
}

/// The names of the scenarios, sorted.
fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(hangs().join("scenarios"))
        .expect("the scenarios are beside the runner")
        .map(|entry| entry.expect("a folder that can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Runs scenarios one after the other with a program as the tool. Gives the runner's output.
fn run(program: &Path, names: &[String]) -> String {
    let mut command = Command::new("python3");
    command.arg(hangs().join("run.py")).arg(program).args(names).env("TRACER_USER", TRACER);
    both_outputs(&mut command)
}

fn both_outputs(command: &mut Command) -> String {
    let output = output(command);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{stdout}{}", String::from_utf8_lossy(&output.stderr))
}

/// What a user without privileges can see of processes of its own. A scenario for each kind of evidence:
/// pipes, sockets, terminals, file locks, shared memory, the states of processes, and healthy work beside
/// them.
const OF_ONE_USER: [&str; 12] = [
    "captured_to_a_file_is_healthy",
    "flock_outlives_locker",
    "lock_of_a_killed_process",
    "nonblocking_writer",
    "orphan_holds_stdout",
    "password_asked_on_the_terminal",
    "request_left_unread",
    "slow_consumer_is_healthy",
    "socketpair_full",
    "threads_lock_each_other_out",
    "unreaped_child",
    "waits_for_stopped_reader",
];

#[test]
fn a_user_without_privileges_gets_the_same_diagnosis_of_its_own_processes() {
    // Neither the program nor the scenarios may be where that user has no access.
    let place = tempfile::tempdir().expect("a directory");
    let copy = |from: &Path, name: &str| {
        let to = place.path().join(name);
        std::fs::copy(from, &to).expect("copied");
        to
    };
    let program = copy(Path::new(TRACER), "tracer-user");
    let runner = copy(&hangs().join("run.py"), "run.py");
    std::fs::create_dir(place.path().join("parts")).expect("made");
    let files = OF_ONE_USER.map(|name| format!("{name}.py"));
    for file in files.iter().map(String::as_str).chain(["parts/__init__.py"]) {
        copy(&hangs().join("scenarios").join(file), file);
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).expect("opened");
    let privileged = rustix::process::geteuid().is_root();
    let run = |names: &[&str]| {
        let mut command = if privileged {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "python3"]);
            // That user has no access to an interpreter in another user's home either.
            command.env("PATH", "/usr/bin:/bin").env("HOME", "/").env_remove("TMPDIR");
            command
        } else {
            Command::new("python3")
        };
        both_outputs(command.arg(&runner).arg(&program).arg("--dir").arg(place.path()).args(names))
    };
    let texts: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = OF_ONE_USER.chunks(4).map(|share| scope.spawn(|| run(share))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    check(&texts, OF_ONE_USER.len());
}

/// Checks the outputs of the runner: of this many scenarios each is explained or a known gap. Prints the
/// known gaps.
#[track_caller]
fn check(texts: &[String], scenarios: usize) {
    let lines = || texts.iter().flat_map(|text| text.lines());
    let gaps: Vec<&str> = lines().filter(|line| line.starts_with("gap ")).collect();
    let passed = lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, scenarios - gaps.len(), "{} known gaps\n{}", gaps.len(), texts.concat());
    gaps.iter().for_each(|gap| println!("{gap}"));
    println!("{passed} scenarios explained, {} known gaps", gaps.len());
}

/// Runs scenarios with a program as the tool, this many in parallel. The diagnosis of each has to be right,
/// or its error a known gap.
#[track_caller]
fn are_explained(program: &Path, names: &[String], at_once: usize) {
    let texts: Vec<String> = std::thread::scope(|scope| {
        let share = |first| names.iter().skip(first).step_by(at_once).cloned().collect::<Vec<_>>();
        let shares: Vec<Vec<String>> = (0..at_once).map(share).filter(|share| !share.is_empty()).collect();
        let runs: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || run(program, &share))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    check(&texts, names.len());
}

#[test]
fn the_core_is_explained() {
    if is_root() {
        let all = scenarios();
        let core = CORE.map(String::from);
        assert!(core.iter().all(|name| all.contains(name)), "the corpus is incomplete: {all:?}");
        are_explained(Path::new(TRACER), &core, 2);
    }
}

/// Scenarios whose diagnosis depends on the other ends of sockets.
const OF_SOCKETS: [&str; 5] =
    ["fd_in_flight", "loopback_tcp_full", "request_left_unread", "socketpair_full", "unix_backlog_full"];

#[test]
fn sockets_are_explained_without_sock_diag() {
    if is_root() {
        let program = hangs().join("without_sock_diag");
        are_explained(&program, &OF_SOCKETS.map(String::from), 2);
    }
}

#[test]
fn every_other_scenario_is_explained() {
    if is_root() {
        let mut others = scenarios();
        others.retain(|name| !CORE.contains(&name.as_str()));
        assert!(others.len() >= 10, "the corpus is incomplete: {others:?}");
        are_explained(Path::new(TRACER), &others, AT_ONCE - 1);
    }
}
