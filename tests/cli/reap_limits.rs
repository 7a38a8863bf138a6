//! What `reap` must never touch, whatever others do meanwhile, and what it needs to be given.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::leftover::{Place, about};
use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root};

/// Another user (`nobody`), whose directory it is: makes stale sockets in `sub`, then exchanges `sub` with a
/// link to the victims' directory, over and over.
const EXCHANGES: &str = r#"
import ctypes, os, socket, sys
repo, victims = sys.argv[1:]
os.setgid(65534); os.setuid(65534)
os.chdir(repo); os.mkdir("sub"); os.symlink(victims, "link")
for index in range(50):
    socket.socket(socket.AF_UNIX).bind("sub/%d.sock" % index)
print("ready", flush=True)
exchange = ctypes.CDLL(None, use_errno=True).renameat2
while True:
    exchange(-100, b"sub", -100, b"link", 2)
"#;

#[test]
fn the_owner_of_a_checkout_cannot_make_root_remove_files_elsewhere() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (repo, victims) = (place.path("other"), place.path("traces").join("victims"));
    std::fs::create_dir(&victims).expect("made");
    for index in 0..50 {
        std::fs::write(victims.join(format!("{index}.sock")), "precious").expect("written");
    }
    std::os::unix::fs::chown(&repo, Some(65534), Some(65534)).expect("given away");
    place.open_to_others();
    let mut attacker = Command::new("python3");
    attacker.args(["-c", EXCHANGES]).args([&repo, &victims]);
    let mut attacker = TestChild::with_output(attacker);
    attacker.expect("ready");
    let words = ["reap", "--all-mine", "--yes", "--repo", repo.to_str().expect("text")];
    let mut refused = 0;
    for _ in 0..5 {
        let (_, reaped) = place.tracer(&words);
        assert_eq!(reaped["removed"], serde_json::json!([]), "{reaped:#}");
        refused += reaped["plan"]["refused"].as_array().map_or(0, Vec::len);
    }
    assert_eq!(std::fs::read_dir(&victims).expect("listed").count(), 50);
    assert!(refused > 0, "the sockets were never seen");
    // The owner himself can remove them.
    attacker.kill();
    let (_, report) = place.tracer(&["preflight", "--repo", repo.to_str().expect("text")]);
    let findings = report["findings"].as_array().expect("a list");
    let stale = findings.iter().find(|it| it["kind"] == "socket_file").expect("one is left");
    let command = stale["command"].as_str().expect("a command");
    assert!(command.starts_with("sudo -u '#65534' tracer-user reap --all-mine --yes --repo "), "{command}");
    let sentence = stale["sentence"].as_str().expect("text");
    assert!(
        sentence.contains("not removed as root") && sentence.contains("belongs to user 65534"),
        "{sentence}"
    );
    // The owner may not come through to where the tests were built.
    let copy = place.path("traces").join("tracer-user");
    std::fs::copy(TRACER, &copy).expect("copied");
    let mut reap = place.command("setpriv", "traces");
    reap.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(words);
    reap.env("TRACER_TRACE_DIR", &repo).env("TRACER_LOG_DIR", repo.join("log")).current_dir("/");
    let output = output(&mut reap);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let left = std::fs::read_dir(repo.join("sub")).into_iter().chain(std::fs::read_dir(repo.join("link")));
    let sockets = left.flatten().flatten().filter(|it| it.file_name().to_string_lossy().ends_with(".sock"));
    assert_eq!(sockets.count(), 50, "the victims, through the link, and none of the stale sockets");
}

#[test]
fn what_destroys_is_given_on_the_command_line_alone() {
    let place = Place::new();
    let stale = place.path("repo").join("stale.sock");
    drop(UnixListener::bind(&stale).expect("bound"));
    let mut reap = place.command(TRACER, "repo");
    let planned = output(reap.arg("reap").arg("--all-mine").env("TRACER_YES", "true"));
    assert_eq!(planned.status.code(), Some(1), "{planned:?}");
    let nothing =
        output(place.command(TRACER, "repo").args(["reap", "--yes"]).env("TRACER_ALL_MINE", "true"));
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    assert!(stale.exists());
}

