//! The files of a session, from its start to its end, as its owner leaves them.

use crate::support::PATIENCE;
use jiff::Timestamp;
use rustix::fd::AsFd;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tracer_user::core::identity::ProcessId;
use tracer_user::core::record::sidecar::{Enrollment, Owner, SIDECAR_SCHEMA, Sidecar};
use tracer_user::core::record::{EndReason, HeaderLine, Line, Thresholds};
use tracer_user::core::retention::RetentionPolicy;
use tracer_user::core::session_state::{Input, SampleSet};
use tracer_user::core::snapshot::ProcSnapshot;
use tracer_user::core::summary::{OwnerFate, SessionEnding};
use tracer_user::core::time::Anchor;
use tracer_user::session::live::SessionRecorder;
use tracer_user::store::{Claim, ClaimError, Limits, LogConfig, ResolveConfig, SessionLog, TraceDir, index};

fn anchor() -> Anchor {
    Anchor { wall: Timestamp::from_second(1_790_000_000).unwrap(), boot_ns: 1_000_000_000_000 }
}

fn trace_dir(under: &Path) -> TraceDir {
    let config = ResolveConfig {
        requested: Some(under.join("traces")),
        defaults: vec![],
        uid: rustix::process::geteuid().as_raw(),
        sudo_uid: None,
        test_runner: None,
    };
    TraceDir::resolve(&config).unwrap()
}

fn enrollment(id: &str, pid: u32) -> Enrollment {
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id: id.to_owned(),
        labels: BTreeMap::from([("suite".to_owned(), "unit".to_owned())]),
        boot_id: Some("boot".to_owned()),
        pid,
        starttime_ticks: Some(4_711),
        start_boottime_ns: Some(47_110_000_000),
        pidfd_ino: None,
        pidns_ino: None,
        ns_pid: None,
        comm: Some("job".into()),
        cmdline: vec!["job".into(), "--fast".into()],
        cwd: None,
        uid: Some(0),
        enrolled_at: "2026-09-21T11:33:20.000000Z".to_owned(),
        owner: Owner { pid: 1, starttime_ticks: None, version: "test".to_owned() },
        bpf_pins: None,
        interval_ms: 5_000,
        log_dir: None,
    }
}

fn header(pid: u32) -> Input {
    Input::Header(Box::new(HeaderLine {
        tracer_version: "test".to_owned(),
        kernel: None,
        hostname: None,
        session_id: "s".to_owned(),
        boot_id: Some("boot".to_owned()),
        root: ProcessId { tgid: pid, start_ticks: 4_711 }.into(),
        cmdline: vec![],
        kernel_events: false,
        capabilities: vec![],
        offsets_missing: vec![],
        interval_ms: 5_000,
        unchanged_left_out: true,
        thresholds: Thresholds::default(),
        config: BTreeMap::new(),
    }))
}

fn finish() -> SessionEnding<'static> {
    SessionEnding {
        owner_fate: OwnerFate::Finished,
        degraded: false,
        end: Some(anchor().wall),
        tracer_version: "test",
        leaked: &[],
    }
}

#[test]
fn a_session_is_in_the_trace_directory_until_it_ends_and_then_in_the_log() {
    let temp = tempfile::tempdir().unwrap();
    let traces = trace_dir(temp.path());
    assert_eq!(std::fs::metadata(traces.path()).unwrap().mode() & 0o777, 0o700);
    let mut session = SessionRecorder::create(&traces, enrollment("s", 42), Limits::default()).unwrap();

    let files = session.files().unwrap().clone();
    assert_eq!(files.stem(), "42-4711");
    for name in [files.sidecar(), files.trace()] {
        let meta = std::fs::metadata(traces.path().join(name)).unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.nlink()), (0o600, 1));
    }
    let sidecar = std::fs::read(traces.path().join(files.sidecar())).unwrap();
    assert!(matches!(Sidecar::parse(&sidecar), Ok(Sidecar::Own(own)) if *own == enrollment("s", 42)));
    // The owner lives, so no other process can claim it.
    assert!(matches!(Claim::take(traces.dir(), files.clone(), traces.uid()), Err(ClaimError::Held)));

    assert_eq!(session.push_at(&anchor(), 1_000_000_000_000, header(42)).lines.len(), 1);
    let mut snapshot = ProcSnapshot::unread(ProcessId { tgid: 42, start_ticks: 4_711 });
    snapshot.comm = Some((&b"l\xc3"[..]).into());
    let pushed = session.push_at(
        &anchor(),
        1_000_000_000_001,
        Input::Sample(SampleSet { snapshots: vec![snapshot.clone()] }),
    );
    let trace = std::fs::read(traces.path().join(files.trace())).unwrap();
    let lines: Vec<Line> =
        trace.split_inclusive(|b| *b == b'\n').map(|line| Line::parse(line).unwrap()).collect();
    assert_eq!(lines[1..], pushed.lines[..]);

    session.push_at(&anchor(), 1_000_000_000_002, Input::End(EndReason::RootEnded));
    let log =
        SessionLog::open(&LogConfig { path: temp.path().join("log"), retention: RetentionPolicy::count(10) })
            .unwrap();
    let mut unpinned = false;
    let finished = session
        .finish(
            &log,
            &finish(),
            Box::new(|| {
                assert!(temp.path().join("log/sessions/s/summary.json").exists(), "pins are removed last");
                assert_eq!(
                    traces.dir().list().unwrap(),
                    Vec::<std::ffi::OsString>::new(),
                    "pins are removed last"
                );
                unpinned = true;
                Ok(())
            }),
        )
        .unwrap();
    assert!(unpinned && finished.notices.is_empty() && !finished.filed.already);
    let read = |name: &str| std::fs::read_to_string(temp.path().join("log/sessions/s").join(name)).unwrap();
    assert_eq!(log.read_summary("s").unwrap().unwrap(), finished.summary);
    assert_eq!((read("proc_trace.jsonl").lines().count(), read("events.jsonl").lines().count()), (2, 2));
    assert!(read("meta.json").contains("\"suite\""));
    assert_eq!(std::fs::read_to_string(temp.path().join("log/sessions.jsonl")).unwrap().lines().count(), 1);
    assert!(std::fs::read_dir(temp.path().join("log/.staging")).unwrap().next().is_none());
}

