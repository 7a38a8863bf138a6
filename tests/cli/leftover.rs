//! `preflight` and `reap` on real leftovers: what is ours goes, and a look-alike next to it stays untouched.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::talk::{self, Talk};
use serde_json::Value;

/// A suite: multiprocessing workers and a small server, in a session of their own, that outlive whoever started
/// them. The server ignores Ctrl-C, listens on a port and on a socket file.
const SUITE: &str = r#"
import multiprocessing, os, signal, socket, sys, time
where = sys.argv[1]
def say(*words):
    # In one piece: several of these processes speak at once.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
def worker():
    time.sleep(1000)
def server():
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen()
    unix = socket.socket(socket.AF_UNIX); unix.bind(where + "/app.sock"); unix.listen()
    say("port", tcp.getsockname()[1])
    time.sleep(1000)
if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    for what in (worker, worker, server):
        child = multiprocessing.Process(target=what); child.start()
        say("child", child.pid)
    say("started")
    time.sleep(1000)
"#;

/// A checkout with a suite in it, and a place for sessions; all gone at the end.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["repo/.git", "other/.git", "traces"] {
            std::fs::create_dir_all(directory.path().join(name)).expect("made");
        }
        for name in ["repo/suite.py", "other/suite.py"] {
            std::fs::write(directory.path().join(name), SUITE).expect("written");
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).canonicalize().expect("there")
    }

    fn command(&self, program: &str, cwd: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(cwd));
        // So that what lies in the machine's temporary directory is none of this test's business.
        command.env("TMPDIR", self.path("traces")).env_remove("XDG_RUNTIME_DIR");
        command
            .env("TRACER_TRACE_DIR", self.path("traces"))
            .env("TRACER_LOG_DIR", self.path("traces").join("log"));
        command
    }

    /// `tracer-user WORDS --format json` in the checkout.
    fn tracer(&self, words: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.command(env!("CARGO_BIN_EXE_tracer-user"), "repo");
        let output = command.args(words).args(["--format", "json"]).output().expect("runs");
        (output.status.code(), json(&output))
    }

    /// Starts a suite in a checkout; gives it with its children's pids and the server's port.
    fn suite(&self, program: &str, words: &[&str], cwd: &str) -> (Talk, Vec<i32>, u16) {
        let mut command = self.command(program, cwd);
        command.args(words).arg("suite.py").arg(self.path(cwd));
        let mut talk = Talk::on_pipe(command);
        let (mut children, mut port) = (Vec::new(), None);
        // The server's line comes when it comes.
        while children.len() < 3 || port.is_none() {
            let line = talk.hear("\n");
            match line.trim().split_once(' ') {
                Some(("child", pid)) => children.push(pid.parse().expect("a pid")),
                Some(("port", number)) => port = Some(number.parse().expect("a port")),
                _ => {}
            }
        }
        for child in &children {
            talk.adopt(*child);
        }
        (talk, children, port.expect("it was said"))
    }
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).expect(&said)
}

fn pids(list: &Value, status: &str) -> Vec<i64> {
    let findings = list["findings"].as_array().expect("a list");
    let mut found: Vec<_> = findings
        .iter()
        .filter(|it| it["status"] == status && it["kind"] != "listener")
        .flat_map(|it| it["processes"].as_array().expect("a list"))
        .map(|it| it["pid"].as_i64().expect("a number"))
        .collect();
    found.sort_unstable();
    found
}

fn about<'a>(report: &'a Value, path: &Path) -> Option<&'a Value> {
    let path = path.to_str().expect("text");
    report["findings"].as_array().expect("a list").iter().find(|it| it["path"] == path)
}

fn sorted(children: &[i32]) -> Vec<i64> {
    let mut all: Vec<_> = children.iter().copied().map(i64::from).collect();
    all.sort_unstable();
    all
}

