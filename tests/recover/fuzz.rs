//! Whatever a file, a record of the kernel or a text of `/proc` contains: no panic, and no endless work.
//!
//! Valid inputs are mutated: bits, bytes, numbers, cuts, splices. `cargo xtask fuzz` runs this for longer.
//! The seed is printed, so that a run can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracer_user::core::identity::ProcessId;
use tracer_user::core::record::sidecar::Sidecar;
use tracer_user::core::record::{EndReason, ExitSource, Line, LostPlace, Origin, SessionId};
use tracer_user::core::session_state::{Input, SessionState};
use tracer_user::core::text::ByteString;
use tracer_user::core::{decode, proc_event, redact};
use tracer_user::kernel::layout_of;
use tracer_user::store::index;
use tracer_user::store::lines::Lines;
use tracer_user::{Evidence, diagnose, report};

use crate::sessions::{anchor, enrollment, exit_of, header, joined};

/// How long each target is fed without `TRACER_FUZZ_SECONDS`.
const BRIEFLY: Duration = Duration::from_millis(400);
/// No input may take longer, on a machine however busy.
const AT_MOST: Duration = Duration::from_secs(20);
/// Numbers and words at which parsers break.
const NOTABLE: &[&str] = &[
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967296",
    "1e999",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "\n",
    "\0",
    "\x1b[",
    ")",
    "../..",
    "(",
];

/// A generator of numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).expect("small")
    }

    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(8) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.next() as u8,
                2 => input.truncate(at),
                3 => {
                    let word = NOTABLE[self.below(NOTABLE.len())].bytes();
                    input.splice(at..at, word);
                }
                4 => {
                    // A number becomes another one.
                    let digits = |from: usize, bytes: &[u8]| {
                        bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
                    };
                    if let Some(from) = (at..input.len()).find(|at| input[*at].is_ascii_digit()) {
                        let length = digits(from, &input);
                        let number = NOTABLE[self.below(7)].bytes();
                        input.splice(from..from + length, number);
                    }
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() - from + 1);
                    input.splice(at..at, other[from..to].iter().copied());
                }
                6 => {
                    let to = (at + self.below(64)).min(input.len());
                    input.drain(at..to);
                }
                _ => {
                    let to = (at + self.below(64)).min(input.len());
                    let copy = input[at..to].to_vec();
                    input.splice(at..at, copy);
                }
            }
        }
        input
    }
}

/// Feeds a target with mutated seeds, for a bounded time. Prints how many inputs it took.
#[track_caller]
fn fuzz(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let number = |variable| std::env::var(variable).ok()?.parse::<u64>().ok();
    let time = number("TRACER_FUZZ_SECONDS").map_or(BRIEFLY, Duration::from_secs);
    let seed =
        number("TRACER_FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    let mut random = Random(seed | 1);
    for input in seeds {
        target(input);
    }
    let (began, mut count, mut longest) = (Instant::now(), 0u64, Duration::ZERO);
    while began.elapsed() < time {
        let input = random.mutated(seeds);
        let started = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| target(&input)));
        longest = longest.max(started.elapsed());
        assert!(
            done.is_ok() && started.elapsed() < AT_MOST,
            "{name}, seed {seed}, input {count}: {:?}",
            String::from_utf8_lossy(&input)
        );
        count += 1;
    }
    println!("fuzz: {name}: {count} inputs, the longest took {longest:?}; seed {seed}");
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A line of each kind that a session writes.
fn trace() -> Vec<Vec<u8>> {
    let root = ProcessId { tgid: 7, start_ticks: 70 };
    let inputs = [
        header("s", root),
        joined(root, Origin::Root),
        joined(ProcessId { tgid: 8, start_ticks: 71 }, Origin::Found),
        Input::Note { code: "a".to_owned(), text: "b".to_owned() },
        Input::Diagnosis(serde_json::json!({ "verdict": "deadlock" })),
        Input::Lost { count: 3, place: LostPlace::OldSnapshots },
        Input::Ended(Box::new(exit_of(root, 256)), ExitSource::Kernel),
        Input::End(EndReason::RootEnded),
    ];
    let mut state = SessionState::new();
    let lines = inputs.into_iter().zip(1..).flat_map(|(input, at)| state.push(&anchor(), at, input));
    lines.map(|line| line.to_bytes()).collect()
}

#[test]
fn lines_of_a_trace() {
    let mut seeds = trace();
    assert!(seeds.len() >= 8);
    for line in &seeds {
        let parsed = Line::parse(line.trim_ascii_end());
        assert!(parsed.is_ok(), "{parsed:?}: {}", String::from_utf8_lossy(line));
    }
    seeds.push(seeds.concat());
    fuzz("trace", &seeds, |input| {
        let mut state = SessionState::new();
        for line in input.split(|byte| *byte == b'\n') {
            if let Ok(line) = Line::parse(line) {
                let again = Line::parse(line.to_bytes().trim_ascii_end()).expect("what was written is read");
                state.replay(&again);
            }
        }
        let lines = Lines::new(input);
        assert!(lines.count() <= input.len() + 1);
    });
}

