//! Each anomaly happens on this machine, and is recorded: with kernel events and without them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root};

/// A job with a child for each anomaly. They go on until the job is reported to end.
const JOB: &str = r#"
import ctypes, hashlib, os, resource, signal, sys, threading, time
libc = ctypes.CDLL(None)
children = []
def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        while True: time.sleep(1000)
    children.append(pid)
def score():
    while True:
        for value in ("0", "1000"):
            open("/proc/self/oom_score_adj", "w").write(value)
            time.sleep(0.4)
def burn():
    # Also beside other work: this releases the interpreter's lock.
    os.nice(-20)
    work = lambda: [hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 20) for _ in iter(int, 1)]
    for _ in range(2): threading.Thread(target=work).start()
def pending():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.kill(os.getpid(), signal.SIGUSR1)
def files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    while True:
        try: os.dup(0)
        except OSError: return
def grow():
    global memory
    memory = []
    for _ in range(100):
        memory.append(bytearray(os.urandom(4096) * 256))
        time.sleep(0.05)
def rename():
    # A process that is found after its name changed has not drifted.
    while True:
        for name in (b"renamed", b"python3"):
            libc.prctl(15, name, 0, 0, 0)
            time.sleep(0.5)
def uninterruptible():
    # The parent of a vfork sleeps so until its child executes or ends. The child ends with it.
    if libc.vfork() == 0:
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
        libc.pause()
for work in (score, burn, pending, files, grow, uninterruptible,
             rename, lambda: os.kill(os.getpid(), signal.SIGSTOP)):
    child(work)
# Not reaped.
if os.fork() == 0: os._exit(0)
print("ready", os.getpid(), flush=True)
sys.stdin.readline()
for pid in children: os.kill(pid, signal.SIGKILL)
"#;

const KINDS: [&str; 11] = [
    "d_state_sustained",
    "fd_high",
    "high_cpu_sustained",
    "identity_drift",
    "oom_critical",
    "oom_spike",
    "rss_growth",
    "signals_pending",
    "stopped_sustained",
    "zombie_detected",
    "zombie_persistent",
];

fn tracer(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(words).env("TRACER_TRACE_DIR", place).env("TRACER_LOG_DIR", place.join("log"));
    command
}

/// Starts a command with pipes. Everything that it started ends with it.
fn in_group(mut command: Command) -> TestChild {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    TestChild::leading_group(command)
}

