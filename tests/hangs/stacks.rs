//! The line at which a thread waits, and that reading it leaves the thread as it was.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_user::core::diagnosis;
use tracer_user::procfs_view::{self, ProcRoot};
use tracer_user::{Ask, Request};

use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root, skip};

/// The diagnosis of a job in JSON, once it satisfies `enough`.
fn diagnosis_when(job: &TestChild, options: &[&str], enough: impl Fn(&Value) -> bool) -> Value {
    let pid = job.pid().as_raw_pid().to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut command = Command::new(TRACER);
        command.args(["diagnose", "--format", "json", "--quiet-window", "50ms", "--pid", &pid]).args(options);
        let done = output(&mut command);
        let diagnosis: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        if enough(&diagnosis) {
            return diagnosis;
        }
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(Instant::now() < deadline, "not in time: {errors}\n{diagnosis:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_deadlock(diagnosis: &Value) -> bool {
    diagnosis["verdict"] == "deadlock"
}

fn summary(diagnosis: &Value) -> &str {
    diagnosis["findings"][0]["summary"].as_str().unwrap_or_default()
}

/// The places at which the threads of the tree wait.
fn places(diagnosis: &Value) -> Vec<String> {
    let processes = diagnosis["waits"]["processes"].as_array().into_iter().flatten();
    let threads = processes.flat_map(|process| process["threads"].as_array().into_iter().flatten());
    threads.filter_map(|thread| Some(thread["at"]["text"].as_str()?.to_owned())).collect()
}

fn python(directory: &Path, file: &str, text: &str) -> TestChild {
    let path = directory.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    let mut command = Command::new("python3");
    command.arg(file).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    TestChild::start(&mut command)
}

#[test]
fn the_line_of_a_python_test_is_in_the_sentence_and_in_recorded_evidence() {
    let place = tempfile::tempdir().unwrap();
    let text = "import subprocess, sys

def test_chatty():
    proc = subprocess.Popen([sys.executable, 'tests/emit.py'], stdout=subprocess.PIPE)
    proc.wait()

test_chatty()
";
    let emit =
        "import sys\ndef emit():\n    sys.stdout.write('x' * 200_000)\n    sys.stdout.flush()\nemit()\n";
    std::fs::create_dir_all(place.path().join("tests")).unwrap();
    std::fs::write(place.path().join("tests/emit.py"), emit).unwrap();
    let job = python(place.path(), "tests/test_io.py", text);
    let diagnosis = diagnosis_when(&job, &[], is_deadlock);
    let summary = summary(&diagnosis);
    assert!(
        summary.contains("at tests/test_io.py:5 in test_chatty, waits for the exit of emit.py"),
        "{summary}"
    );
    assert!(
        summary.contains("at tests/emit.py:3 in emit,") || summary.contains("emit.py:4 in emit,"),
        "{summary}"
    );
    let waits = &diagnosis["waits"]["processes"][0]["threads"][0];
    let stack = waits["stack"].as_array().unwrap();
    assert!(stack.len() > 2 && stack[0]["kind"] == "python", "{waits:#}");
    let depth = waits["at"]["depth"].as_u64().unwrap() as usize;
    assert_eq!((&stack[depth]["line"], &stack[depth]["function"]), (&5.into(), &"test_chatty".into()));

    let pid = job.pid().as_raw_pid().to_string();
    let recorded = output(Command::new(TRACER).args(["diagnose", "--format", "evidence", "--pid", &pid]));
    let file = place.path().join("evidence.json");
    std::fs::write(&file, recorded.stdout).unwrap();
    let again = output(Command::new(TRACER).args(["diagnose", "--from"]).arg(&file));
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(text.contains("at tests/test_io.py:5 in test_chatty"), "{text}");
    let without = diagnosis_when(&job, &["--no-stacks"], is_deadlock);
    assert_eq!(places(&without), Vec::<String>::new());
}

#[test]
fn each_thread_of_a_python_lock_cycle_has_its_own_line() {
    let place = tempfile::tempdir().unwrap();
    let text = "import threading
a, b = threading.Lock(), threading.Lock()
first, second = threading.Event(), threading.Event()
def one():
    with a:
        first.set(); second.wait()
        with b:
            pass
def two():
    with b:
        second.set(); first.wait()
        with a:
            pass
threads = [threading.Thread(target=one), threading.Thread(target=two)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";
    let job = python(place.path(), "lock.py", text);
    let expected = ["lock.py:7 in one", "lock.py:12 in two", "lock.py:16 in <module>"];
    let all = |diagnosis: &Value| {
        let places = places(diagnosis);
        is_deadlock(diagnosis) && expected.iter().all(|line| places.iter().any(|place| place == line))
    };
    diagnosis_when(&job, &[], all);
}

/// A writer of a full pipe that it would have to read itself.
const CHAT: &str = "#include <string.h>
#include <unistd.h>
static int fds[2];
static void chat(int n) {
    char buf[4096];
    memset(buf, 'x', sizeof buf);
    for (int i = 0; i < n; i++)
        if (write(fds[1], buf, sizeof buf) < 0) return;
}
int main(void) {
    if (pipe(fds)) return 1;
    chat(100);
    return 0;
}
";

/// The same in Rust, through the standard library.
const PARENT: &str = "use std::process::{Child, Command, Stdio};
fn wait_for(child: &mut Child) {
    child.wait().unwrap();
}
fn main() {
    let mut head = Command::new(\"head\");
    let mut child = head.args([\"-c\", \"300000\", \"/dev/zero\"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child);
    drop(child);
}
";

/// Compiles a file of that name, and returns the program's path.
fn compiled(
    directory: &Path,
    file: &str,
    text: &str,
    compiler: &str,
    options: &[&str],
) -> std::path::PathBuf {
    let (source, program) = (directory.join(file), directory.join("program"));
    std::fs::write(&source, text).unwrap();
    let mut command = Command::new(compiler);
    command.args(options).arg("-o").arg(&program).arg(file).current_dir(directory);
    let done = output(&mut command);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    program
}

fn started(program: &Path) -> TestChild {
    let mut command = Command::new(program);
    command.current_dir(program.parent().unwrap()).stdin(Stdio::null());
    TestChild::start(&mut command)
}

#[test]
fn the_line_of_a_c_program_and_its_address_when_it_is_stripped() {
    for (optimization, line) in [("-O0", ":8 in chat"), ("-O2", ":8 in ")] {
        let place = tempfile::tempdir().unwrap();
        let program = compiled(place.path(), "chat.c", CHAT, "cc", &["-g", optimization]);
        let job = started(&program);
        let diagnosis = diagnosis_when(&job, &[], is_deadlock);
        let expected = format!("at chat.c{line}");
        assert!(summary(&diagnosis).contains(&expected), "{expected}: {}", summary(&diagnosis));
    }
    let place = tempfile::tempdir().unwrap();
    let program = compiled(place.path(), "chat.c", CHAT, "cc", &["-s", "-O0"]);
    let job = started(&program);
    let diagnosis = diagnosis_when(&job, &[], is_deadlock);
    let expected = format!("at {}+0x", program.display());
    assert!(summary(&diagnosis).contains(&expected), "{expected}: {}", summary(&diagnosis));
}

#[test]
fn the_line_of_a_rust_program_below_its_standard_library() {
    for options in [&["-g"][..], &["-g", "-O"]] {
        let place = tempfile::tempdir().unwrap();
        let program = compiled(place.path(), "parent.rs", PARENT, "rustc", options);
        let job = started(&program);
        let diagnosis = diagnosis_when(&job, &[], is_deadlock);
        let summary = summary(&diagnosis);
        assert!(
            summary.contains("at parent.rs:3 in parent::wait_for, waits for the exit of head"),
            "{summary}"
        );
    }
}

#[test]
fn a_program_that_only_its_own_mount_and_pid_namespaces_know_has_its_lines() {
    if !is_root() {
        skip("a mount namespace needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let program = compiled(place.path(), "chat.c", CHAT, "cc", &["-g", "-O0"]);
    let hidden = place.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    let script = "mount -t tmpfs none hidden && cp program hidden/chat && exec hidden/chat";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script])
        .current_dir(program.parent().unwrap())
        .stdin(Stdio::null());
    let job = TestChild::start(&mut command);
    let diagnosis = diagnosis_when(&job, &[], is_deadlock);
    assert!(!hidden.join("chat").exists());
    let places = places(&diagnosis);
    assert!(places.iter().any(|place| place == "chat.c:8 in chat"), "{places:?}");
}

/// Four processes, each in a call that a stop would end: a write that would return short, and three that
/// would fail with EINTR. Each writes a line when its call returns.
const SLEEPERS: &str = "import ctypes, os, signal, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def write():
    r, w = os.pipe()
    block = b'x' * 200000
    return libc.write(w, block, len(block))
def semop():
    sem = libc.semget(0, 1, 0o1600)
    os.write(2, b'semaphore %d\\n' % sem)
    return libc.semop(sem, (ctypes.c_short * 3)(0, -1, 0), 1)
def epoll():
    r, w = os.pipe()
    ep = libc.epoll_create1(0)
    libc.epoll_ctl(ep, 1, r, (ctypes.c_uint32 * 3)(1, 0, 0))
    return libc.epoll_wait(ep, (ctypes.c_uint32 * 3)(), 1, -1)
def sigwait():
    mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR1 - 1))
    libc.sigprocmask(0, mask, None)
    return libc.sigwaitinfo(mask, None)
for call in (write, semop, epoll, sigwait):
    if os.fork() == 0:
        got = call()
        os.write(1, b'%s returned %d, errno %d\\n' % (call.__name__.encode(), got, ctypes.get_errno()))
        os._exit(0)
os.wait()
";

/// Removes the semaphore that a job made.
struct Semaphore(String);

impl Drop for Semaphore {
    fn drop(&mut self) {
        let _ = output(Command::new("ipcrm").args(["-s", &self.0]));
    }
}

#[test]
fn a_hundred_looks_leave_every_call_where_it_is() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("sleepers.py"), SLEEPERS).unwrap();
    let log = place.path().join("returned");
    let mut command = Command::new("python3");
    command
        .arg("sleepers.py")
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(std::fs::File::create(place.path().join("made")).unwrap());
    let job = TestChild::start(&mut command);
    let calls = ["write", "semop", "epoll", "sigwait"];
    let all_wait = |diagnosis: &Value| {
        let places = places(diagnosis);
        calls.iter().all(|call| places.iter().any(|place| place.ends_with(&format!(" in {call}"))))
    };
    diagnosis_when(&job, &[], all_wait);
    let made = std::fs::read_to_string(place.path().join("made")).unwrap();
    let _semaphore = Semaphore(made.trim().strip_prefix("semaphore ").unwrap().to_owned());

    let request =
        Request { ask: Ask::Tree(job.pid().as_raw_pid() as u32), quiet_window: Duration::from_millis(1) };
    let before = sleeps(&job);
    for _ in 0..100 {
        let mut evidence = tracer_user::collect(&request).unwrap();
        let diagnosis = diagnosis::diagnose(&evidence);
        let named = diagnosis::named_threads(&evidence, &diagnosis);
        procfs_view::add_stacks(&mut evidence, &ProcRoot::system(), &named, PATIENCE);
        let read = evidence.processes.iter().flat_map(|process| &process.threads);
        assert!(read.filter(|thread| thread.frames.is_some()).count() >= calls.len());
    }
    assert_eq!(sleeps(&job), before, "a thread woke");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "", "a call returned");
}

