//! Processes killed at every step, full disks, and hostile trace directories.
//!
//! R1: the Python tracer unlinked trace and sidecar, then killed processes, built results and more, and only
//! then wrote the log. A tracer that died in between left nothing at all. Here: durable first, then delete. A
//! process that is killed at any step leaves a session that the next recovery finishes, exactly once.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use tracer_user::core::session_state::Input;
use tracer_user::session::live::{ReplayedSession, SessionRecorder};
use tracer_user::store::fault::POINTS;
use tracer_user::store::writer::{Appended, Sink};
use tracer_user::store::{Claim, Limits, TraceWriter};

use crate::sessions::*;
use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, TRACER, is_root};

/// Runs the tool, which kills itself at a fault point, if one is given.
fn run_tracer(place: &Path, words: &[&str], fault: Option<&str>) -> Output {
    output(tracer(place, words).envs(fault.map(|fault| ("TRACER_FAULT_KILL", fault))))
}

fn run(place: &Path, options: &[&str], job: &str, fault: &str) -> Output {
    let words = [&["run", "--quiet", "--session-id", "s"], options, &["--", "sh", "-c", job]].concat();
    run_tracer(place, &words, Some(fault))
}

fn is_killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.collect::<Vec<_>>()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Recovers until the trace directory is empty: the job may outlive its tracer for a moment.
fn recover_to_the_end(place: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let traces = place.join("traces").join(format!("tracer-user-{}", uid()));
    loop {
        let output = run_tracer(place, &["recover", "--min-age", "0s"], None);
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

fn exactly_one(place: &Place, what: &str) {
    assert_eq!((place.filed(), place.rows()), (vec!["s".to_owned()], vec!["s".to_owned()]), "{what}");
    assert_eq!((place.trace_names(), pins(&place.traces)), (vec![], vec![]), "{what}");
    let summary = place.summary("s");
    assert_eq!((summary.session_id.as_str(), summary.processes.leaked.len()), ("s", 0), "{what}");
}

/// The fault points that the owner of a session passes.
fn owner_points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !point.starts_with("compact.") && *point != "recover.claimed")
}

#[test]
fn a_tracer_killed_at_any_step_of_its_life_leaves_one_session() {
    let extra = ["trace.line:2", "trace.line:3", "trace.line:4", "trace.line:5"];
    for point in owner_points().chain(extra) {
        let place = Place::new();
        let output = run(place.temp.path(), &["--interval", "10s"], "exit 7", point);
        assert!(is_killed(&output), "{point}: {output:?}");
        recover_to_the_end(place.temp.path());
        if point == "enroll.written" {
            // No file had a name yet, and the job had not begun: there was no session.
            assert_eq!((place.filed(), pins(&place.traces)), (vec![], vec![]));
            continue;
        }
        exactly_one(&place, point);
    }
}

#[test]
fn a_tracer_killed_while_it_makes_its_trace_smaller_leaves_one_session() {
    for point in ["compact.written", "compact.renamed"] {
        let place = Place::new();
        // Every snapshot of a busy shell differs from the last, and the trace has room for a few of them.
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
        // The job, an orphan, may be a zombie for a moment. Its end is not what is tested.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = run_tracer(place.temp.path(), &["recover", "--min-age", "0s"], Some(point));
            if is_killed(&output) {
                break;
            }
            assert!(place.filed().is_empty() && Instant::now() < deadline, "{point}: {output:?}");
        }
        recover_to_the_end(place.temp.path());
        exactly_one(&place, point);
    }
}

/// A sink that writes as planned: each entry is the result of one `write`.
struct Broken(Vec<Result<usize, Errno>>, Arc<Mutex<usize>>);

impl Sink for Broken {
    fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        *self.1.lock().unwrap() += 1;
        let plan = if self.0.is_empty() { Ok(usize::MAX) } else { self.0.remove(0) };
        rustix::io::write(file, &bytes[..bytes.len().min(plan?)])
    }
}

fn note(n: usize) -> Input {
    Input::Note { code: "n".to_owned(), text: format!("{n:0>200}") }
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
        ("nothing written", vec![Ok(0)], true),
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
        let mut session = SessionRecorder::resume(ReplayedSession {
            id,
            enrollment,
            claim,
            writer,
            state,
            diagnosis: None,
        });
        let now = anchor();
        let notices: usize = (0..5).map(|n| session.push_at(&now, now.boot_ns, note(n)).notices.len()).sum();
        assert_eq!((notices, session.degraded()), (usize::from(degrades), degrades), "{what}: reported once");
        assert!(*calls.lock().unwrap() > 0);
        let trace = std::fs::read(path_in(&place, files.trace().to_str().unwrap())).unwrap();
        assert!(trace.ends_with(b"\n"), "{what}: the rest of a failed line is cut off");
        let finished = session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
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
    let mut session = SessionRecorder::create(&place.traces, enrollment("s", root), limits).unwrap();
    let now = anchor();
    session.push_at(&now, now.boot_ns, header("s", root));
    session.push_at(&now, now.boot_ns, joined(root, tracer_user::core::record::Origin::Root));
    for n in 0..200_u64 {
        let mut snapshot = tracer_user::core::snapshot::ProcSnapshot::unread(root);
        snapshot.cpu_ns = Some(n);
        let sample = tracer_user::core::session_state::SampleSet { snapshots: vec![snapshot] };
        let pushed = session.push_at(&now, now.boot_ns + n, Input::Sample(sample));
        assert_eq!(pushed.notices, vec![]);
        if n % 20 == 0 {
            session.push_at(&now, now.boot_ns + n, note(0));
        }
    }
    let trace =
        std::fs::metadata(path_in(&place, session.files().unwrap().trace().to_str().unwrap())).unwrap();
    assert!(trace.len() <= 20_000);
    let finished = session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    assert!(finished.summary.snapshots_dropped > 100 && !finished.summary.degraded);
    assert_eq!(finished.summary.snapshot_count, 200);
    let dir = place.temp.path().join("log/sessions/s");
    let events = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert_eq!(events.matches("\"kind\":\"note\"").count(), 10);
    let last = std::fs::read_to_string(dir.join("proc_trace.jsonl")).unwrap();
    assert!(last.contains("\"cpu_ns\":199") && !last.contains("\"cpu_ns\":0,"));
}

