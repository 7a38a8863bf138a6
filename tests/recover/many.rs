//! Many at once: recoverers, dead sessions, owners that finish, retention.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use tracer_user::core::record::EndReason;
use tracer_user::core::record::SessionId;
use tracer_user::core::retention::RetentionPolicy;
use tracer_user::core::session_state::Input;
use tracer_user::core::session_state::SessionState;
use tracer_user::core::summary::{OwnerFate, SessionEnding, SessionMeta, summarize};
use tracer_user::session::recover::RecoverConfig;
use tracer_user::session::sessions::{SessionFilter, list};
use tracer_user::store::{Filing, LogConfig, SessionLog};

use crate::sessions::*;
use crate::support::TRACER;
use crate::support::child::{TestChild, output};

/// R5. S1 and S2 list the same file → both pass every gate, read it, record it under the same id, and unlink
/// it without an error: 300 crashes gave 506 rows. Here: sixteen processes, 300 dead sessions, and a live one
/// beside them.
#[test]
fn r5_sixteen_recoverers_record_three_hundred_sessions_once_each() {
    let place = Place::new();
    for n in 0..300 {
        dead(&place, &format!("s{n:03}"), dead_root(n));
    }
    let owner = live(&place, "alive", dead_root(1_000));
    let base = place.temp.path();
    let words = ["recover", "--no-kernel", "--min-age", "0s", "--format", "json", "--max-sessions", "10000"];
    let start = |_| TestChild::start(tracer(base, &words).stdout(Stdio::piped()));
    let recoverers: Vec<TestChild> = (0..16).map(start).collect();
    let mut filed = Vec::new();
    for recoverer in recoverers {
        let (status, printed) = recoverer.finish();
        assert!(status.success(), "{printed}");
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["problems"], serde_json::json!([]));
        for entry in report["sessions"].as_array().unwrap() {
            if let Some(name) = entry["outcome"]["filed"]["dir_name"].as_str() {
                assert_eq!(entry["outcome"]["filed"]["already"], false);
                filed.push(name.to_owned());
            }
        }
    }
    let expected: BTreeSet<String> = (0..300).map(|n| format!("s{n:03}")).collect();
    filed.sort();
    assert_eq!(filed, expected.iter().cloned().collect::<Vec<_>>(), "each by exactly one process");
    assert_eq!(place.rows().len(), 300);
    assert_eq!(place.rows().into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(place.filed().len(), 300);
    assert_eq!(place.trace_names().len(), 2, "the live one's files");
    drop(owner);
}

/// R15. F1 lists the directories of the sessions → F2 removes one → F1 fails after its row was written. And
/// the index that F2 rewrites lacks the rows that were added meanwhile. Here: one lock, whole directories.
#[test]
fn r15_retention_during_finishes_loses_no_row_and_no_directory() {
    let place = Place::new();
    let config = LogConfig { retention: RetentionPolicy::count(20), ..place.log_config() };
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let (config, place) = (&config, &place);
            scope.spawn(move || {
                let log = SessionLog::open(config).unwrap();
                for n in 0..25 {
                    let id = format!("s{thread}-{n}");
                    let session = live(place, &id, dead_root(thread * 100 + n));
                    let filed = session.finish(&log, &finish(), Box::new(|| Ok(()))).unwrap();
                    assert_eq!(filed.summary.dir_name, id);
                }
            });
        }
    });
    let rows = place.rows();
    assert_eq!(rows.len(), 20);
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), place.filed().into_iter().collect::<BTreeSet<_>>());
    assert_eq!(std::fs::read_dir(place.temp.path().join("log/.staging")).unwrap().count(), 0);
}

#[test]
fn retention_removes_the_oldest_sessions_and_no_protected_one() {
    let place = Place::new();
    let log =
        SessionLog::open(&LogConfig { retention: RetentionPolicy::count(3), ..place.log_config() }).unwrap();
    for n in 0..6 {
        let session = live(&place, &format!("s{n}"), dead_root(n));
        session.finish(&log, &finish(), Box::new(|| Ok(()))).unwrap();
        if n == 1 {
            let _lock = log.lock().unwrap();
            log.protect("s1", true).unwrap();
        }
    }
    assert_eq!(place.rows(), ["s1", "s4", "s5"]);
    assert_eq!(place.filed(), ["s1", "s4", "s5"]);
}

