//! What is written can be read, passes its schema, and what cannot be read says why.

use super::sidecar::{Enrollment, Owner, SIDECAR_SCHEMA, Sidecar, SidecarError};
use super::*;
use crate::core::event::*;
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::schema::{SchemaKind, schema};
use crate::core::session_state::{Input, Join, SampleSet, SessionState};
use crate::core::snapshot::ProcSnapshot;
use crate::core::summary::{OwnerFate, SessionEnding, summarize};
use crate::core::text::ByteString;
use crate::core::time::Anchor;
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use strum::IntoEnumIterator as _;

const ROOT: ProcessId = ProcessId { tgid: 100, start_ticks: 5 };
const CHILD: ProcessId = ProcessId { tgid: 101, start_ticks: 6 };

fn anchor() -> Anchor {
    Anchor { wall: jiff::Timestamp::from_second(1_790_000_000).unwrap(), boot_ns: 0 }
}

fn enrollment() -> Enrollment {
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id: "a-session".to_owned(),
        labels: BTreeMap::from([("kitchen_id".to_owned(), "k".to_owned())]),
        boot_id: Some("b".to_owned()),
        pid: 100,
        starttime_ticks: Some(5),
        start_boottime_ns: Some(50_000_000),
        pidfd_ino: Some(u64::MAX),
        pidns_ino: Some(4_026_531_836),
        ns_pid: Some(1),
        comm: Some(ByteString(b"l\xc3".to_vec())),
        cmdline: vec![ByteString(b"a\x00b".to_vec())],
        cwd: Some("/".into()),
        uid: Some(0),
        enrolled_at: "2026-09-21T11:33:20.000000Z".to_owned(),
        owner: Owner { pid: 7, starttime_ticks: None, version: "0".to_owned() },
        bpf_pins: None,
        interval_ms: 5_000,
        log_dir: None,
    }
}

fn stall() -> Stall {
    Stall {
        process: CHILD,
        tid: 101,
        comm: b"child".to_vec(),
        since_boot_ns: 1_000,
        fd: Some(1),
        syscall: Some(1),
        kind: ResourceKind::Pipe,
        inode: Some(77),
        device: Some(13),
        socket: None,
        slots: Some((16, 16)),
        used_bytes: Some(65_536),
        capacity_bytes: Some(65_536),
        ends: Some((1, 1)),
        end_seen: None,
    }
}

fn events() -> Vec<EventBody> {
    vec![
        EventBody::Fork(Fork {
            parent: ROOT,
            parent_tid: Some(100),
            child: CHILD,
            extras: IdentityExtras { pidfd_ino: Some(u64::MAX), ..IdentityExtras::default() },
            comm: b"\xff\x1b".to_vec(),
        }),
        EventBody::Exec(Exec {
            process: CHILD,
            by_thread: None,
            comm: b"child".to_vec(),
            filename: Some(b"/c".to_vec()),
        }),
        EventBody::Signal(Signal {
            target: CHILD,
            sender: Some(ROOT),
            sender_comm: b"root".to_vec(),
            signal: 15,
            code: 0,
            delivered: true,
            group: true,
        }),
        EventBody::StallOpen(stall()),
        EventBody::StallClosed(Stall { kind: ResourceKind::Unknown, socket: Some((1, 2)), ..stall() }),
        EventBody::Exit(Exit {
            process: CHILD,
            status: Some(WaitStatus(9)),
            parent: Some(ROOT),
            reaper_tgid: Some(1),
            killer: Some(Killer { tgid: 100, comm: b"root".to_vec(), signal: 9 }),
            oom_victim: Some(true),
            seen_late: false,
            cpu_ns: Some(5),
            comm: vec![],
        }),
    ]
}

