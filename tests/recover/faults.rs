//! Killed at every step, full disks, and directories full of traps.
//!
//! R1: in the Python tracer trace and sidecar were unlinked first, then came the kill phase, the building of results and
//! more, and only then the log was written: who died in between left nothing anywhere. Here: durable, then delete; and a
//! process that is killed at any step leaves a session that the next recovery finishes, exactly once.

use crate::sessions::*;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracer_user::core::record::NoteLine;
use tracer_user::core::session_state::Input;
use tracer_user::store::fault::POINTS;
use tracer_user::store::writer::{Appended, Sink};
use tracer_user::store::{Claim, Limits, LiveSession, TraceWriter};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn tracer(place: &Path, words: &[&str], fault: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(words.iter().take(1));
    command.arg("--trace-dir").arg(place.join("traces")).arg("--log-dir").arg(place.join("log"));
    command.args(words.iter().skip(1)).stdin(Stdio::null());
    command.env_remove("TRACER_FAULT_KILL").envs(fault.map(|fault| ("TRACER_FAULT_KILL", fault)));
    output(&mut command)
}

fn run(place: &Path, options: &[&str], job: &str, fault: &str) -> Output {
    let words = [&["run", "--quiet", "--session-id", "s"], options, &["--", "sh", "-c", job]].concat();
    tracer(place, &words, Some(fault))
}

fn is_killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.collect::<Vec<_>>()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Recovers until nothing is left in the trace directory: the job may outlive its tracer for a moment.
fn recover_to_the_end(place: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let traces = place.join("traces").join(format!("tracer-user-{}", uid()));
    loop {
        let output = tracer(place, &["recover", "--min-age", "0s"], None);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if names(&traces).is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "left: {:?}\n{}",
            names(&traces),
            String::from_utf8_lossy(&output.stdout)
        );
        std::thread::yield_now();
    }
}

/// The pins of this place's sessions.
fn pins(place: &Place) -> Vec<String> {
    let prefix = place.traces.pin_prefix().unwrap();
    names(Path::new("/sys/fs/bpf/tracer-user")).into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

fn exactly_one(place: &Place, what: &str) {
    assert_eq!((place.filed(), place.rows()), (vec!["s".to_owned()], vec!["s".to_owned()]), "{what}");
    assert_eq!((place.trace_names(), pins(place)), (vec![], vec![]), "{what}");
    let summary = place.summary("s");
    assert_eq!((summary.session_id.as_str(), summary.processes.leaked.len()), ("s", 0), "{what}");
}

/// The points of a session's own life.
fn owners_points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !point.starts_with("compact.") && *point != "recover.claimed")
}

#[test]
fn a_tracer_killed_at_any_step_of_its_life_leaves_one_session() {
    let extra = ["trace.line:2", "trace.line:3", "trace.line:4", "trace.line:5"];
    for point in owners_points().chain(extra) {
        let place = Place::new();
        let output = run(place.temp.path(), &["--interval", "10s"], "exit 7", point);
        assert!(is_killed(&output), "{point}: {output:?}");
        recover_to_the_end(place.temp.path());
        if point == "enroll.written" {
            // Nothing had a name yet, and the job had not begun: there never was a session.
            assert_eq!((place.filed(), pins(&place)), (vec![], vec![]));
            continue;
        }
        exactly_one(&place, point);
    }
}

#[test]
fn a_tracer_killed_while_it_makes_its_trace_smaller_leaves_one_session() {
    for point in ["compact.written", "compact.renamed"] {
        let place = Place::new();
        // Every look at a busy shell differs from the last, and the trace has room for a few of them.
        let options = ["--no-kernel", "--interval", "5ms", "--trace-max-bytes", "16KiB"];
        let job = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done";
        let output = run(place.temp.path(), &options, job, point);
        assert!(is_killed(&output), "{point}: {output:?}");
        recover_to_the_end(place.temp.path());
        exactly_one(&place, point);
    }
}

