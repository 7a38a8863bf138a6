//! `preflight` and `reap` on real leftovers: those of this checkout are removed, and a look-alike next to
//! them is not touched.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::child::{TestChild, output};
use crate::support::namespace::MountNamespace;
use crate::support::{PATIENCE, TRACER, is_root, proc};

/// A suite: multiprocessing workers and a small server, in a session of its own, which outlive the process
/// that started them. The server ignores Ctrl-C and listens on a port and on a socket file.
const SUITE: &str = r#"
import multiprocessing, os, signal, socket, sys, time
where = sys.argv[1]
def report(*words):
    # In one write: several of these processes report at once.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
def worker():
    time.sleep(1000)
def server():
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen()
    unix = socket.socket(socket.AF_UNIX); unix.bind(where + "/app.sock"); unix.listen()
    report("port", tcp.getsockname()[1])
    time.sleep(1000)
if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    for work in (worker, worker, server):
        child = multiprocessing.Process(target=work); child.start()
        report("child", child.pid)
    report("started")
    time.sleep(1000)
"#;

/// A checkout with a suite in it, another one beside it, and a directory for sessions.
pub struct Place {
    directory: tempfile::TempDir,
    /// Its own `/dev/shm`, where a test needs one.
    pub namespace: Option<MountNamespace>,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["repo/.git", "other/.git", "traces"] {
            std::fs::create_dir_all(directory.path().join(name)).expect("made");
        }
        for name in ["repo/suite.py", "other/suite.py"] {
            std::fs::write(directory.path().join(name), SUITE).expect("written");
        }
        Self { directory, namespace: None }
    }

    /// With shared memory that no other process of the machine uses.
    pub fn with_own_shared_memory() -> Self {
        Self { namespace: Some(MountNamespace::new("tmpfs", "/dev/shm")), ..Self::new() }
    }

    /// Lets other users come through to what is theirs.
    pub fn open_to_others(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory.path(), mode).expect("set");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).canonicalize().expect("there")
    }

    pub fn command(&self, program: &str, cwd: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(cwd));
        // Keeps what is in the machine's temporary directory out of this test.
        command.env("TMPDIR", self.path("traces")).env_remove("XDG_RUNTIME_DIR");
        command
            .env("TRACER_TRACE_DIR", self.path("traces"))
            .env("TRACER_LOG_DIR", self.path("traces").join("log"));
        if let Some(namespace) = &self.namespace {
            namespace.enter(&mut command);
        }
        command
    }

    /// `tracer-user WORDS --format json` in the checkout.
    pub fn tracer(&self, words: &[&str]) -> (Option<i32>, Value) {
        let output = output(self.command(TRACER, "repo").args(words).args(["--format", "json"]));
        (output.status.code(), json(&output))
    }

    /// Starts a suite in a checkout; gives it, its children's pids and the server's port.
    fn suite(&self, program: &str, words: &[&str], cwd: &str) -> (TestChild, Vec<i32>, u16) {
        let mut command = self.command(program, cwd);
        command.args(words).arg("suite.py").arg(self.path(cwd));
        let mut suite = TestChild::with_output(command);
        let (mut children, mut port) = (Vec::new(), None);
        // The server's line may come between or after those of the children.
        while children.len() < 3 || port.is_none() {
            match suite.line().split_once(' ') {
                Some(("child", pid)) => children.push(pid.parse().expect("a pid")),
                Some(("port", number)) => port = Some(number.parse().expect("a port")),
                _ => {}
            }
        }
        for child in &children {
            suite.track(*child);
        }
        (suite, children, port.expect("it was reported"))
    }
}

fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).expect(&stderr)
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

pub fn about<'a>(report: &'a Value, path: &Path) -> Option<&'a Value> {
    let path = path.to_str().expect("text");
    report["findings"].as_array().expect("a list").iter().find(|it| it["path"] == path)
}

fn sorted(children: &[i32]) -> Vec<i64> {
    let mut all: Vec<_> = children.iter().copied().map(i64::from).collect();
    all.sort_unstable();
    all
}