/// The plan of a dry run names the sessions that the real run then removes, and changes nothing.
#[test]
fn a_dry_run_plans_the_retention_of_the_real_run() {
    let place = Place::new();
    let log = LogConfig { retention: RetentionPolicy::count(2), ..place.log_config() };
    for n in 0..2 {
        let session = live(&place, &format!("s{n}"), dead_root(n));
        session.finish(&SessionLog::open(&log).unwrap(), &finish(), Box::new(|| Ok(()))).unwrap();
    }
    dead(&place, "s2", dead_root(2));
    let config = |dry_run| RecoverConfig { log: log.clone(), dry_run, ..place.config() };
    let planned = recover(&config(true), &mut || true);
    assert_eq!(place.rows(), ["s0", "s1"]);
    let done = recover(&config(false), &mut || true);
    assert_eq!(planned.retention, done.retention);
    assert_eq!(done.retention.to_string(), "session s0: more than 2 sessions\n");
    assert_eq!(place.rows(), ["s1", "s2"]);
}

/// The options of retention reach the log, and the report names every removal with its reason.
#[test]
fn the_options_of_retention_are_reported_by_recover() {
    let place = Place::new();
    for n in 0..3 {
        let session = live(&place, &format!("s{n}"), dead_root(n));
        session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    }
    dead(&place, "s3", dead_root(3));
    let recover = |options: &[&str]| {
        let mut command = tracer(place.temp.path(), &["recover", "--no-kernel", "--min-age", "0s"]);
        let output = output(command.args(options));
        String::from_utf8(output.stdout).unwrap()
    };
    let planned = recover(&["--dry-run", "--max-sessions", "3", "--max-log-bytes", "1"]);
    let would_remove = |n: usize| format!("would remove session s{n}: ");
    assert!((0..3).all(|n| planned.contains(&would_remove(n))), "{planned}");
    assert!(planned.contains("s0: more than 3 sessions") && planned.contains("s1: more than 1 bytes"));
    let done = recover(&["--max-session-age", "1h", "--max-sessions", "3"]);
    assert!(done.contains("removed session s0: more than 3 sessions\n"), "{done}");
    assert_eq!(place.rows(), ["s1", "s2", "s3"]);
}

/// The room that sessions take is that of their files.
#[test]
fn retention_by_size_measures_the_files_of_each_session() {
    let place = Place::new();
    let filed = |retention, n: u32| {
        let log = SessionLog::open(&LogConfig { retention, ..place.log_config() }).unwrap();
        live(&place, &format!("s{n}"), dead_root(n)).finish(&log, &finish(), Box::new(|| Ok(()))).unwrap();
    };
    (0..3).for_each(|n| filed(RetentionPolicy::default(), n));
    let dir = place.temp.path().join("log/sessions/s2");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let one: u64 = files.sum();
    filed(RetentionPolicy { max_bytes: Some(one * 5 / 2), ..RetentionPolicy::default() }, 3);
    assert_eq!(place.rows(), ["s2", "s3"]);
    assert_eq!(place.filed(), ["s2", "s3"]);
}