#[test]
fn a_flood_of_lines_that_may_not_be_dropped_ends_at_the_quota() {
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

/// Whatever a hostile or broken directory holds costs a reported problem, never the sweep.
#[test]
fn hostile_files_in_the_directory_do_not_stop_the_sweep() {
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
    // A sparse line of a gigabyte, and a FIFO in place of a trace.
    let traces =
        place.trace_names().into_iter().filter(|name| name.starts_with(&format!("trace_{UNUSED_PID}")));
    let huge = path(&traces.clone().next().unwrap());
    std::fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 30).unwrap();
    let replaced = path(&format!("trace_{}-4711.jsonl", UNUSED_PID + 1));
    std::fs::remove_file(&replaced).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &replaced, 0o600.into()).unwrap();

    let began = Instant::now();
    let output = run_tracer(place.temp.path(), &["recover", "--no-kernel", "--min-age", "0s"], None);
    assert!(began.elapsed() < PATIENCE);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert_eq!(place.filed(), ["good0", "good1", "good2", "good3"], "{printed}");
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
            printed.lines().any(|line| line.starts_with(what) && line.contains(why)),
            "{what} {why}:\n{printed}"
        );
    }
    assert!(!printed.contains('\u{1b}'));
}

/// A session whose log cannot be written stays for the next recovery.
#[test]
fn a_log_that_cannot_be_written_loses_nothing() {
    let place = Place::new();
    dead(&place, "s", dead_root(0));
    std::fs::write(place.temp.path().join("log"), b"not a directory").unwrap();
    let report = place.recover();
    assert_eq!((report.filed(), report.failed()), (0, 1));
    assert_eq!(place.trace_names().len(), 2);
    std::fs::remove_file(place.temp.path().join("log")).unwrap();
    assert!(is_filed(&place.recover(), "s"));
}

/// Under a test runner the default trace directory is refused, and one that is given is used.
#[test]
fn the_default_trace_directory_is_refused_under_a_test_runner() {
    for variable in ["PYTEST_CURRENT_TEST", "NEXTEST", "CARGO_TARGET_TMPDIR", "TRACER_TEST"] {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new(TRACER);
        command.args(["recover", "--dry-run", "--log-dir"]).arg(temp.path().join("log"));
        let refused = output(command.env_remove("TRACER_TRACE_DIR").env(variable, "1"));
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(variable) || stderr.contains("is set"), "{stderr}");
        assert!(stderr.contains("--trace-dir") && stderr.lines().count() == 1, "{stderr}");
        let given = run_tracer(temp.path(), &["recover", "--dry-run"], None);
        assert!(given.status.success());
    }
}

/// With a full trace directory the job runs and ends as usual, one line reports it, and the summary shows it.
#[test]
fn a_full_tmpfs_harms_neither_the_job_nor_the_session() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let traces = temp.path().join("traces");
    std::fs::create_dir(&traces).unwrap();
    let stderr = temp.path().join("stderr");
    // In a mount namespace that ends with the shell. The job ends once the tracer has reported the full
    // file system: each round of its loop adds the lines of a process, which fill it.
    let script = "mount -t tmpfs -o size=8k,mode=700 tmpfs \"$1\" && exec \"$2\" run --no-kernel --interval 10ms \\
        --trace-dir \"$1\" --log-dir \"$3\" --session-id s -- sh -c 'i=0; until grep -q \"continues in memory\" \"$1\"; do \\
        i=$((i+1)); [ $i -lt 20000 ] || exit 9; done; exit 4' sh \"$4\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&traces, Path::new(TRACER), &temp.path().join("log"), &stderr])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .env_remove("TRACER_FAULT_KILL");
    let status = TestChild::start(&mut command).wait();
    let stderr = std::fs::read_to_string(&stderr).unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert_eq!(stderr.matches("continues in memory").count(), 1, "{stderr}");
    let summary = std::fs::read_to_string(temp.path().join("log/sessions/s/summary.json")).unwrap();
    assert!(summary.contains("\"degraded\": true") && summary.contains("\"EXITED 4\""), "{summary}");
}
