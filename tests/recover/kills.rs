//! A tracer that is killed at any moment of a real run, and one recovery: one whole session, and nothing left over.

use crate::sessions::{self, Place, anchor, output};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs that are killed, unless `TRACER_TEST_KILLS` says another number.
const KILLS: u64 = 16;

/// Forks at once and one after the other, so that every kind of line is being written when the end comes.
const JOB: &str = "i=0; while [ $i -lt 20 ]; do sh -c 'exit 3' & i=$((i+1)); done; wait; (exit 1); exit 7";

fn tracer(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(words.iter().take(1));
    command.arg("--trace-dir").arg(place.join("traces")).arg("--log-dir").arg(place.join("log"));
    command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::null());
    command.env_remove("TRACER_FAULT_KILL");
    command
}

/// The job says that it runs by a file: from then on its session may not be lost.
fn start(place: &Path) -> Child {
    let job = format!("touch {}; {JOB}", place.join("began").display());
    let words = ["run", "--quiet", "--interval", "20ms", "--session-id", "s", "--", "sh", "-c", &job];
    sessions::start(&mut tracer(place, &words)).unwrap()
}

fn wait_for_job(place: &Place, tracer: &mut Child) {
    while !place.temp.path().join("began").exists() {
        assert!(tracer.try_wait().unwrap().is_none(), "it ended before its job began");
        std::thread::yield_now();
    }
}

fn pins(place: &Place) -> Vec<String> {
    let prefix = place.traces.pin_prefix().unwrap();
    let entries = std::fs::read_dir("/sys/fs/bpf/tracer-user").map(|all| all.flatten().collect::<Vec<_>>());
    let names =
        entries.unwrap_or_default().into_iter().map(|it| it.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Numbers that look random and are the same for the same seed (splitmix64).
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
    // How long a run takes here that nobody kills, and its job: the moments are spread over all of it.
    let whole = Place::new();
    let began = Instant::now();
    let mut unharmed = start(whole.temp.path());
    wait_for_job(&whole, &mut unharmed);
    let job_began = Instant::now();
    assert_eq!(unharmed.wait().unwrap().code(), Some(7));
    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap();
    let (run_length, job_length) = (micros(began), micros(job_began));
    let with_kernel = whole.summary("s").kernel_events == Some(true);
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..number("TRACER_TEST_KILLS").unwrap_or(KILLS) {
        let place = Place::new();
        let mut tracer_of_job = start(place.temp.path());
        // Every other one once the job runs: most of so short a run is its beginning.
        let (limit, of) = if round % 2 == 1 {
            wait_for_job(&place, &mut tracer_of_job);
            (job_length, "the job")
        } else {
            (run_length, "the run")
        };
        let moment = Duration::from_micros(random.below(limit));
        // Not waiting for anything: this is the random moment.
        std::thread::sleep(moment);
        tracer_of_job.kill().unwrap();
        tracer_of_job.wait().unwrap();
        let what = format!("seed {seed}, round {round}, killed after {moment:?} of {of}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
            assert!(output.status.success(), "{what}: {output:?}");
            // The job outlives its tracer for a moment.
            if place.trace_names().is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: left {:?}", place.trace_names());
        }
        assert_eq!((place.filed(), pins(&place)), (place.rows(), vec![]), "{what}");
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
            many => panic!("{what}: filed more than once: {many:?}"),
        };
        *outcomes.entry(reason).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
}
