//! A tracer is killed at any moment of a real run, then one recovery runs: there is one whole session, and
//! nothing is left.

use crate::sessions::{Place, anchor, pins, tracer};
use crate::support::PATIENCE;
use crate::support::child::{TestChild, output};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How many runs are killed, unless `TRACER_TEST_KILLS` gives another number.
const KILLS: u64 = 16;

/// Forks in parallel and in sequence, so that lines of every kind are written throughout.
const JOB: &str = "i=0; while [ $i -lt 20 ]; do sh -c 'exit 3' & i=$((i+1)); done; wait; (exit 1); exit 7";

/// Starts a run whose job creates a file when it begins: from then on its session must not be lost.
fn start(place: &Path) -> TestChild {
    let job = format!("touch {}; {JOB}", place.join("began").display());
    let words = ["run", "--quiet", "--interval", "20ms", "--session-id", "s", "--", "sh", "-c", &job];
    TestChild::start(tracer(place, &words).stdin(Stdio::null()).stdout(Stdio::null()))
}

fn wait_for_job(place: &Place, tracer: &TestChild) {
    while !place.temp.path().join("began").exists() {
        assert!(!tracer.ends_within(Duration::ZERO), "it ended before its job began");
        std::thread::yield_now();
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Pseudo-random numbers, the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

#[test]
fn a_tracer_killed_at_a_random_moment_leaves_one_session() {
    let seed = number("TRACER_TEST_SEED").unwrap_or_else(|| anchor().boot_ns);
    println!("TRACER_TEST_SEED={seed}");
    let mut random = Random(seed);
    // How long a whole run and its job take here: the moments are spread over that time.
    let whole = Place::new();
    let began = Instant::now();
    let mut whole_run = start(whole.temp.path());
    wait_for_job(&whole, &whole_run);
    let job_began = Instant::now();
    assert_eq!(whole_run.wait().code(), Some(7));
    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap();
    let (run_length, job_length) = (micros(began), micros(job_began));
    let with_kernel = whole.summary("s").kernel_events == Some(true);
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..number("TRACER_TEST_KILLS").unwrap_or(KILLS) {
        let place = Place::new();
        let mut killed = start(place.temp.path());
        // Every other run is killed after its job began: most of such a short run is the start.
        let (limit, of) = if round % 2 == 1 {
            wait_for_job(&place, &killed);
            (job_length, "the job")
        } else {
            (run_length, "the run")
        };
        let moment = Duration::from_micros(random.below(limit));
        // This waits for nothing: it is the random moment.
        std::thread::sleep(moment);
        killed.kill();
        killed.wait();
        let what = format!("seed {seed}, round {round}, killed after {moment:?} of {of}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
            assert!(output.status.success(), "{what}: {output:?}");
            // The job may outlive its tracer for a moment.
            if place.trace_names().is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: left {:?}", place.trace_names());
        }
        assert_eq!((place.filed(), pins(&place.traces)), (place.rows(), vec![]), "{what}");
        let began = place.temp.path().join("began").exists();
        let reason = match place.rows().as_slice() {
            [] => {
                assert!(!began, "{what}: the session of a job that ran is lost");
                "never began".to_owned()
            }
            [one] => {
                assert_eq!(one, "s", "{what}");
                let summary = place.summary("s");
                if began && with_kernel {
                    assert_eq!(summary.termination_reason, "EXITED 7", "{what}");
                    assert_eq!((summary.events_lost, summary.processes.leaked.len()), (0, 0), "{what}");
                    assert_eq!((summary.processes.forked, summary.processes.exited), (23, 23), "{what}");
                }
                format!("{} ({:?})", summary.termination_reason, summary.owner_fate)
            }
            many => panic!("{what}: in the log more than once: {many:?}"),
        };
        *outcomes.entry(reason).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
}