#[test]
fn leftovers_of_a_killed_suite_are_removed_and_a_look_alike_is_not() {
    let place = Place::new();
    let (mut suite, children, port) = place.suite("python3", &[], "repo");
    let (mut other, other_children, other_port) = place.suite("python3", &[], "other");
    // Both lose the process that started them. Only one of them belongs to this checkout.
    for suite in [&mut suite, &mut other] {
        suite.kill();
        suite.wait();
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
    let plan = output(place.command(TRACER, "repo").args(["reap", "--all-mine"]));
    let text = String::from_utf8_lossy(&plan.stdout);
    assert_eq!((plan.status.code(), text.matches("\nend ").count()), (Some(1), 2), "{plan:?}");
    assert!(
        text.starts_with("end ") && text.ends_with("nothing was done: add --yes to carry out the plan\n"),
        "{text}"
    );
    assert!((0..3).all(|index| !suite.tracked_ends_within(index, Duration::ZERO)));

    // The other suite's port is refused.
    let (code, refused) = place.tracer(&["reap", "--port", &other_port.to_string(), "--yes"]);
    assert_eq!((code, refused["plan"]["end"].as_array().map(Vec::len)), (Some(1), Some(0)), "{refused:#}");
    assert!(refused["plan"]["refused"].to_string().contains("not proven to be yours"), "{refused:#}");

    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!((0..3).all(|index| suite.tracked_ends_within(index, Duration::ZERO)), "{reaped:#}");
    let ended = reaped["ended"].as_array().expect("a list");
    let server = ended.iter().find(|it| it["pid"] == children[2]).expect("the server is among them");
    // It ignores SIGINT. That is seen beforehand, and SIGINT is skipped.
    assert_eq!(
        (server["outcome"].as_str(), server["by"].as_str()),
        (Some("ended"), Some("terminate")),
        "{server:#}"
    );
    assert_eq!(server["tried"][0]["obstacles"][0], "ignored");
    let socket = place.path("repo").join("app.sock");
    assert!(!socket.exists(), "the socket's file is left: {reaped:#}");

    let (code, after) = place.tracer(&["preflight", "--port", &port.to_string()]);
    assert_eq!((code, after["clean"].as_bool()), (Some(0), Some(true)), "{after:#}");
    assert!(
        (0..3).all(|index| !other.tracked_ends_within(index, Duration::ZERO)),
        "the look-alike was touched"
    );
    assert!(place.path("other").join("app.sock").exists());
}

#[test]
fn a_port_used_by_another_checkout_is_reported_as_a_problem() {
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
    // It is not reported unless that port is asked for.
    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!(code, Some(0), "{report:#}");
}

#[test]
fn a_listener_in_another_network_namespace_is_found_and_its_namespace_named() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let server = "import socket, time; s = socket.socket(); s.bind(('', 0)); s.listen()
print('port', s.getsockname()[1], flush=True); time.sleep(1000)";
    let mut command = place.command("unshare", "repo");
    command.args(["--net", "sh", "-c", "python3 -c \"$0\" & echo child $!; wait", server]);
    let mut starter = TestChild::with_output(command);
    let child = starter.expect_number("child ");
    starter.track(child);
    let port = starter.expect_number("port ");
    starter.kill();
    starter.wait();

    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!((code, pids(&report, "left")), (Some(1), vec![i64::from(child)]), "{report:#}");
    let listener = report["findings"].as_array().expect("a list").iter().find(|it| it["port"] == port);
    let listener = listener.expect("its port is named");
    let namespace = std::fs::read_link(format!("/proc/{child}/ns/net")).expect("read");
    let namespace = namespace.to_str().expect("text");
    assert!(listener["namespace"].as_str().is_some_and(|it| it.contains(namespace)), "{listener:#}");
    assert!(listener["sentence"].as_str().is_some_and(|it| it.contains(namespace)), "{listener:#}");
    // That port is free in this namespace, so asking for it here does not show that of another namespace.
    let (_, plan) = place.tracer(&["reap", "--port", &port.to_string()]);
    assert!(plan["plan"]["end"].as_array().is_some_and(Vec::is_empty), "{plan:#}");
    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!(starter.tracked_ends_within(0, Duration::ZERO), "{reaped:#}");
}