#[test]
fn a_recoverer_killed_at_any_step_leaves_one_session() {
    let first = POINTS.iter().position(|point| *point == "log.staged").unwrap();
    for point in POINTS.into_iter().skip(first) {
        let place = Place::new();
        assert!(is_killed(&run(place.temp.path(), &["--interval", "10s"], "exit 7", "finish.begin")));
        // The job is a zombie of nobody's for a moment; its own end is not what is tested.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = tracer(place.temp.path(), &["recover", "--min-age", "0s"], Some(point));
            if is_killed(&output) {
                break;
            }
            assert!(place.filed().is_empty() && Instant::now() < deadline, "{point}: {output:?}");
        }
        recover_to_the_end(place.temp.path());
        exactly_one(&place, point);
    }
}

/// Writes as the test says: each number is what one `write` does.
struct Broken(Vec<Result<usize, Errno>>, Arc<Mutex<usize>>);

impl Sink for Broken {
    fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        *self.1.lock().unwrap() += 1;
        let plan = if self.0.is_empty() { Ok(usize::MAX) } else { self.0.remove(0) };
        rustix::io::write(file, &bytes[..bytes.len().min(plan?)])
    }
}

fn note(n: usize) -> Input {
    Input::Note(NoteLine { code: "n".to_owned(), text: format!("{n:0>200}") })
}