/// The anomalies in the trace of the session that runs in this place.
fn anomalies(place: &Path) -> Vec<Value> {
    let uid = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(place.join(format!("tracer-user-{uid}"))).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let lines = |text: String| -> Vec<Value> {
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    texts.flat_map(lines).filter(|line| line["kind"] == "anomaly").collect()
}

fn wait_for(place: &Path, kinds: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = anomalies(place);
        let found: BTreeSet<&str> = found.iter().filter_map(|line| line["anomaly"].as_str()).collect();
        let missing: Vec<_> = kinds.iter().filter(|kind| !found.contains(**kind)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "never happened: {missing:?}; only {found:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// One process changes its name, and is the only one whose name drifts.
fn check_names(place: &Path) {
    let drifted: BTreeSet<_> = anomalies(place)
        .into_iter()
        .filter(|line| line["anomaly"] == "identity_drift")
        .map(|line| line["process"].to_string())
        .collect();
    assert_eq!(drifted.len(), 1, "{drifted:?}");
}

#[test]
fn every_anomaly_of_a_process_happens_in_a_traced_job() {
    if !is_root() {
        return;
    }
    for options in [&[][..], &["--no-kernel"]] {
        let place = tempfile::tempdir().expect("a directory");
        let words = ["run", "--quiet", "--interval", "100ms", "--hang-after", "1h"];
        let words = [&words, options, &["--", "python3", "-c", JOB]].concat();
        let mut run = in_group(tracer(place.path(), &words));
        run.expect("ready");
        wait_for(place.path(), &KINDS);
        check_names(place.path());
        run.send_line("end");
        assert!(run.wait().success());
    }
}

#[test]
fn a_session_in_which_nothing_moves_makes_no_progress() {
    let place = tempfile::tempdir().expect("a directory");
    let words = ["run", "--quiet", "--interval", "100ms", "--hang-after", "500ms", "--", "cat"];
    let mut run = in_group(tracer(place.path(), &words));
    wait_for(place.path(), &["no_progress"]);
    assert!(run.wait().success());
}

/// A job in which a write is blocked, memory runs out where a memory cgroup can be made, and a process stays.
const SESSION_JOB: &str = r#"
import os, signal, subprocess, sys
if not (writer := os.fork()):
    reader, pipe = os.pipe()
    os.write(pipe, b"x" * (1 << 20))
stays = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print("stays", stays.pid, flush=True)
v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
is_v1 = os.path.exists(v1 + "/memory.limit_in_bytes")
group = "%s/tracer-anomalies-%d" % (v1 if is_v1 else v2, os.getpid())
try:
    os.mkdir(group)
    open(group + ("/memory.limit_in_bytes" if is_v1 else "/memory.max"), "w").write("33554432")
    if not is_v1: open(group + "/memory.swap.max", "w").write("0")
    if not (hoarder := os.fork()):
        open(group + "/cgroup.procs", "w").write("0")
        hoard = []
        while True: hoard.append(bytearray(b"x" * (1 << 20)))
    os.waitpid(hoarder, 0)
    print("oom yes", flush=True)
except OSError as error:
    print("oom no", error, flush=True)
try: os.rmdir(group)
except OSError: pass
sys.stdin.readline()
os.kill(writer, signal.SIGKILL)
"#;

#[test]
fn every_anomaly_that_the_kernel_reports_happens_in_a_traced_job() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let words = ["run", "--quiet", "--interval", "100ms", "--stall-threshold", "200ms", "--session-id", "s"];
    let words = [&words[..], &["--", "python3", "-c", SESSION_JOB]].concat();
    let mut run = in_group(tracer(place.path(), &words));
    let stays = run.expect_number("stays ");
    run.track(stays);
    run.expect("oom ");
    let memory_ran_out = run.line() == "yes";
    if !memory_ran_out {
        eprintln!("no memory cgroup can be made here: killed_by_oom is not tried");
    }
    let mut kinds = vec!["write_stall"];
    kinds.extend(memory_ran_out.then_some("killed_by_oom"));
    wait_for(place.path(), &kinds);
    run.send_line("end");
    assert!(run.wait().success());
    let shown = output(&mut tracer(place.path(), &["sessions", "show", "s", "--format", "json"]));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let anomalies = &shown["summary"]["anomalies"];
    assert_eq!(
        (&anomalies["leaked_process"], &anomalies["write_stall"]),
        (&1.into(), &1.into()),
        "{shown:#}"
    );
}

/// Execs, one after the other, while every sample looks: none of the names is a drift.
#[test]
fn programs_that_are_executed_one_after_the_other_do_not_drift() {
    let place = tempfile::tempdir().expect("a directory");
    let job =
        "for i in $(seq 150); do sh -c 'exec sh -c \"exec env true\"' & sh -c 'exec env true'; done; wait";
    let burn = "while :; do :; done";
    let mut load: Vec<TestChild> = (0..4)
        .map(|_| {
            let mut command = Command::new("sh");
            command.args(["-c", burn]);
            TestChild::start(&mut command)
        })
        .collect();
    for options in [&[][..], &["--no-kernel"]] {
        let words = ["run", "--quiet", "--interval", "1ms", "--hang-after", "400ms", "--session-id", "s"];
        let words = [&words, options, &["--", "sh", "-c", job]].concat();
        let run = output(&mut tracer(place.path(), &words));
        assert!(run.status.success(), "{run:?}");
    }
    for it in &mut load {
        it.kill();
    }
    for name in ["s", "s.2"] {
        let shown = output(&mut tracer(place.path(), &["sessions", "show", name, "--format", "json"]));
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        assert!(shown["summary"]["snapshot_count"].as_u64() > Some(0), "{shown:#}");
        assert_eq!(shown["summary"]["anomalies"]["identity_drift"], Value::Null, "{shown:#}");
    }
}