#[test]
fn what_a_killed_suite_left_goes_and_its_look_alike_stays() {
    let place = Place::new();
    let (mut suite, children, port) = place.suite("python3", &[], "repo");
    let (mut other, other_children, other_port) = place.suite("python3", &[], "other");
    // Both lose their starter, in the middle: only one of them is of this checkout.
    for talk in [&mut suite, &mut other] {
        talk.signal(rustix::process::Signal::KILL);
        talk.wait();
    }

    let (code, before) = place.tracer(&["preflight"]);
    assert_eq!((code, pids(&before, "left")), (Some(1), sorted(&children)), "{before:#}");
    let text = before.to_string();
    assert!(other_children.iter().all(|pid| !text.contains(&format!("\"pid\":{pid},"))), "{before:#}");

    // A plan changes nothing.
    let (code, plan) = place.tracer(&["reap", "--all-mine"]);
    assert_eq!(
        (code, plan["dry_run"].as_bool(), plan["ended"].as_array().map(Vec::len)),
        (Some(1), Some(true), Some(0))
    );
    assert_eq!(plan["plan"]["end"].as_array().map(Vec::len), Some(3), "{plan:#}");
    let told = place.command(env!("CARGO_BIN_EXE_tracer-user"), "repo").args(["reap", "--all-mine"]).output();
    let told = told.expect("runs");
    let text = String::from_utf8_lossy(&told.stdout);
    assert_eq!((told.status.code(), text.matches("\nend ").count()), (Some(1), 2), "{told:?}");
    assert!(text.starts_with("end ") && text.ends_with("nothing was done: add --yes to do it\n"), "{text}");
    assert!((0..3).all(|index| !suite.adopted_ended(index, Duration::ZERO)));

    // The other's port is not ours to free.
    let (code, refused) = place.tracer(&["reap", "--port", &other_port.to_string(), "--yes"]);
    assert_eq!((code, refused["plan"]["end"].as_array().map(Vec::len)), (Some(1), Some(0)), "{refused:#}");
    assert!(refused["plan"]["refused"].to_string().contains("not proved to be yours"), "{refused:#}");

    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!((0..3).all(|index| suite.adopted_ended(index, Duration::ZERO)), "{reaped:#}");
    let ended = reaped["ended"].as_array().expect("a list");
    let server = ended.iter().find(|it| it["pid"] == children[2]).expect("the server is among them");
    // It ignores SIGINT, which is seen before and not waited for.
    assert_eq!(
        (server["outcome"].as_str(), server["by"].as_str()),
        (Some("ended"), Some("terminate")),
        "{server:#}"
    );
    assert_eq!(server["tried"][0]["obstacles"][0], "ignored");
    let socket = place.path("repo").join("app.sock");
    assert!(!socket.exists(), "the socket's file was left: {reaped:#}");

    let (code, after) = place.tracer(&["preflight", "--port", &port.to_string()]);
    assert_eq!((code, after["clean"].as_bool()), (Some(0), Some(true)), "{after:#}");
    assert!((0..3).all(|index| !other.adopted_ended(index, Duration::ZERO)), "the look-alike was touched");
    assert!(place.path("other").join("app.sock").exists());
    drop(suite);
}

#[test]
fn a_port_in_use_by_a_stranger_is_named_and_breaks() {
    let place = Place::new();
    let (_other, children, port) = place.suite("python3", &[], "other");
    let (code, report) = place.tracer(&["preflight", "--port", &port.to_string()]);
    assert_eq!(code, Some(1), "{report:#}");
    let listener = report["findings"].as_array().expect("a list").iter().find(|it| it["port"] == port);
    let listener = listener.expect("the port is named");
    assert_eq!(
        (listener["status"].as_str(), &listener["command"]),
        (Some("in_use"), &Value::Null),
        "{listener:#}"
    );
    assert_eq!(listener["processes"][0]["pid"], children[2]);
    assert!(listener["sentence"].as_str().expect("text").contains("not yours"), "{listener:#}");
    // Without the question it is nobody's business here.
    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!(code, Some(0), "{report:#}");
}