/// A session in which every kind of line occurs.
fn every_line() -> (Vec<Line>, SessionState) {
    let mut state = SessionState::new();
    let mut lines = Vec::new();
    let header = HeaderLine {
        tracer_version: "0".to_owned(),
        kernel: Some("6.18".to_owned()),
        hostname: None,
        session_id: "a-session".to_owned(),
        boot_id: None,
        root: ROOT.into(),
        cmdline: vec![],
        kernel_events: true,
        capabilities: vec!["CAP_BPF".to_owned()],
        offsets_missing: vec![],
        interval_ms: 5_000,
        unchanged_left_out: true,
        thresholds: Thresholds { stall_ms: 1, no_progress_ms: 1_000 },
        config: BTreeMap::from([("on_hang".to_owned(), json!("report"))]),
    };
    let mut push = |at: u64, input: Input| lines.extend(state.push(&anchor(), at, input));
    push(0, Input::Header(Box::new(header)));
    push(0, Input::Joined(Join::new(ROOT, Origin::Root)));
    for (body, at) in events().into_iter().zip(1_u64..) {
        push(0, Input::Kernel(Event { boot_ns: at * 10_000_000, body }));
    }
    let mut snapshot = ProcSnapshot::unread(ROOT);
    snapshot.cpu_percent = Some(12.3);
    snapshot.oom_score = Some(-1);
    snapshot.connections = Some(BTreeMap::from([("LISTEN".to_owned(), 1)]));
    push(100_000_000, Input::Sample(SampleSet { snapshots: vec![snapshot] }));
    push(100_000_000, Input::Lost { count: 3, place: LostPlace::Ring });
    push(100_000_000, Input::Diagnosis(json!({"schema": "tracer.diagnosis/1"})));
    push(100_000_000, Input::Note { code: "adopted".to_owned(), text: "…".to_owned() });
    push(100_000_000, Input::End(EndReason::RootEnded));
    (lines, state)
}

