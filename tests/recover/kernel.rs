//! Recovery from what the kernel recorded while no tracer ran: the exact end, and a live job that is taken
//! over.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;
use tracer_user::core::summary::{OwnerFate, Summary};

use crate::sessions::*;
use crate::support::PATIENCE;
use crate::support::child::{TestChild, output};
use crate::support::proc::{identify, state};

/// A traced job that executes the lines it reads. It ends with the test.
struct Job {
    tracer: TestChild,
    pid: u32,
}

impl Job {
    fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    fn start_with(place: &Place, options: &[&str]) -> Self {
        let script = "echo $$; while read -r line; do eval \"$line\"; done; exit 9";
        let words = [&["run", "--quiet", "--session-id", "s"], options, &["--", "sh", "-c", script]].concat();
        let mut tracer = TestChild::with_pipes(tracer(place.temp.path(), &words));
        let pid = tracer.line().parse().unwrap();
        tracer.track(pid);
        Self { pid: pid.unsigned_abs(), tracer }
    }

    fn execute(&mut self, line: &str) {
        self.tracer.send_line(line);
    }

    fn kill_tracer(&self) {
        self.tracer.kill();
    }
}

fn recover_until_in_log(place: &Place) -> Summary {
    let deadline = Instant::now() + PATIENCE;
    while place.filed().is_empty() {
        let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
        assert!(output.status.success(), "{output:?}");
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stdout));
    }
    place.summary("s")
}

/// The events of the session in the log.
fn events(place: &Place) -> String {
    std::fs::read_to_string(place.temp.path().join("log/sessions/s/events.jsonl")).unwrap()
}

fn count_pins(place: &Place) -> usize {
    pins(&place.traces).len()
}

#[test]
fn a_job_that_ended_without_a_tracer_is_in_the_log_with_its_status_and_time() {
    if !has_kernel_events() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start(&place);
    job.kill_tracer();
    assert_eq!(count_pins(&place), 1, "the kernel goes on recording");
    let before = anchor().wall;
    job.execute("(exit 3); sh -c 'kill -9 $$'; exit 7");
    let summary = recover_until_in_log(&place);
    assert_eq!((summary.termination_reason.as_str(), summary.exit_code), ("EXITED 7", Some(7)));
    assert_eq!((summary.owner_fate, summary.events_lost), (OwnerFate::Died, 0));
    assert_eq!(
        (summary.processes.forked, summary.processes.exited),
        (3, 3),
        "with those it forked meanwhile"
    );
    let end: jiff::Timestamp = summary.end_ts.unwrap().parse().unwrap();
    assert!(end >= before && end <= anchor().wall, "the kernel's time, not the recovery's");
    let events = events(&place);
    assert!(events.contains("\"signal\":\"SIGKILL\""), "{events}");
    assert_eq!((place.trace_names(), count_pins(&place)), (vec![], 0));
}

/// The hook and its maps belong to the version that began the session, which may differ from the one that
/// recovers it.
#[test]
fn a_session_of_another_version_is_finished_from_its_own_pins() {
    if !has_kernel_events() {
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
    let mark = named(&session, "uses-");
    let version = format!("{:x}", std::process::id());
    // The mark is made first, as a session does: a hook that is in use is not removed.
    std::fs::create_dir(session.join(format!("uses-{version}"))).unwrap();
    let (hook, other_hook) = (all.join(mark.replace("uses-", "hook-")), all.join(format!("hook-{version}")));
    std::fs::create_dir(&other_hook).unwrap();
    for map in tracer_ebpf::names::HOOK_MAPS {
        aya::maps::MapData::from_pin(hook.join(map)).unwrap().pin(other_hook.join(map)).unwrap();
    }
    std::fs::remove_dir(session.join(mark)).unwrap();
    job.execute("exit 7");
    let summary = recover_until_in_log(&place);
    assert_eq!(
        (summary.termination_reason.as_str(), summary.owner_fate, summary.events_lost),
        ("EXITED 7", OwnerFate::Died, 0)
    );
    let events = events(&place);
    assert!(events.contains("\"source\":\"kernel\""), "{events}");
    assert!(!other_hook.exists() && !session.exists(), "what is not in use is removed");
}

#[test]
fn a_job_that_still_runs_is_left_alone_or_taken_over_without_a_gap() {
    if !has_kernel_events() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start(&place);
    job.kill_tracer();
    job.execute("(exit 1)");
    let skipped = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
    assert!(String::from_utf8_lossy(&skipped.stdout).contains("its root still runs"), "{skipped:?}");
    let (names, running) = (place.trace_names(), identify(job.pid));

    let mut adopter =
        TestChild::with_output(tracer(place.temp.path(), &["recover", "--adopt", "--min-age", "0s"]));
    let report = adopter.line();
    assert!(report.contains("taken over"), "{report}");
    assert_eq!(
        (place.trace_names(), count_pins(&place), identify(job.pid)),
        (names, 1, running),
        "same files, same pins"
    );
    job.execute("(exit 2); exit 5");
    assert!(adopter.wait().success());
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.owner_fate), ("EXITED 5", OwnerFate::Adopted));
    let events = events(&place);
    assert_eq!(
        (summary.processes.forked, summary.processes.exited),
        (3, 3),
        "something is missing: {events}"
    );
    assert_eq!((place.trace_names(), count_pins(&place)), (vec![], 0));
}