#[test]
fn sidecars_and_rows_of_the_index() {
    let enrollment = enrollment("s", ProcessId { tgid: 7, start_ticks: 70 });
    let foreign =
        r#"{"schema_version":1,"session_id":"s","boot_id":"b","pid":7,"starttime_ticks":70,"comm":"sh"}"#;
    let mut seeds = texts(&[
        r#"{"v":1,"session_id":"s","dir_name":"s","timestamp":"2026-01-02T03:04:05Z","cwd":"/","command":"x","labels":{},"success":true,"subtype":"success","exit_code":0,"termination_reason":"EXITED 0","owner_fate":"finished","duration_seconds":1.5,"snapshot_count":1,"anomaly_count":0,"stall_count":0,"peak_rss_kb":1,"peak_oom_score":1,"tracked_comm":"sh","tracked_comm_drift":false}"#,
        foreign,
    ]);
    seeds.insert(0, serde_json::to_vec(&enrollment).expect("JSON"));
    assert!(matches!(Sidecar::parse(&seeds[0]), Ok(Sidecar::Own(_))), "{:?}", Sidecar::parse(&seeds[0]));
    assert!(index::parse_row(&seeds[1]).is_ok(), "{:?}", index::parse_row(&seeds[1]));
    fuzz("sidecar and index", &seeds, |input| {
        let _ = Sidecar::parse(input);
        let _ = index::parse_row(input);
        let text = String::from_utf8_lossy(input);
        if let Ok(id) = SessionId::parse(&text) {
            assert!(!id.as_str().contains('/'), "an id is a file name");
        }
    });
}

#[test]
fn records_of_the_kernel_and_its_type_information() {
    let seeds: Vec<Vec<u8>> = (0..12u8)
        .map(|kind| {
            let mut record = vec![0u8; 256];
            record[0] = kind;
            record[4] = kind;
            record[8] = 7;
            record
        })
        .collect();
    fuzz("records", &seeds, |input| {
        let _ = decode::event(input);
        let _ = proc_event::parse(input);
    });
    let Ok(btf) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
    // The beginning of the types and the end of the strings are enough to be wrong about.
    let mut seeds = vec![btf[..4096].to_vec(), btf[..24].to_vec()];
    seeds.extend([1, 2].map(|part| btf[..btf.len() / (part * 64)].to_vec()));
    let file = tempfile::NamedTempFile::new().expect("a file");
    fuzz("type information", &seeds, |input| {
        std::fs::write(file.path(), input).expect("written");
        let _ = layout_of(file.path(), std::env::consts::ARCH);
    });
}

#[test]
fn evidence_and_every_report_of_it() {
    let evidence = Evidence::default();
    let mut seeds = vec![serde_json::to_vec(&evidence).expect("JSON")];
    let own = tracer_user::Request {
        ask: tracer_user::Ask::Tree(std::process::id()),
        quiet_window: Duration::from_millis(20),
    };
    let mut own = tracer_user::collect(&own).expect("evidence of this process");
    own.processes.retain(|process| process.in_scope);
    seeds.push(serde_json::to_vec(&own).expect("JSON"));
    fuzz("evidence", &seeds, |input| {
        let Ok(evidence) = serde_json::from_slice::<Evidence>(input) else { return };
        let diagnosis = diagnose(&evidence);
        let _ = report::text(&diagnosis, report::TextStyle::default());
        let _ = (report::markdown(&diagnosis), report::html(&diagnosis, None), report::junit(&diagnosis));
        let _ = (report::dot(&diagnosis.graph), report::mermaid(&diagnosis.graph));
        let json = report::json(&diagnosis).expect("a diagnosis is JSON");
        serde_json::from_str::<serde_json::Value>(&json).expect("well-formed");
    });
}

#[test]
fn command_lines() {
    let seeds = texts(&[
        "curl -u user:secret -H 'Authorization: Bearer x' https://u:p@h/x?token=y",
        "mysql -psecret\0--password=x\0sqlplus a/b@c",
        "{\"token\": \"x\", \\\"key\\\":\\\"y\\\"} -----BEGIN RSA PRIVATE KEY-----",
        "é:è@ü \"é' =:@ -u -p set _token",
    ]);
    fuzz("command lines", &seeds, |input| {
        let words: Vec<ByteString> = input.split(|byte| *byte == 0).map(ByteString::from).collect();
        assert_eq!(redact::argv(&words).len(), words.len());
        let text = String::from_utf8_lossy(input);
        let _ = redact::line(&text);
        let shown = tracer_user::core::text::printable(input);
        assert!(!shown.contains("##") && !shown.trim_start().starts_with("::"), "{shown:?}");
    });
}