#[test]
fn writes_that_fail_or_are_short_never_lose_a_line() {
    type Plan = (&'static str, Vec<Result<usize, Errno>>, bool);
    let plans: [Plan; 6] = [
        ("interrupted", vec![Err(Errno::INTR), Err(Errno::INTR)], false),
        ("short", vec![Ok(5), Ok(1), Ok(40)], false),
        ("full", vec![Ok(usize::MAX), Err(Errno::NOSPC)], true),
        ("short, then full", vec![Ok(usize::MAX), Ok(7), Err(Errno::NOSPC)], true),
        ("broken", vec![Err(Errno::IO)], true),
        ("nothing taken", vec![Ok(0)], true),
    ];
    for (what, plan, degrades) in plans {
        let place = Place::new();
        let session = live(&place, "s", dead_root(0));
        let files = session.files().unwrap().clone();
        leave(&place.traces, session);
        let claim = Claim::take(place.traces.dir(), files.clone(), uid()).unwrap();
        let calls = Arc::new(Mutex::new(0));
        let writer = TraceWriter::resume(claim.dir(), &files, uid(), Limits::default())
            .unwrap()
            .with_sink(Box::new(Broken(plan, calls.clone())));
        let mut state = tracer_user::core::session_state::SessionState::new();
        for line in writer.lines().unwrap() {
            if let tracer_user::store::lines::RawLine::Whole(line) = line.unwrap() {
                state.replay(&tracer_user::core::record::Line::parse(&line).unwrap());
            }
        }
        let id = tracer_user::core::record::SessionId::parse("s").unwrap();
        let enrollment = enrollment("s", dead_root(0));
        let mut session = LiveSession::adopt(id, enrollment, claim, writer, state, None);
        let now = anchor();
        let notices: usize = (0..5).map(|n| session.push(&now, now.boot_ns, note(n)).notices.len()).sum();
        assert_eq!((notices, session.degraded()), (usize::from(degrades), degrades), "{what}: said once");
        assert!(*calls.lock().unwrap() > 0);
        let trace = std::fs::read(path_in(&place, files.trace().to_str().unwrap())).unwrap();
        assert!(trace.ends_with(b"\n"), "{what}: what a failed line left behind is cut off");
        let finished = session.finish(&place.log(), &finish(), || Ok(())).unwrap();
        assert_eq!(finished.summary.degraded, degrades, "{what}");
        let events = std::fs::read_to_string(place.temp.path().join("log/sessions/s/events.jsonl")).unwrap();
        assert_eq!(events.lines().count(), 2 + 5, "{what}: {events}");
    }
}

#[test]
fn a_trace_past_its_size_loses_old_snapshots_and_nothing_else() {
    let place = Place::new();
    let limits = Limits { trace_bytes: 20_000, ..Limits::default() };
    let root = dead_root(0);
    let mut session = LiveSession::create(&place.traces, enrollment("s", root), limits).unwrap();
    let now = anchor();
    session.push(&now, now.boot_ns, header("s", root));
    session.push(&now, now.boot_ns, joined(root, tracer_user::core::record::Origin::Root));
    for n in 0..200_u64 {
        let mut snapshot = tracer_user::core::snapshot::ProcSnapshot::unread(root);
        snapshot.cpu_ns = Some(n);
        let sample = tracer_user::core::session_state::SampleSet { snapshots: vec![snapshot] };
        let pushed = session.push(&now, now.boot_ns + n, Input::Sample(sample));
        assert_eq!(pushed.notices, vec![]);
        if n % 20 == 0 {
            session.push(&now, now.boot_ns + n, note(0));
        }
    }
    let trace =
        std::fs::metadata(path_in(&place, session.files().unwrap().trace().to_str().unwrap())).unwrap();
    assert!(trace.len() <= 20_000);
    let finished = session.finish(&place.log(), &finish(), || Ok(())).unwrap();
    assert!(finished.summary.snapshots_dropped > 100 && !finished.summary.degraded);
    assert_eq!(finished.summary.snapshot_count, 200);
    let dir = place.temp.path().join("log/sessions/s");
    let events = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert_eq!(events.matches("\"kind\":\"note\"").count(), 10);
    let last = std::fs::read_to_string(dir.join("proc_trace.jsonl")).unwrap();
    assert!(last.contains("\"cpu_ns\":199") && !last.contains("\"cpu_ns\":0,"));
}

#[test]
fn a_flood_of_what_may_not_be_dropped_ends_at_the_quota() {
    let place = Place::new();
    let files = tracer_user::store::SessionFiles::from_stem(Default::default(), "1-1");
    let limits = Limits { trace_bytes: 1_000, memory_bytes: 1_000 };
    let mut writer = TraceWriter::create(place.traces.dir(), &files, limits).unwrap();
    let mut appended = Appended::default();
    for _ in 0..1_000 {
        writer.append_bytes(false, vec![b'\n'; 100], &mut appended);
    }
    assert_eq!((appended.notices.len(), writer.degraded()), (1, true));
    assert!(std::fs::metadata(path_in(&place, "trace_1-1.jsonl")).unwrap().len() <= 4_000);
    assert!(writer.dropped() > 900);
}

/// Everything a hostile or broken directory can hold costs a line of complaint and never the sweep.
#[test]
fn poison_in_the_directory_never_stops_the_sweep() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let path = |name: &str| path_in(&place, name);
    for n in 0..4 {
        dead(&place, &format!("good{n}"), dead_root(n));
    }
    let fifo = |name: &str| rustix::fs::mkfifoat(rustix::fs::CWD, path(name), 0o600.into()).unwrap();
    fifo("enrollment_1-1.json");
    fifo("trace_2-2.jsonl");
    fifo("surprise");
    std::fs::create_dir(path("enrollment_3-3.json")).unwrap();
    std::fs::create_dir(path(".new-directory")).unwrap();
    symlink("/dev/zero", path("enrollment_4-4.json")).unwrap();
    symlink("/etc/shadow", path("trace_5-5.jsonl")).unwrap();
    std::fs::write(path("enrollment_6-6.json"), vec![b'['; 2 * 1024 * 1024]).unwrap();
    std::fs::write(path("enrollment_7-7.json"), b"{\"schema_version\": 99}").unwrap();
    std::fs::write(path("enrollment_8-8.json"), b"\xff\xfe").unwrap();
    std::fs::write(path("enrollment_9-9.json"), b"").unwrap();
    std::fs::write(path("\u{1b}[2Jevil\n"), b"").unwrap();
    // A line of a gigabyte, which takes no room; and a trace that is a device's, a directory or a FIFO instead.
    let traces = place.trace_names().into_iter().filter(|name| name.starts_with(&format!("trace_{NOBODY}")));
    let huge = path(&traces.clone().next().unwrap());
    std::fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 30).unwrap();
    let replaced = path(&format!("trace_{}-4711.jsonl", NOBODY + 1));
    std::fs::remove_file(&replaced).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &replaced, 0o600.into()).unwrap();

    let began = Instant::now();
    let output = tracer(place.temp.path(), &["recover", "--no-kernel", "--min-age", "0s"], None);
    assert!(began.elapsed() < PATIENCE);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(place.filed(), ["good0", "good1", "good2", "good3"], "{said}");
    for (what, why) in [
        ("1-1: left alone", "FIFO"),
        ("2-2: left alone", "without a sidecar"),
        ("3-3: left alone", "directory"),
        ("4-4: left alone", "symbolic link"),
        ("6-6: left alone", "larger than"),
        ("7-7: left alone", "newer than"),
        ("8-8: left alone", "not a sidecar"),
        ("9-9: left alone", "not a sidecar"),
        ("problem: ", "surprise"),
        ("problem: ", "\\x1b[2Jevil\\x0a"),
        ("problem: ", "FIFO"),
    ] {
        assert!(
            said.lines().any(|line| line.starts_with(what) && line.contains(why)),
            "{what} {why}:\n{said}"
        );
    }
    assert!(!said.contains('\u{1b}'));
}

