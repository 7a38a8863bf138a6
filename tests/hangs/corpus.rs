//! The corpus of real hangs (and of healthy work that looks like one) in tests/hangs, judged by the real program.
//!
//! Needs python3, and root: reading another process's system calls needs the right to ptrace it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Scenarios mostly sleep: this many at a time keep two cores busy.
const AT_ONCE: usize = 4;

/// One of each way to hang and of each way to be healthy: what is tried on other kernels, where time is short.
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

/// The scenarios' names, in order.
fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(hangs().join("scenarios"))
        .expect("the scenarios lie beside the runner")
        .map(|entry| entry.expect("a folder that can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The real program.
const TOOL: &str = env!("CARGO_BIN_EXE_tracer-user");

/// Runs some scenarios one after the other with a program; what the runner says of them.
fn judge(program: &Path, names: &[String]) -> String {
    let output = Command::new("python3")
        .arg(hangs().join("hangs"))
        .arg(program)
        .env("TRACER_USER", TOOL)
        .args(names)
        .output()
        .expect("python3 is needed to run the corpus");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{said}{}", String::from_utf8_lossy(&output.stderr))
}

/// What a user without privileges can see of processes of its own, a scenario for each kind of evidence: pipes, sockets, terminals,
/// file locks, shared memory, the states of processes, and healthy work beside them.
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
fn a_user_without_privileges_is_told_the_same_of_processes_of_its_own() {
    // Neither the program nor the scenarios may lie where that user cannot go.
    let place = tempfile::tempdir().expect("a directory");
    let copy = |from: &Path, name: &str| {
        let to = place.path().join(name);
        std::fs::copy(from, &to).expect("copied");
        to
    };
    let program = copy(Path::new(TOOL), "tracer-user");
    let runner = copy(&hangs().join("hangs"), "hangs");
    for name in OF_ONE_USER {
        let file = format!("{name}.py");
        copy(&hangs().join("scenarios").join(&file), &file);
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).expect("opened");
    let privileged = rustix::process::geteuid().is_root();
    let judge = |names: &[&str]| {
        let mut command = if privileged {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "python3"]);
            // An interpreter in somebody's home is out of reach, too.
            command.env("PATH", "/usr/bin:/bin").env("HOME", "/").env_remove("TMPDIR");
            command
        } else {
            Command::new("python3")
        };
        let output = command
            .arg(&runner)
            .arg(&program)
            .arg("--dir")
            .arg(place.path())
            .args(names)
            .output()
            .expect("setpriv and python3 are needed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        format!("{said}{}", String::from_utf8_lossy(&output.stderr))
    };
    let said: Vec<String> = std::thread::scope(|scope| {
        let judges: Vec<_> = OF_ONE_USER.chunks(4).map(|share| scope.spawn(|| judge(share))).collect();
        judges.into_iter().map(|judge| judge.join().unwrap()).collect()
    });
    let passed = said.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, OF_ONE_USER.len(), "\n{}", said.concat());
}

/// Whether the corpus can be judged here.
fn may_judge() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let required = std::env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1");
    assert!(!required, "the corpus needs root, and TRACER_REQUIRE_BPF=1 forbids to skip it");
    println!("skipped: the corpus needs root");
    false
}

/// Runs scenarios with a program, so many at once; all have to be explained as they are.
fn explained(program: &Path, names: &[String], at_once: usize) {
    let said: Vec<String> = std::thread::scope(|scope| {
        let share = |first| names.iter().skip(first).step_by(at_once).cloned().collect::<Vec<_>>();
        let shares: Vec<Vec<String>> = (0..at_once).map(share).filter(|share| !share.is_empty()).collect();
        let judges: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || judge(program, &share))).collect();
        judges.into_iter().map(|judge| judge.join().unwrap()).collect()
    });
    let passed = said.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, names.len(), "\n{}", said.concat());
}

#[test]
fn the_core_is_explained_as_it_is() {
    if may_judge() {
        let all = scenarios();
        let core = CORE.map(String::from);
        assert!(core.iter().all(|name| all.contains(name)), "the corpus is incomplete: {all:?}");
        explained(Path::new(TOOL), &core, 2);
    }
}

/// Scenarios whose sockets' other ends matter.
const OF_SOCKETS: [&str; 5] =
    ["fd_in_flight", "loopback_tcp_full", "request_left_unread", "socketpair_full", "unix_backlog_full"];

#[test]
fn sockets_are_explained_where_sock_diag_does_not_answer() {
    if may_judge() {
        let program = hangs().join("without_sock_diag");
        explained(&program, &OF_SOCKETS.map(String::from), 2);
    }
}

#[test]
fn every_other_scenario_is_explained_as_it_is() {
    if may_judge() {
        let mut others = scenarios();
        others.retain(|name| !CORE.contains(&name.as_str()));
        assert!(others.len() >= 10, "the corpus is incomplete: {others:?}");
        explained(Path::new(TOOL), &others, AT_ONCE - 1);
    }
}