#[test]
fn a_listener_in_another_network_namespace_is_found_and_its_namespace_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let server = "import socket, time; s = socket.socket(); s.bind(('', 0)); s.listen()
print('port', s.getsockname()[1], flush=True); time.sleep(1000)";
    let mut command = place.command("unshare", "repo");
    command.args(["--net", "sh", "-c", "python3 -c \"$0\" & echo child $!; wait", server]);
    let mut starter = Talk::on_pipe(command);
    let child = starter.hear_number("child ");
    starter.adopt(child);
    let port = starter.hear_number("port ");
    starter.signal(rustix::process::Signal::KILL);
    starter.wait();

    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!((code, pids(&report, "left")), (Some(1), vec![i64::from(child)]), "{report:#}");
    let listener = report["findings"].as_array().expect("a list").iter().find(|it| it["port"] == port);
    let listener = listener.expect("its port is named");
    let namespace = std::fs::read_link(format!("/proc/{child}/ns/net")).expect("read");
    let namespace = namespace.to_str().expect("text");
    assert!(listener["namespace"].as_str().is_some_and(|it| it.contains(namespace)), "{listener:#}");
    assert!(listener["sentence"].as_str().is_some_and(|it| it.contains(namespace)), "{listener:#}");
    // That port is free where we are: nobody who asks for it here is told of another namespace's.
    let (_, plan) = place.tracer(&["reap", "--port", &port.to_string()]);
    assert!(plan["plan"]["end"].as_array().is_some_and(Vec::is_empty), "{plan:#}");
    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!(starter.adopted_ended(0, Duration::ZERO), "{reaped:#}");
}

/// The job says what failed; whose fault that is, the tracer says: a leftover's of an earlier run, and a stranger's where
/// the command names the port.
#[test]
fn an_address_in_use_is_explained_by_who_listens_there() {
    let place = Place::new();
    let (mut left, children, port) = place.suite("python3", &[], "repo");
    left.signal(rustix::process::Signal::KILL);
    left.wait();
    let bind = format!("import socket; socket.socket().bind(('127.0.0.1', {port}))");
    let run = |cwd: &str, job: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_tracer-user"), cwd);
        let output = command.args(["run", "--quiet", "--"]).args(job).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Whoever is younger than the job was not in its way; ages are told in seconds.
    let (code, said) = run("repo", &["python3", "-c", &bind]);
    assert!(code == Some(1) && said.contains("Address already in use"), "{said}");
    let line = said.lines().find(|line| line.contains("if it said that an address is in use")).expect(&said);
    assert!(
        line.contains(&format!("port {port} ")) && line.contains(&format!("(pid {})", children[2])),
        "{line}"
    );
    assert!(line.ends_with(&format!("do: tracer-user reap --port {port} --yes")), "{line}");
    // From another checkout it is a stranger's, and named because the command names the port; never to be reaped.
    let bind = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))";
    let (code, said) = run("other", &["python3", "-c", bind, &port.to_string()]);
    let line = said.lines().find(|line| line.contains("if it said that an address is in use")).expect(&said);
    assert!(code == Some(1) && line.contains("it is not yours") && !line.contains("do: "), "{line}");
    let (code, said) = run("other", &["sh", "-c", "exit 1"]);
    assert!(code == Some(1) && !said.contains("address"), "a job that names no port: {said}");
}

#[test]
fn a_suite_that_runs_is_not_left() {
    let place = Place::new();
    let (_suite, _children, _port) = place.suite("python3", &[], "repo");
    let (_, report) = place.tracer(&["preflight"]);
    assert!(pids(&report, "left").is_empty(), "{report:#}");
}