/// The job reports what failed, and the tracer which process is the cause: a leftover of an earlier run, or a
/// process of another checkout where the command names the port.
#[test]
fn an_address_in_use_is_explained_by_its_listener() {
    let place = Place::new();
    let (mut left, children, port) = place.suite("python3", &[], "repo");
    left.kill();
    left.wait();
    let bind = format!("import socket; socket.socket().bind(('127.0.0.1', {port}))");
    let run = |cwd: &str, job: &[&str]| {
        let output = output(place.command(TRACER, cwd).args(["run", "--quiet", "--"]).args(job));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = run("repo", &["python3", "-c", &bind]);
    assert!(code == Some(1) && stderr.contains("Address already in use"), "{stderr}");
    let line =
        stderr.lines().find(|line| line.contains("if it reported that an address is in use")).expect(&stderr);
    assert!(
        line.contains(&format!("port {port} ")) && line.contains(&format!("(pid {})", children[2])),
        "{line}"
    );
    assert!(line.ends_with(&format!("do: tracer-user reap --port {port} --yes")), "{line}");
    // In another checkout it is not the user's. It is reported since the command names the port, and not to
    // be reaped.
    let bind = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))";
    let (code, stderr) = run("other", &["python3", "-c", bind, &port.to_string()]);
    let line =
        stderr.lines().find(|line| line.contains("if it reported that an address is in use")).expect(&stderr);
    assert!(code == Some(1) && line.contains("it is not yours") && !line.contains("do: "), "{line}");
    let (code, stderr) = run("other", &["sh", "-c", "exit 1"]);
    assert!(code == Some(1) && !stderr.contains("address"), "a job that names no port: {stderr}");
}

#[test]
fn a_running_suite_is_not_a_leftover() {
    let place = Place::new();
    let (_suite, _children, _port) = place.suite("python3", &[], "repo");
    let (_, report) = place.tracer(&["preflight"]);
    assert!(pids(&report, "left").is_empty(), "{report:#}");
}