#[test]
fn two_sessions_of_one_root_have_files_of_their_own() {
    let temp = tempfile::tempdir().unwrap();
    let traces = trace_dir(temp.path());
    let first = SessionRecorder::create(&traces, enrollment("a", 42), Limits::default()).unwrap();
    let second = SessionRecorder::create(&traces, enrollment("b", 42), Limits::default()).unwrap();
    assert_eq!((first.files().unwrap().stem(), second.files().unwrap().stem()), ("42-4711", "42-4711.2"));
    assert_eq!(traces.dir().list().unwrap().len(), 4);
}

#[test]
fn a_session_with_a_used_id_gets_a_directory_of_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let traces = trace_dir(temp.path());
    let log =
        SessionLog::open(&LogConfig { path: temp.path().join("log"), retention: RetentionPolicy::count(10) })
            .unwrap();
    let names: Vec<_> = [42, 43]
        .map(|pid| {
            let session =
                SessionRecorder::create(&traces, enrollment("same", pid), Limits::default()).unwrap();
            session.finish(&log, &finish(), Box::new(|| Ok(()))).unwrap().summary.dir_name
        })
        .to_vec();
    assert_eq!(names, ["same", "same.2"]);
    assert_eq!(log.read_summary("same.2").unwrap().unwrap().dir_name, "same.2");
}

/// The index is a file that anything may have written. Its rows name directories that retention removes.
#[test]
fn a_row_of_the_index_that_names_a_path_removes_nothing_outside_of_the_log() {
    let temp = tempfile::tempdir().unwrap();
    let traces = trace_dir(temp.path());
    let victim = temp.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("precious"), "x").unwrap();
    let config = LogConfig { path: temp.path().join("log"), retention: RetentionPolicy::count(1) };
    let log = SessionLog::open(&config).unwrap();
    let index = temp.path().join("log/sessions.jsonl");
    for (name, pid) in [("a", 42), ("b", 43), ("c", 44)] {
        let session = SessionRecorder::create(&traces, enrollment(name, pid), Limits::default()).unwrap();
        session.finish(&log, &finish(), Box::new(|| Ok(()))).unwrap();
        let text = std::fs::read_to_string(&index).unwrap();
        let (own, path) = (format!("\"dir_name\":\"{name}\""), "\"dir_name\":\"../../victim\"");
        std::fs::write(&index, text.replace(&own, path)).unwrap();
    }
    assert!(victim.join("precious").exists());
    let bad = index::rows(index::open(log.dir(), log.uid()).unwrap().unwrap());
    let bad: Vec<_> = bad.map(Result::unwrap).filter(|row| matches!(row, index::Row::Bad(..))).collect();
    assert!(!bad.is_empty(), "the rows are reported as not understood");
}

#[test]
fn the_lock_ends_with_its_owner_and_the_name_with_its_session() {
    let temp = tempfile::tempdir().unwrap();
    let traces = trace_dir(temp.path());
    let session = SessionRecorder::create(&traces, enrollment("s", 42), Limits::default()).unwrap();
    let files = session.files().unwrap().clone();
    drop(session);
    // A child that another test is just starting has a copy of the descriptor until it executes.
    let deadline = std::time::Instant::now() + PATIENCE;
    let claim = loop {
        match Claim::take(traces.dir(), files.clone(), traces.uid()) {
            Err(ClaimError::Held) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert!(matches!(claim.read(), Ok(Sidecar::Own(_))));
    assert!(traces.dir().names(files.sidecar(), claim.sidecar().as_fd()).unwrap());
    claim.remove().unwrap();
    assert!(matches!(Claim::take(traces.dir(), files, traces.uid()), Err(ClaimError::Gone)));
}