/// A log that cannot be written leaves everything for the next time; a read-only or full one is told as such.
#[test]
fn a_log_that_cannot_be_written_loses_nothing() {
    let place = Place::new();
    dead(&place, "s", dead_root(0));
    std::fs::write(place.temp.path().join("log"), b"not a directory").unwrap();
    let report = place.recover();
    assert_eq!((report.filed(), report.failed()), (0, 1));
    assert_eq!(place.trace_names().len(), 2);
    std::fs::remove_file(place.temp.path().join("log")).unwrap();
    assert!(was_filed(&place.recover(), "s"));
}

/// Under a test runner the machine's own directory is refused by name, and a directory that was given is used.
#[test]
fn tests_never_touch_the_machines_own_directory() {
    for variable in ["PYTEST_CURRENT_TEST", "NEXTEST", "CARGO_TARGET_TMPDIR", "TRACER_TEST"] {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
        command.args(["recover", "--dry-run", "--log-dir"]).arg(temp.path().join("log"));
        let refused = output(command.env_remove("TRACER_TRACE_DIR").env(variable, "1"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(125), "{said}");
        assert!(said.contains(variable) || said.contains("is set"), "{said}");
        assert!(said.contains("--trace-dir") && said.lines().count() == 1, "{said}");
        let given = tracer(temp.path(), &["recover", "--dry-run"], None);
        assert!(given.status.success());
    }
}

/// A trace directory without room: the job runs and ends as ever, it is said once, and the summary tells.
#[test]
fn a_full_tmpfs_harms_neither_the_job_nor_the_session() {
    if uid() != 0 {
        eprintln!("skipped: mounting a small tmpfs takes root");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let traces = temp.path().join("traces");
    std::fs::create_dir(&traces).unwrap();
    let said = temp.path().join("stderr");
    // In a mount namespace of its own, which goes with the shell. The job ends once the tracer has reported the full
    // file system: each round of its loop adds the lines of a process, which fill it.
    let script = "mount -t tmpfs -o size=8k,mode=700 tmpfs \"$1\" && exec \"$2\" run --no-kernel --interval 10ms \\
        --trace-dir \"$1\" --log-dir \"$3\" --session-id s -- sh -c 'i=0; until grep -q \"goes on in memory\" \"$1\"; do \\
        i=$((i+1)); [ $i -lt 20000 ] || exit 9; done; exit 4' sh \"$4\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&traces, Path::new(env!("CARGO_BIN_EXE_tracer-user")), &temp.path().join("log"), &said])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&said).unwrap())
        .env_remove("TRACER_FAULT_KILL");
    let status = start(&mut command).unwrap().wait().unwrap();
    let said = std::fs::read_to_string(&said).unwrap();
    assert_eq!(status.code(), Some(4), "{said}");
    assert_eq!(said.matches("goes on in memory").count(), 1, "{said}");
    let summary = std::fs::read_to_string(temp.path().join("log/sessions/s/summary.json")).unwrap();
    assert!(summary.contains("\"degraded\": true") && summary.contains("\"EXITED 4\""), "{summary}");
}