#[test]
fn leftovers_of_a_finished_session_are_known_by_their_session() {
    let place = Place::new();
    // In another checkout, so that only the session connects them.
    let words = ["run", "--quiet", "--session-id", "leaky", "--", "python3"];
    let (mut tracer, children, _port) = place.suite(TRACER, &words, "other");
    let (_, running) = place.tracer(&["preflight"]);
    assert!(pids(&running, "left").is_empty(), "a running session was reported as left: {running:#}");
    // The root is killed, and the session ends with it.
    let root = proc::stat_field(&format!("/proc/{}/stat", children[0]), 4).expect("the child lives");
    let root = rustix::process::Pid::from_raw(root.parse().expect("a pid")).expect("its parent");
    rustix::process::kill_process(root, Signal::KILL).expect("killed");
    assert_eq!(tracer.wait().code(), Some(137));

    let (code, report) = place.tracer(&["preflight"]);
    assert_eq!((code, pids(&report, "left")), (Some(1), sorted(&children)), "{report:#}");
    assert!(
        report["findings"].as_array().expect("a list").iter().any(|it| it["session"] == "leaky"),
        "{report:#}"
    );
    let (code, reaped) = place.tracer(&["reap", "--session", "leaky", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!((0..3).all(|index| tracer.tracked_ends_within(index, Duration::ZERO)), "{reaped:#}");
}

#[test]
fn a_process_that_outlives_its_job_is_reported_with_its_ancestry() {
    let place = Place::new();
    let stderr = place.path("traces").join("stderr");
    // The shell in the middle forks the process that stays, and ends.
    let job = "sh -c 'sleep 1000 & echo leaked $!; echo middle $$'; echo root $$";
    let mut command = place.command(TRACER, "repo");
    command
        .args(["run", "--quiet", "--session-id", "leak", "--", "sh", "-c", job])
        .stderr(std::fs::File::create(&stderr).expect("made"));
    let mut tracer = TestChild::with_output(command);
    let leaked = tracer.expect_number("leaked ");
    tracer.track(leaked);
    let (middle, root) = (tracer.expect_number("middle "), tracer.expect_number("root "));
    assert!(tracer.wait().success());

    let stderr = std::fs::read_to_string(stderr).expect("read");
    let line = stderr.lines().find(|line| line.contains("leaked: ")).expect("it is reported");
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
fn stale_files_are_removed_and_live_ones_stay() {
    let place = Place::new();
    let repo = place.path("repo");
    let (stale, live) = (repo.join("stale.sock"), repo.join("live.sock"));
    drop(UnixListener::bind(&stale).expect("bound"));
    let _listener = UnixListener::bind(&live).expect("bound");
    let mut gone = TestChild::start(&mut Command::new("true"));
    let (dead_pid, live_pid) = (repo.join("dead.pid"), repo.join("live.pid"));
    std::fs::write(&live_pid, format!("{}\n", std::process::id())).expect("written");
    std::fs::write(&dead_pid, format!("{}\n", gone.process().tgid)).expect("written");
    gone.wait();
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
fn shared_memory_in_use_is_no_leftover_and_the_time_of_a_file_proves_nothing() {
    if !is_root() {
        return;
    }
    let place = Place::with_own_shared_memory();
    // These files were written while a session ran. So was everything else that was written then.
    let names = ["gone", "open", "mapped"].map(|name| PathBuf::from(format!("/dev/shm/{name}")));
    let text = "import sys; [open(name, 'wb').write(b'x' * 4096) for name in sys.argv[1:]]";
    let mut run = place.command(TRACER, "other");
    run.args(["run", "--quiet", "--no-kernel", "--session-id", "shm", "--", "python3", "-c", text])
        .args(&names);
    assert!(output(&mut run).status.success());
    let hold = "import mmap, sys, time
file = open(sys.argv[1]); other = open(sys.argv[2], 'r+b'); memory = mmap.mmap(other.fileno(), 4096); other.close()
print('ready', flush=True); time.sleep(1000)";
    let mut holder = place.command("python3", "other");
    holder.args(["-c", hold]).args(&names[1..]);
    let mut holder = TestChild::with_output(holder);
    holder.expect("ready");
    // Young files are left alone: the process that made one may be about to map it.
    let deadline = Instant::now() + PATIENCE;
    let report = loop {
        let report = place.tracer(&["preflight"]).1;
        if about(&report, &names[0]).is_some() || Instant::now() > deadline {
            break report;
        }
    };
    let found = about(&report, &names[0]).expect("it is noted");
    assert_eq!((found["status"].as_str(), &found["session"]), (Some("note"), &Value::Null), "{found:#}");
    assert!(found["sentence"].as_str().is_some_and(|it| it.contains("while session shm ran")), "{found:#}");
    assert_eq!((about(&report, &names[1]), about(&report, &names[2])), (None, None), "{report:#}");
    for selection in [&["--session", "shm"][..], &["--all-mine"]] {
        let (code, reaped) = place.tracer(&[&["reap", "--yes"], selection].concat());
        assert_eq!((code, &reaped["removed"]), (Some(0), &serde_json::json!([])), "{reaped:#}");
    }
    let root = place.namespace.as_ref().expect("its own").root();
    let exists = |name: &PathBuf| root.join(name.strip_prefix("/").expect("absolute")).exists();
    assert_eq!(names.each_ref().map(exists), [true, true, true]);
}

#[test]
fn findings_of_the_baseline_are_not_reported() {
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
fn invalid_arguments_are_refused_in_one_line() {
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
        let output = output(place.command(TRACER, "repo").args(words));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.lines().count()), (Some(expected), 1), "{words:?}: {text}");
    }
    let (code, report) = place.tracer(&["reap", "--pid", "1", "--yes"]);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(report["plan"]["end"].as_array().is_some_and(Vec::is_empty), "{report:#}");
}