#[test]
fn a_session_is_protected_by_a_command_and_unprotected_by_another() {
    let place = Place::new();
    let config = LogConfig { retention: RetentionPolicy::count(3), ..place.log_config() };
    let file = |n: u32| {
        let log = SessionLog::open(&config).unwrap();
        live(&place, &format!("s{n}"), dead_root(n)).finish(&log, &finish(), Box::new(|| Ok(()))).unwrap();
    };
    let sessions = |words: &[&str]| {
        let mut command = Command::new(TRACER);
        command.arg("sessions").args(words).arg("--log-dir").arg(&config.path);
        let output = output(&mut command);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    (0..3).for_each(file);
    assert!(sessions(&["protect", "s0", "s1"]).0);
    for bad in ["s9", "../s0", ""] {
        let (done, stderr) = sessions(&["protect", "s2", bad]);
        assert!(!done && stderr.lines().count() == 1, "{bad:?}: {stderr}");
    }
    (3..6).for_each(file);
    assert_eq!(
        place.rows(),
        ["s0", "s1", "s5"],
        "s2 was not protected together with one that does not exist"
    );
    let log = place.log();
    assert_eq!(log.read_summary("s0").unwrap().unwrap().labels["suite"], "unit");
    assert!(sessions(&["protect", "--off", "s0"]).0);
    file(6);
    assert_eq!(place.rows(), ["s1", "s5", "s6"]);
}

/// Ten thousand dead sessions are finished in one sweep, each once.
#[test]
fn ten_thousand_dead_sessions_are_finished() {
    let place = Place::in_memory();
    let made = std::time::Instant::now();
    for n in 0..10_000 {
        dead(&place, &format!("s{n:05}"), dead_root(n));
    }
    println!("made in {:.1?}", made.elapsed());
    let began = std::time::Instant::now();
    let report = recover(&RecoverConfig { log: place.log_config(), ..place.config() }, &mut || true);
    let took = began.elapsed();
    assert_eq!((report.filed(), report.failed(), report.problems.len()), (10_000, 0, 0));
    assert_eq!((place.rows().len(), place.trace_names().len()), (10_000, 0));
    // A figure to read. No limit is checked.
    println!("10 000 dead sessions in {took:.1?}");
}

/// A log of a hundred thousand rows is listed, filtered and limited.
#[test]
fn a_hundred_thousand_sessions_are_listed() {
    let place = Place::new();
    let log = place.log();
    let id = SessionId::parse("s").unwrap();
    let ending = SessionEnding {
        owner_fate: OwnerFate::Finished,
        degraded: false,
        end: None,
        tracer_version: "test",
        leaked: &[],
    };
    let summary = summarize(&id, &enrollment("s", dead_root(0)), SessionState::new().tracker(), &ending);
    log.file(Filing {
        summary,
        meta: SessionMeta::default(),
        lines: &mut std::iter::empty(),
        diagnosis: None,
    })
    .unwrap();
    let index = place.temp.path().join("log/sessions.jsonl");
    let row = std::fs::read_to_string(&index).unwrap();
    let mut many = String::with_capacity(row.len() * 100_001);
    for _ in 0..100_000 {
        many.push_str(&row);
    }
    many.push_str("{\"torn\":");
    std::fs::write(&index, many).unwrap();
    let began = std::time::Instant::now();
    let listing =
        list(&place.log_config(), &SessionFilter { limit: Some(10), ..SessionFilter::default() }).unwrap();
    println!("100 000 rows in {:.1?}", began.elapsed());
    assert_eq!((listing.sessions.len(), listing.problems.len()), (10, 1));
    let none = SessionFilter { labels: vec![("suite".into(), "other".into())], ..SessionFilter::default() };
    assert_eq!(list(&place.log_config(), &none).unwrap().sessions.len(), 0);
    let all = SessionFilter {
        labels: vec![("suite".into(), String::new())],
        outcome: Some("failed".into()),
        ..SessionFilter::default()
    };
    assert_eq!(list(&place.log_config(), &all).unwrap().sessions.len(), 100_000);
}

/// Clearing the log hides earlier sessions and removes nothing.
#[test]
fn a_cleared_log_hides_earlier_sessions_and_keeps_them() {
    let place = Place::new();
    let finish_one = |id: &str, n| {
        let mut session = live(&place, id, dead_root(n));
        let now = anchor();
        session.push_at(&now, now.boot_ns, Input::End(EndReason::RootEnded));
        session.finish(&place.log(), &finish(), Box::new(|| Ok(()))).unwrap();
    };
    finish_one("before", 0);
    tracer_user::session::sessions::clear(&place.log_config()).unwrap();
    finish_one("after", 1);
    let names = |filter: &SessionFilter| -> Vec<String> {
        list(&place.log_config(), filter).unwrap().sessions.into_iter().map(|row| row.session_id).collect()
    };
    assert_eq!(names(&SessionFilter::default()), ["after"]);
    assert_eq!(
        names(&SessionFilter { include_cleared: true, ..SessionFilter::default() }),
        ["before", "after"]
    );
    assert_eq!(place.filed(), ["after", "before"]);
}