#[test]
fn what_a_finished_session_left_is_known_by_its_session() {
    let place = Place::new();
    // The checkout is another one: only the session ties.
    let words = ["run", "--quiet", "--session-id", "leaky", "--", "python3"];
    let (mut talk, children, _port) = place.suite(env!("CARGO_BIN_EXE_tracer-user"), &words, "other");
    let (_, running) = place.tracer(&["preflight"]);
    assert!(pids(&running, "left").is_empty(), "a running session was called left: {running:#}");
    // The root goes as a killed suite's does; the session ends with it.
    let root = std::fs::read_to_string(format!("/proc/{}/stat", children[0])).expect("it lives");
    let root: i32 =
        root.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok()).expect("its parent");
    let root = rustix::process::Pid::from_raw(root).expect("a process id");
    rustix::process::kill_process(root, rustix::process::Signal::KILL).expect("killed");
    assert_eq!(talk.wait().code(), Some(137));

    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!((code, pids(&report, "left")), (Some(1), sorted(&children)), "{report:#}");
    assert!(
        report["findings"].as_array().expect("a list").iter().any(|it| it["session"] == "leaky"),
        "{report:#}"
    );
    let (code, reaped) = place.tracer(&["reap", "--session", "leaky", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!((0..3).all(|index| talk.adopted_ended(index, Duration::ZERO)), "{reaped:#}");
}

#[test]
fn what_outlives_its_job_is_named_with_its_line_of_descent() {
    let place = Place::new();
    let said = place.path("traces").join("stderr");
    // The shell in the middle forks the one that stays, and ends.
    let job = "sh -c 'sleep 1000 & echo leaked $!; echo middle $$'; echo root $$";
    let mut command = place.command(env!("CARGO_BIN_EXE_tracer-user"), "repo");
    command
        .args(["run", "--quiet", "--session-id", "leak", "--", "sh", "-c", job])
        .stderr(std::fs::File::create(&said).expect("made"));
    let mut talk = Talk::on_pipe(command);
    let leaked = talk.hear_number("leaked ");
    talk.adopt(leaked);
    let (middle, root) = (talk.hear_number("middle "), talk.hear_number("root "));
    assert!(talk.wait().success());

    let said = std::fs::read_to_string(said).expect("read");
    let line = said.lines().find(|line| line.contains("leaked: ")).expect("it is named");
    assert!(line.contains(&format!("pid {leaked} (sleep) `sleep 1000` outlived the job")), "{line}");
    let (_, shown) = place.tracer(&["sessions", "show", "leak"]);
    let found = &shown["summary"]["processes"]["leaked"][0];
    assert_eq!(
        (&found["pid"], &found["cmdline"][1]),
        (&Value::from(leaked), &Value::from("1000")),
        "{found:#}"
    );
    assert_eq!(found["output_fds"], serde_json::json!([1, 2]), "{found:#}");
    if shown["summary"]["kernel_events"] != true {
        return;
    }
    let descent = format!(" after the start by pid {middle} (sh, ended), that by pid {root} (sh, ended);");
    let holds = format!("it holds the job's output as fd 1, 2, inherited from pid {middle} (sh, ended)");
    assert!(line.contains(&descent) && line.ends_with(&holds), "{line}");
    assert_eq!(found["lineage"][0]["pid"], middle, "{found:#}");
    assert_eq!(
        (&found["lineage"][1]["pid"], &found["lineage"][1]["ended"]),
        (&Value::from(root), &Value::from(true))
    );
    assert!(found["forked_after_ms"].is_u64() && found["forked_boot_ns"].is_u64(), "{found:#}");
}

#[test]
fn stale_files_go_and_live_ones_stay() {
    let place = Place::new();
    let repo = place.path("repo");
    let (stale, live) = (repo.join("stale.sock"), repo.join("live.sock"));
    drop(UnixListener::bind(&stale).expect("bound"));
    let _listener = UnixListener::bind(&live).expect("bound");
    let mut gone = Command::new("true").spawn().expect("runs");
    let (dead_pid, live_pid) = (repo.join("dead.pid"), repo.join("live.pid"));
    std::fs::write(&live_pid, format!("{}\n", std::process::id())).expect("written");
    std::fs::write(&dead_pid, format!("{}\n", gone.id())).expect("written");
    gone.wait().expect("ended");
    let lock = repo.join("Cargo.lock");
    std::fs::write(&lock, "version = 4\n").expect("written");

    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(about(&report, &stale).map(|it| &it["status"]), Some(&Value::from("left")), "{report:#}");
    assert_eq!(about(&report, &dead_pid).map(|it| &it["status"]), Some(&Value::from("left")), "{report:#}");
    for path in [&live, &live_pid, &lock] {
        let found = about(&report, path);
        assert!(found.is_none_or(|it| it["status"] == "note"), "{found:?}");
    }
    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!(!stale.exists() && !dead_pid.exists());
    assert!(live.exists() && live_pid.exists() && lock.exists());
}

#[test]
fn shared_memory_is_left_only_when_nobody_uses_it() {
    let place = Place::new();
    // What a session of ours wrote there is ours, once the session is over.
    let names = ["gone", "open", "mapped"]
        .map(|name| PathBuf::from(format!("/dev/shm/tracer-test-{}-{name}", std::process::id())));
    let _clean = Cleanup(names.to_vec());
    let text = "import sys; [open(name, 'wb').write(b'x' * 4096) for name in sys.argv[1:]]";
    let mut run = place.command(env!("CARGO_BIN_EXE_tracer-user"), "other");
    run.args(["run", "--quiet", "--no-kernel", "--session-id", "shm", "--", "python3", "-c", text])
        .args(&names);
    assert!(run.output().expect("runs").status.success());
    let hold = "import mmap, sys, time
file = open(sys.argv[1]); other = open(sys.argv[2], 'r+b'); memory = mmap.mmap(other.fileno(), 4096); other.close()
print('ready', flush=True); time.sleep(1000)";
    let mut holder = place.command("python3", "other");
    holder.args(["-c", hold]).args(&names[1..]);
    let mut holder = Talk::on_pipe(holder);
    holder.hear("ready");
    // Young files are left alone: whoever made them may be about to map them.
    let deadline = std::time::Instant::now() + talk::PATIENCE;
    let report = loop {
        let report = place.tracer(&["preflight"]).1;
        if about(&report, &names[0]).is_some() || std::time::Instant::now() > deadline {
            break report;
        }
    };
    assert_eq!(about(&report, &names[0]).map(|it| &it["status"]), Some(&Value::from("left")), "{report:#}");
    assert_eq!((about(&report, &names[1]), about(&report, &names[2])), (None, None), "{report:#}");
    let (code, reaped) = place.tracer(&["reap", "--session", "shm", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert_eq!(names.each_ref().map(|name| name.exists()), [false, true, true]);
}

/// Removes files when it goes.
struct Cleanup(Vec<PathBuf>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[test]
fn what_was_there_before_is_not_told() {
    let place = Place::new();
    let stale = place.path("repo").join("stale.sock");
    drop(UnixListener::bind(&stale).expect("bound"));
    let baseline = place.path("traces").join("baseline");
    let baseline = baseline.to_str().expect("text");
    assert_eq!(place.tracer(&["preflight", "--save", baseline]).0, Some(0));
    let (code, report) = place.tracer(&["preflight", "--baseline", baseline]);
    assert_eq!((code, about(&report, &stale)), (Some(0), None), "{report:#}");
    let new = place.path("repo").join("new.sock");
    drop(UnixListener::bind(&new).expect("bound"));
    let (code, report) = place.tracer(&["preflight", "--baseline", baseline]);
    assert!(code == Some(1) && about(&report, &new).is_some(), "{report:#}");
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let place = Place::new();
    for (words, expected) in [
        (&["reap"][..], 2),
        (&["reap", "--pid", "0", "--yes"], 2),
        (&["reap", "--session", "no-such-session", "--yes"], 125),
        (&["preflight", "--port", "70000"], 2),
        (&["preflight", "--repo", "/no/such/place"], 125),
        (&["preflight", "--repo", "/"], 125),
        (&["preflight", "--baseline", "/no/such/file"], 125),
        (&["preflight", "--socket", "a***b["], 125),
    ] {
        let output =
            place.command(env!("CARGO_BIN_EXE_tracer-user"), "repo").args(words).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.lines().count()), (Some(expected), 1), "{words:?}: {text}");
    }
    let (code, report) = place.tracer(&["reap", "--pid", "1", "--yes"]);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(report["plan"]["end"].as_array().is_some_and(Vec::is_empty), "{report:#}");
}