fn validate(kind: &str, value: &serde_json::Value) {
    let schema = schema(kind.parse().unwrap());
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{kind}: {errors:?}\n{value:#}");
}

#[test]
fn every_line_comes_back_and_passes_its_schema() {
    let (lines, _) = every_line();
    let mut kinds = BTreeSet::new();
    for line in &lines {
        let bytes = line.to_bytes();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(&Line::parse(&bytes).unwrap(), line);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        validate("trace", &value);
        validate(line.body.kind(), &value);
        assert_eq!(value["kind"], line.body.kind());
        kinds.insert(line.body.kind());
    }
    let not_lines = [
        "trace",
        "enrollment",
        "summary",
        "index",
        "meta",
        "diagnose",
        "evidence",
        "doctor",
        "preflight",
        "reap",
        "holders",
        "all",
    ];
    let names = SchemaKind::iter().map(<&str>::from);
    let expected: BTreeSet<_> = names.filter(|kind| !not_lines.contains(kind)).collect();
    assert_eq!(kinds, expected, "every kind of line occurs here");
}

#[test]
fn the_other_files_pass_their_schemas() {
    let (_, state) = every_line();
    validate("enrollment", &serde_json::to_value(enrollment()).unwrap());
    let ending = SessionEnding {
        owner_fate: OwnerFate::Died,
        degraded: false,
        end: None,
        tracer_version: "0",
        leaked: &[],
    };
    let summary = summarize(&SessionId::parse("a-session").unwrap(), &enrollment(), state.tracker(), &ending);
    validate("summary", &serde_json::to_value(&summary).unwrap());
    validate("index", &serde_json::to_value(summary.index_row()).unwrap());
    validate("meta", &serde_json::to_value(crate::core::summary::SessionMeta::default()).unwrap());
}

#[test]
fn schemas_are_schemas_and_refuse_what_is_wrong() {
    for kind in SchemaKind::iter().filter(|kind| *kind != SchemaKind::All) {
        assert!(jsonschema::meta::is_valid(&schema(kind)), "{kind:?}");
    }
    assert!("nonsense".parse::<SchemaKind>().is_err());
    let (lines, _) = every_line();
    let mut value = serde_json::to_value(&lines[0]).unwrap();
    value["interval_ms"] = json!("soon");
    assert!(!jsonschema::is_valid(&schema(SchemaKind::Header), &value));
}

#[test]
fn lines_that_are_not_understood_say_why() {
    assert_eq!(Line::parse(b"\n"), Err(LineError::Empty));
    assert_eq!(Line::parse(b"\xff"), Err(LineError::NotUtf8(0)));
    assert_eq!(Line::parse(br#"{"v":9,"kind":"from_the_future"}"#), Err(LineError::Newer(9)));
    assert!(matches!(Line::parse(b"7"), Err(LineError::Malformed(_))));
    assert!(matches!(Line::parse(br#"{"v":1,"kind":"nonsense"}"#), Err(LineError::Malformed(_))));
    assert_eq!(Line::parse(&vec![b' '; MAX_LINE_BYTES + 1]), Err(LineError::TooLong(MAX_LINE_BYTES + 1)));
    let deep = format!("{{\"v\":1,\"x\":{}", "[".repeat(100_000));
    assert!(matches!(Line::parse(deep.as_bytes()), Err(LineError::Malformed(_))));
}

#[test]
fn a_field_that_a_later_version_added_does_not_matter() {
    let (lines, _) = every_line();
    for line in lines {
        let mut value = serde_json::to_value(&line).unwrap();
        value["added_later"] = json!({"x": 1});
        assert_eq!(Line::parse(value.to_string().as_bytes()).unwrap(), line);
    }
}

#[test]
fn sidecars_of_three_schemas_are_read_and_a_fourth_refused() {
    let own = serde_json::to_vec(&enrollment()).unwrap();
    assert_eq!(Sidecar::parse(&own), Ok(Sidecar::Own(Box::new(enrollment()))));
    let two = br#"{"schema_version": 2, "pid": 5, "boot_id": null, "starttime_ticks": 0, "session_id": "",
        "kitchen_id": "k", "order_id": "", "enrolled_at": "2026-05-01T00:00:00+00:00", "comm": "node"}"#;
    let Ok(Sidecar::Foreign(two)) = Sidecar::parse(two) else { panic!("schema 2 is read") };
    assert_eq!(
        (two.starttime_ticks, two.session_id, two.boot_id),
        (None, None, None),
        "0 and \"\" mean unknown"
    );
    assert_eq!(two.labels, BTreeMap::from([("kitchen_id".to_owned(), "k".to_owned())]));
    let one = br#"{"schema_version": 1, "pid": 5, "boot_id": "b", "starttime_ticks": null, "comm": ""}"#;
    let Ok(Sidecar::Foreign(one)) = Sidecar::parse(one) else { panic!("schema 1 is read") };
    assert_eq!((one.comm, one.boot_id.as_deref()), (None, Some("b")));
    assert_eq!(Sidecar::parse(br#"{"schema_version": 4}"#), Err(SidecarError::Newer(4)));
    assert!(matches!(Sidecar::parse(br#"{"schema_version": 0, "pid": 1}"#), Err(SidecarError::Malformed(_))));
    assert!(matches!(Sidecar::parse(b"[]"), Err(SidecarError::Malformed(_))));
    let mut evil = serde_json::to_value(enrollment()).unwrap();
    evil["session_id"] = json!("../../etc");
    assert!(matches!(Sidecar::parse(evil.to_string().as_bytes()), Err(SidecarError::SessionId(_))));
}

proptest! {
    #[test]
    fn no_prefix_or_change_of_a_line_panics(pick in 0_usize..64, cut in 0_usize..2_000, at in 0_usize..2_000, byte: u8) {
        let (lines, _) = every_line();
        let mut bytes = lines[pick % lines.len()].to_bytes();
        let _ = Line::parse(&bytes[..cut.min(bytes.len())]);
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = Line::parse(&bytes);
    }

    #[test]
    fn no_bytes_panic_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Line::parse(&bytes);
        let _ = Sidecar::parse(&bytes);
    }

    #[test]
    fn no_prefix_or_change_of_a_sidecar_panics(cut in 0_usize..2_000, at in 0_usize..2_000, byte: u8) {
        let mut bytes = serde_json::to_vec(&enrollment()).unwrap();
        let _ = Sidecar::parse(&bytes[..cut.min(bytes.len())]);
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = Sidecar::parse(&bytes);
    }
}
