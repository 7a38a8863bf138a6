//! Recovery from what the real kernel recorded while no tracer ran: the exact end, a live job taken over, a number
//! that was given out again.

use crate::sessions::*;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tracer_user::core::summary::{OwnerFate, Summary};
use tracer_user::kernel::{KernelTracer, Settings};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the kernel side can be loaded. With `TRACER_REQUIRE_BPF=1` it has to be.
fn kernel_side() -> bool {
    let place = Place::new();
    let settings = Settings {
        session: place.traces.new_pin_name().unwrap(),
        stall_threshold_ns: 1_000_000_000,
        kernel_log: false,
        traces: None,
    };
    match KernelTracer::start(&settings) {
        Ok(tracer) => {
            tracer.finish().unwrap();
            true
        }
        Err(error) => {
            assert!(std::env::var("TRACER_REQUIRE_BPF").as_deref() != Ok("1"), "{error}");
            eprintln!("skipped: no kernel events: {error}");
            false
        }
    }
}

fn tracer(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.args(words.iter().take(1));
    command.arg("--trace-dir").arg(place.join("traces")).arg("--log-dir").arg(place.join("log"));
    command.args(words.iter().skip(1)).env_remove("TRACER_FAULT_KILL");
    command
}

/// A traced job that reads lines: `pid` comes out first, then it does what it is told.
struct Job {
    tracer: Child,
    input: std::process::ChildStdin,
    pid: u32,
}

impl Job {
    fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    fn start_with(place: &Place, options: &[&str]) -> Self {
        let script = "echo $$; while read -r line; do eval \"$line\"; done; exit 9";
        let words = [&["run", "--quiet", "--session-id", "s"], options, &["--", "sh", "-c", script]].concat();
        let mut command = tracer(place.temp.path(), &words);
        let mut tracer = start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
        let mut said = String::new();
        BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let input = tracer.stdin.take().unwrap();
        Self { pid: said.trim().parse().unwrap(), input, tracer }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn kill_tracer(&mut self) {
        self.tracer.kill().unwrap();
        self.tracer.wait().unwrap();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The job ends when its input does.
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}

/// A program that is ended with its test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn recover_until_filed(place: &Place) -> Summary {
    let deadline = Instant::now() + PATIENCE;
    while place.filed().is_empty() {
        let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
        assert!(output.status.success(), "{output:?}");
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stdout));
    }
    place.summary("s")
}

/// All that was told of the session.
fn events(place: &Place) -> String {
    std::fs::read_to_string(place.temp.path().join("log/sessions/s/events.jsonl")).unwrap()
}

fn pins(place: &Place) -> usize {
    pins_of(&place.traces.pin_prefix().unwrap())
}

fn pins_of(prefix: &str) -> usize {
    let entries = std::fs::read_dir("/sys/fs/bpf/tracer-user")
        .map(|e| e.flatten().collect::<Vec<_>>())
        .unwrap_or_default();
    entries.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn a_job_that_ended_while_nobody_traced_is_filed_with_its_status_and_time() {
    if !kernel_side() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start(&place);
    job.kill_tracer();
    assert_eq!(pins(&place), 1, "the kernel goes on recording");
    let before = anchor().wall;
    job.tell("(exit 3); sh -c 'kill -9 $$'; exit 7");
    let summary = recover_until_filed(&place);
    assert_eq!((summary.termination_reason.as_str(), summary.exit_code), ("EXITED 7", Some(7)));
    assert_eq!((summary.owner_fate, summary.events_lost), (OwnerFate::Died, 0));
    assert_eq!((summary.processes.forked, summary.processes.exited), (3, 3), "those it forked meanwhile too");
    let end: jiff::Timestamp = summary.end_ts.unwrap().parse().unwrap();
    assert!(end >= before && end <= anchor().wall, "the kernel's time, not the recovery's");
    let events = events(&place);
    assert!(events.contains("\"signal\":\"SIGKILL\""), "{events}");
    assert_eq!((place.trace_names(), pins(&place)), (vec![], 0));
}

/// The hook and its maps are those of the version that began the session, which may be another than ours.
#[test]
fn a_session_of_another_version_is_finished_from_its_own_pins() {
    if !kernel_side() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start(&place);
    job.kill_tracer();
    let prefix = place.traces.pin_prefix().unwrap();
    let all = Path::new("/sys/fs/bpf/tracer-user");
    let named = |place: &Path, prefix: &str| {
        let names =
            std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.starts_with(prefix)).unwrap()
    };
    let session = all.join(named(all, &prefix));
    let ours = named(&session, "uses-");
    let version = format!("{:x}", std::process::id());
    // The mark first, as a session makes it: nobody removes a hook that is used.
    std::fs::create_dir(session.join(format!("uses-{version}"))).unwrap();
    let (hook, theirs) = (all.join(ours.replace("uses-", "hook-")), all.join(format!("hook-{version}")));
    std::fs::create_dir(&theirs).unwrap();
    for map in tracer_ebpf::names::HOOK_MAPS {
        aya::maps::MapData::from_pin(hook.join(map)).unwrap().pin(theirs.join(map)).unwrap();
    }
    std::fs::remove_dir(session.join(ours)).unwrap();
    job.tell("exit 7");
    let summary = recover_until_filed(&place);
    assert_eq!(
        (summary.termination_reason.as_str(), summary.owner_fate, summary.events_lost),
        ("EXITED 7", OwnerFate::Died, 0)
    );
    let events = events(&place);
    assert!(events.contains("\"source\":\"kernel\""), "{events}");
    assert!(!theirs.exists() && !session.exists(), "what nobody uses goes");
}