/// The options of the owner hold for the process that takes over. The job fills a pipe that it reads itself
/// while it has no owner.
#[test]
fn a_hang_is_explained_by_the_process_that_took_the_session_over() {
    if !has_kernel_events() {
        return;
    }
    let place = Place::new();
    let mut job = Job::start_with(&place, &["--hang-after", "1s", "--interval", "200ms"]);
    job.kill_tracer();
    let fifo = place.temp.path().join("fifo");
    job.execute(&format!("mkfifo {0}; exec 5<>{0}; while :; do echo much >&5; done", fifo.display()));
    let mut adopter = tracer(place.temp.path(), &["recover", "--adopt", "--min-age", "0s"]);
    let mut adopter = TestChild::start(adopter.stdout(Stdio::null()).stderr(Stdio::piped()));
    let hang =
        std::iter::from_fn(|| adopter.line_within(PATIENCE)).find(|line| line.contains("/fifo is full"));
    let hang = hang.expect("the hang is reported");
    assert!(hang.contains("the only read end left is held by sh"), "{hang}");
    job.tracer.kill_tracked();
    assert!(adopter.wait().success());
    let summary = place.summary("s");
    assert_eq!(
        (summary.termination_reason.as_str(), summary.owner_fate),
        ("SIGNALED SIGKILL", OwnerFate::Adopted)
    );
    assert!(place.temp.path().join("log/sessions/s/diagnosis.json").exists());
    assert_eq!((place.trace_names(), count_pins(&place)), (vec![], 0));
}

/// Pins name the trace directory they were made for. Any recovery removes them once that is gone, and never
/// while their owner lives or a sidecar may name them.
#[test]
fn pins_whose_trace_directory_is_gone_are_collected_and_no_others() {
    if !has_kernel_events() {
        return;
    }
    let (place, elsewhere) = (Place::new(), Place::new());
    let prefix = place.traces.pin_prefix().unwrap();
    let recover = || {
        let output = output(&mut tracer(elsewhere.temp.path(), &["recover", "--min-age", "0s"]));
        assert!(output.status.success(), "{output:?}");
    };
    let job = Job::start(&place);
    let (traces, aside) = (place.traces.path().to_owned(), place.temp.path().join("aside"));
    std::fs::rename(&traces, &aside).unwrap();
    recover();
    assert_eq!(pins_of(&prefix).len(), 1, "its owner lives");
    std::fs::rename(&aside, &traces).unwrap();
    job.kill_tracer();
    recover();
    assert_eq!(pins_of(&prefix).len(), 1, "its sidecar is in the directory they name");
    std::fs::rename(&traces, &aside).unwrap();
    std::fs::create_dir(&traces).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // A recovery leaves the pins alone while another one, of a test beside this one, is at work.
    while !pins_of(&prefix).is_empty() {
        assert!(Instant::now() < deadline, "another directory has that name now");
        recover();
    }
}

/// A stopped tracer lives: it holds its lock.
#[test]
fn a_hung_owner_keeps_its_session() {
    let place = Place::new();
    let mut job = Job::start(&place);
    job.tracer.signal(Signal::STOP);
    job.execute("exit 0");
    let deadline = Instant::now() + PATIENCE;
    while state(job.pid).is_some_and(|state| state != "Z") {
        assert!(Instant::now() < deadline, "the job still runs");
        std::thread::yield_now();
    }
    let output = output(&mut tracer(place.temp.path(), &["recover", "--min-age", "0s"]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("its owner lives"), "{output:?}");
    job.tracer.signal(Signal::CONT);
    assert!(job.tracer.wait().success());
    assert_eq!((place.rows(), place.trace_names()), (vec!["s".to_owned()], vec![]));
    assert_eq!(place.summary("s").owner_fate, OwnerFate::Finished);
}