/// What `preflight` prints as the command for a requested socket does what it says.
#[test]
fn a_requested_socket_is_removed_or_its_holder_ended() {
    let place = Place::new();
    let directory = place.path("traces");
    std::os::unix::fs::symlink(&directory, place.path("repo").join("link")).expect("linked");
    let (stale, kept) = (directory.join("a [1].sock"), directory.join("kept.sock"));
    drop(UnixListener::bind(&stale).expect("bound"));
    drop(UnixListener::bind(&kept).expect("bound"));
    let (code, report) = place.tracer(&["preflight", "--socket", "link/a*.sock"]);
    assert_eq!(code, Some(1), "{report:#}");
    let command = about(&report, &stale).expect("reported")["command"].as_str().expect("one").to_owned();
    let command = command.strip_prefix("tracer-user").expect("ours");
    let ran = output(place.command("bash", "repo").arg("-c").arg(format!("{TRACER}{command}")));
    assert_eq!(ran.status.code(), Some(0), "{command}: {ran:?}");
    assert!(!stale.exists() && kept.exists());

    let server =
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
print('child', __import__('os').getpid(), flush=True); time.sleep(1000)";
    let socket = directory.join("app.sock");
    let mut starter = place.command("sh", "repo");
    starter.args(["-c", "python3 -c \"$0\" \"$1\" & wait", server]).arg(&socket);
    let mut starter = TestChild::with_output(starter);
    let child = starter.expect_number("child ");
    starter.track(child);
    starter.kill();
    starter.wait();
    let pattern = socket.to_str().expect("text");
    let (_, report) = place.tracer(&["preflight", "--socket", pattern]);
    let command = about(&report, &socket).expect("reported")["command"].as_str().expect("one").to_owned();
    assert_eq!(command, format!("tracer-user reap --socket {pattern} --yes"));
    let (code, reaped) = place.tracer(&["reap", "--socket", pattern, "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!(starter.tracked_ends_within(0, Duration::ZERO) && !socket.exists(), "{reaped:#}");
    assert!(kept.exists(), "it is in a directory for temporary files, and nobody's");
}

/// A process that changed its directory is found by what its environment says, when its pid is given.
#[test]
fn a_requested_process_is_proven_by_its_environment() {
    let place = Place::new();
    let elsewhere =
        "import os, time; os.chdir('/'); print('child', os.getpid(), flush=True); time.sleep(1000)";
    let start = |cwd: &str| {
        let mut starter = place.command("sh", cwd);
        starter.env("PWD", place.path(cwd)).args(["-c", "python3 -c \"$0\" & wait", elsewhere]);
        let mut starter = TestChild::with_output(starter);
        let child = starter.expect_number("child ");
        starter.track(child);
        starter.kill();
        starter.wait();
        (starter, child.to_string())
    };
    let ((mine, pid), (other, other_pid)) = (start("repo"), start("other"));
    let (code, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    assert_eq!((code, reaped["ended"].as_array().map(Vec::len)), (Some(0), Some(0)), "{reaped:#}");
    let (code, reaped) = place.tracer(&["reap", "--pid", &pid, "--pid", &other_pid, "--yes"]);
    assert_eq!((code, reaped["ended"].as_array().map(Vec::len)), (Some(1), Some(1)), "{reaped:#}");
    assert!(reaped["plan"]["refused"].to_string().contains("not proven to be yours"), "{reaped:#}");
    assert!(reaped["plan"]["end"][0]["proof"].as_str().is_some_and(|it| it.contains("PWD")), "{reaped:#}");
    assert!(mine.tracked_ends_within(0, Duration::ZERO));
    assert!(!other.tracked_ends_within(0, Duration::ZERO));
}

/// A daemon of the checkout has children of its own: one elsewhere, and one that runs as another user.
#[test]
fn what_a_daemon_of_the_checkout_started_elsewhere_is_not_ended() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let daemon = "import os, subprocess, sys, time
sleep = ['sleep', '1000']
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, cwd='/'), subprocess.Popen(sleep, user=65534)]
for it in [os.getpid()] + [it.pid for it in children]: print('child', it, flush=True)
time.sleep(1000)";
    place.open_to_others();
    let mut starter = place.command("sh", "repo");
    starter.args(["-c", "python3 -c \"$0\" & wait", daemon]);
    let mut starter = TestChild::with_output(starter);
    for _ in 0..4 {
        let child = starter.expect_number("child ");
        starter.track(child);
    }
    starter.kill();
    starter.wait();
    let (_, reaped) = place.tracer(&["reap", "--all-mine", "--yes"]);
    let ended = [0, 1, 2, 3].map(|index| starter.tracked_ends_within(index, Duration::ZERO));
    assert_eq!(ended, [true, true, false, false], "{reaped:#}");
}

/// What the processes of a session left when they were killed, outside of any checkout, is the session's, by
/// what they were seen to hold. What another program made at the same time is not.
#[test]
fn a_file_belongs_to_the_session_whose_process_held_it() {
    if !is_root() {
        return;
    }
    let place = Place::with_own_shared_memory();
    let directory = place.path("traces");
    let job = "import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
memory = open('/dev/shm/mine', 'w'); memory.write('x'); memory.flush()
print('ready', flush=True); sys.stdin.readline(); os._exit(0)";
    let make = "import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1]); open('/dev/shm/strangers', 'w').write('x')";
    let (mine, strangers) = (directory.join("mine.sock"), directory.join("strangers.sock"));
    let mut run = place.command(TRACER, "other");
    run.args(["run", "--quiet", "--no-kernel", "--session-id", "held", "--interval", "100ms", "--"]);
    run.args(["python3", "-c", job]).arg(&mine);
    let mut run = TestChild::with_pipes(run);
    run.expect("ready");
    let stranger = output(place.command("python3", "other").args(["-c", make]).arg(&strangers));
    assert!(stranger.status.success(), "{stranger:?}");
    let deadline = Instant::now() + PATIENCE;
    let traces = directory.join("tracer-user-0");
    let noted = || -> usize {
        let files = std::fs::read_dir(&traces).into_iter().flatten().flatten();
        let texts = files.filter_map(|it| std::fs::read_to_string(it.path()).ok());
        texts.map(|text| text.matches("held_file").count()).sum()
    };
    while noted() < 2 {
        assert!(Instant::now() < deadline, "the files were not noted");
        std::thread::yield_now();
    }
    run.send_line("end");
    assert!(run.wait().success());

    // Shared memory that is young is left alone.
    let memory = Path::new("/dev/shm/mine");
    let report = loop {
        let report = place.tracer(&["preflight"]).1;
        if about(&report, memory).is_some() || Instant::now() > deadline {
            break report;
        }
    };
    for path in [&mine, memory] {
        let found = about(&report, path).expect("it is reported");
        assert_eq!(
            (found["status"].as_str(), found["session"].as_str()),
            (Some("left"), Some("held")),
            "{found:#}"
        );
        assert_eq!(found["command"], "tracer-user reap --session held --yes");
    }
    let note = about(&report, &strangers).expect("it is noted");
    assert_eq!((note["status"].as_str(), &note["command"]), (Some("note"), &Value::Null), "{note:#}");
    let (code, reaped) = place.tracer(&["reap", "--session", "held", "--yes"]);
    assert_eq!((code, reaped["removed"].as_array().map(Vec::len)), (Some(0), Some(2)), "{reaped:#}");
    let shared = place.namespace.as_ref().expect("its own").root().join("dev/shm");
    assert!(!mine.exists() && strangers.exists());
    assert!(!shared.join("mine").exists() && shared.join("strangers").exists());
}

/// A socket outside of the checkout goes with the process of the session that was bound to it. One that
/// another program left there at the same time stays.
#[test]
fn a_socket_belongs_to_the_process_that_was_bound_to_it() {
    let place = Place::new();
    let directory = place.path("traces");
    let (mine, strangers) = (directory.join("mine.sock"), directory.join("strangers.sock"));
    let job = "import os, socket, sys, time
if os.fork(): os._exit(0)
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
print('child', os.getpid(), flush=True); os.close(1); time.sleep(1000)";
    let mut run = place.command(TRACER, "other");
    run.args(["run", "--quiet", "--no-kernel", "--session-id", "bound", "--interval", "20ms", "--"]);
    run.args(["sh", "-c", "python3 -c \"$0\" \"$1\"; read line", job]).arg(&mine);
    let mut run = TestChild::with_pipes(run);
    let child = run.expect_number("child ");
    run.track(child);
    drop(UnixListener::bind(&strangers).expect("bound"));
    run.send_line("go on");
    run.wait();
    let (code, reaped) = place.tracer(&["reap", "--session", "bound", "--yes"]);
    assert_eq!(code, Some(0), "{reaped:#}");
    assert!(run.tracked_ends_within(0, Duration::ZERO), "{reaped:#}");
    let paths = |list: &Value| -> Vec<String> {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        list.as_array().expect("a list").iter().map(text).collect()
    };
    assert_eq!(paths(&reaped["removed"]), [mine.to_str().expect("text")]);
    assert!(!Path::new(&mine).exists() && strangers.exists());
}