/// How often each child of the job went to sleep so far.
fn sleeps(job: &TestChild) -> Vec<String> {
    let pid = job.pid().as_raw_pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let switches = |child: &str| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        status.lines().filter(|line| line.starts_with("voluntary")).collect::<String>()
    };
    children.split_ascii_whitespace().map(switches).collect()
}

#[test]
fn two_runs_of_one_hang_are_one_row_of_the_listing() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("lock.py"), "import threading\nlock = threading.Lock()\ndef twice():\n    lock.acquire()\n    lock.acquire()\ntwice()\n").unwrap();
    std::fs::write(place.path().join("fine.py"), "pass\n").unwrap();
    let log = place.path().join("log");
    let traces = place.path().join("traces");
    for program in ["lock.py", "fine.py", "lock.py"] {
        let mut command = Command::new(TRACER);
        command.args([
            "run",
            "--quiet",
            "--no-kernel",
            "--interval",
            "100ms",
            "--grace",
            "1s",
            "--label",
            "job=test",
        ]);
        command.args(["--hang-after", "500ms", "--on-hang", "interrupt"]);
        command.arg("--log-dir").arg(&log).arg("--trace-dir").arg(&traces);
        command.args(["--", "python3", program]).current_dir(place.path()).stdin(Stdio::null());
        output(&mut command);
    }
    let mut list = Command::new(TRACER);
    list.args(["sessions", "list", "--hangs", "--format", "json", "--log-dir"]).arg(&log);
    let hangs: Value = serde_json::from_slice(&output(&mut list).stdout).unwrap();
    assert_eq!(hangs.as_array().map(Vec::len), Some(1), "{hangs:#}");
    let hang = &hangs[0];
    assert_eq!((&hang["count"], &hang["of"]), (&2.into(), &3.into()), "{hang:#}");
    assert!(hang["functions"].to_string().contains("in twice"), "{hang:#}");
    assert!(
        hang["labels"][0] == "job=test" && hang["first_seen"].as_str() < hang["last_seen"].as_str(),
        "{hang:#}"
    );
    let mut list = Command::new(TRACER);
    let text = output(list.args(["sessions", "list", "--hangs", "--log-dir"]).arg(&log)).stdout;
    assert!(
        String::from_utf8_lossy(&text).starts_with("2 of 3 sessions: "),
        "{}",
        String::from_utf8_lossy(&text)
    );
}