#[test]
fn a_job_that_still_runs_is_left_alone_or_taken_over_without_a_gap() {
    if !kernel_side() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start(&place);
    job.kill_tracer();
    job.tell("(exit 1)");
    let skipped = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
    assert!(String::from_utf8_lossy(&skipped.stdout).contains("its root still runs"), "{skipped:?}");
    let (names, running) = (place.trace_names(), identify(job.pid));

    let mut adopter = tracer(place.temp.path(), &["recover", "--adopt", "--min-age", "0s"]);
    let adopter = start(adopter.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut adopter = Ended(adopter.unwrap());
    let mut said = String::new();
    BufReader::new(adopter.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("taken over"), "{said}");
    assert_eq!(
        (place.trace_names(), pins(&place), identify(job.pid)),
        (names, 1, running),
        "same files, same pins"
    );
    job.tell("(exit 2); exit 5");
    assert!(adopter.0.wait().unwrap().success());
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.owner_fate), ("EXITED 5", OwnerFate::Adopted));
    let events = events(&place);
    assert_eq!(
        (summary.processes.forked, summary.processes.exited),
        (3, 3),
        "something is missing: {events}"
    );
    assert_eq!((place.trace_names(), pins(&place)), (vec![], 0));
}

/// What its owner had been told of hangs holds for who takes over: the job fills a pipe that it reads itself, with no
/// owner there to see it.
#[test]
fn a_hang_is_explained_by_whoever_took_the_session_over() {
    if !kernel_side() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start_with(&place, &["--hang-after", "1s", "--interval", "200ms"]);
    job.kill_tracer();
    let fifo = place.temp.path().join("fifo");
    job.tell(&format!("mkfifo {0}; exec 5<>{0}; while :; do echo much >&5; done", fifo.display()));
    let mut adopter = tracer(place.temp.path(), &["recover", "--adopt", "--min-age", "0s"]);
    let adopter = start(adopter.stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut adopter = Ended(adopter.unwrap());
    let (teller, told) = std::sync::mpsc::channel();
    let said = BufReader::new(adopter.0.stderr.take().unwrap());
    // Reads on to the end, so that the adopter never waits for us.
    std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(|line| drop(teller.send(line))));
    let deadline = Instant::now() + PATIENCE;
    let next = || told.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let hang = std::iter::from_fn(|| next().ok()).find(|line| line.contains("/fifo is full"));
    let hang = hang.expect("the hang is told");
    assert!(hang.contains("the only read end left is held by sh"), "{hang}");
    // It is blocked for good, so the number is its.
    let job = rustix::process::Pid::from_raw(i32::try_from(job.pid).unwrap()).unwrap();
    rustix::process::kill_process(job, rustix::process::Signal::KILL).unwrap();
    assert!(adopter.0.wait().unwrap().success());
    let summary = place.summary("s");
    assert_eq!(
        (summary.termination_reason.as_str(), summary.owner_fate),
        ("SIGNALED SIGKILL", OwnerFate::Adopted)
    );
    assert!(place.temp.path().join("log/sessions/s/diagnosis.json").exists());
    assert_eq!((place.trace_names(), pins(&place)), (vec![], 0));
}

/// Pins name the trace directory they were made for: any recovery removes them once that is gone, and never while their
/// owner lives or a sidecar may name them.
#[test]
fn pins_whose_trace_directory_is_gone_are_collected_and_no_others() {
    if !kernel_side() {
        return;
    }
    let (place, elsewhere) = (Place::new(), Place::new());
    let prefix = place.traces.pin_prefix().unwrap();
    let recover = || {
        let output = output(&mut tracer(elsewhere.temp.path(), &["recover", "--min-age", "0s"]));
        assert!(output.status.success(), "{output:?}");
    };
    let mut job = Job::start(&place);
    let (traces, aside) = (place.traces.path().to_owned(), place.temp.path().join("aside"));
    std::fs::rename(&traces, &aside).unwrap();
    recover();
    assert_eq!(pins_of(&prefix), 1, "its owner lives");
    std::fs::rename(&aside, &traces).unwrap();
    job.kill_tracer();
    recover();
    assert_eq!(pins_of(&prefix), 1, "its sidecar is where they say");
    std::fs::rename(&traces, &aside).unwrap();
    std::fs::create_dir(&traces).unwrap();
    let began = Instant::now();
    // A recovery that finds another one at it, as of a test beside this one, leaves it to that.
    while pins_of(&prefix) != 0 {
        assert!(began.elapsed() < PATIENCE, "what is there now is another directory");
        recover();
    }
}

/// A tracer that is stopped lives: its lock says so, whatever else it does not do.
#[test]
fn a_hung_owner_keeps_its_session() {
    let place = Place::new();
    let mut job = Job::start(&place);
    let owner = rustix::process::Pid::from_child(&job.tracer);
    rustix::process::kill_process(owner, rustix::process::Signal::STOP).unwrap();
    job.tell("exit 0");
    let ended = Instant::now();
    while std::fs::read_to_string(format!("/proc/{}/stat", job.pid)).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(ended.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("its owner lives"), "{output:?}");
    rustix::process::kill_process(owner, rustix::process::Signal::CONT).unwrap();
    assert!(job.tracer.wait().unwrap().success());
    assert_eq!((place.rows(), place.trace_names()), (vec!["s".to_owned()], vec![]));
    assert_eq!(place.summary("s").owner_fate, OwnerFate::Finished);
}
