//! The counter of system calls: what the calls of the watched processes returned, nothing of other processes,
//! and nothing left in the kernel afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tracer_user::core::syscalls::{self, Architecture};
use tracer_user::kernel::{CallCount, WindowCounter, WindowCounts};
use tracer_user::procfs_view::{ProcRoot, table};

use crate::support::child::TestChild;
use crate::support::{self, PATIENCE, helper};

const PAUSE: Duration = Duration::from_millis(50);
const THREADS: usize = 8;
const CALLS_EACH: u64 = 20_000;

/// First of a range of numbers without a call.
const UNKNOWN: i64 = 100_000;

/// A counter. `None`: this machine has no kernel events and need not have them.
fn counter(childs: &[&TestChild]) -> Option<WindowCounter> {
    let tgids: Vec<u32> = childs.iter().map(|child| child.process().tgid).collect();
    match WindowCounter::start(&tgids, table::own_namespaces(&ProcRoot::system())) {
        Ok(counter) => Some(counter),
        Err(error) => {
            support::skip(format!("no kernel events: {error}"));
            None
        }
    }
}

fn number(call: &str) -> u64 {
    syscalls::number(Architecture::native().unwrap(), call).unwrap()
}

fn of<'c>(counts: &'c WindowCounts, child: &TestChild, call: &str) -> Option<&'c CallCount> {
    let (tgid, nr) = (child.process().tgid, number(call));
    counts.calls.iter().find(|count| count.tgid == tgid && count.nr == nr)
}

/// Reads until the child has made the call so often.
#[track_caller]
fn until(counter: &WindowCounter, child: &TestChild, call: &str, calls: u64) -> WindowCounts {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = counter.read().unwrap();
        if of(&counts, child, call).is_some_and(|count| count.calls >= calls) {
            return counts;
        }
        assert!(Instant::now() < deadline, "{call} is not counted: {counts:?}");
        // The counts have no event to wait for.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn started(part: &str, words: &[&str]) -> (TestChild, String) {
    let mut child = helper::held(part, words);
    child.go();
    let line = child.line();
    (child, line)
}

#[test]
fn a_lock_that_is_polled_is_counted_with_its_error() {
    let held = tempfile::NamedTempFile::new().unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let (child, _) = started("polls_lock", &[held.path().to_str().unwrap()]);
    let began = Instant::now();
    let Some(counter) = counter(&[&child]) else { return };
    let counts = until(&counter, &child, "flock", 6);
    let polls = of(&counts, &child, "flock").unwrap();
    assert_eq!(polls.errors, [(libc::EWOULDBLOCK, polls.calls)], "{polls:?}");
    assert_eq!((polls.zero, polls.positive, polls.sum_positive), (0, 0, 0), "{polls:?}");
    assert!(polls.calls as u128 <= began.elapsed().as_millis() / PAUSE.as_millis() + 2, "{polls:?}");
    let sleeps = of(&counts, &child, "clock_nanosleep").unwrap();
    assert_eq!((sleeps.zero, sleeps.errors.as_slice()), (sleeps.calls, &[][..]), "{sleeps:?}");
    assert!(sleeps.calls.abs_diff(polls.calls) <= 1, "{counts:?}");
    assert_eq!(counts.overflow, 0);
}

#[test]
fn reads_are_counted_by_thread_with_the_bytes_they_returned() {
    let (nothing, empty) = started("reads_again", &["/dev/null"]);
    let (bytes, zeros) = started("reads_again", &["/dev/zero"]);
    let Some(counter) = counter(&[&nothing, &bytes]) else { return };
    until(&counter, &nothing, "read", 20);
    let counts = until(&counter, &bytes, "read", 20);
    let at_end = of(&counts, &nothing, "read").unwrap();
    assert_eq!((at_end.zero, at_end.positive, at_end.errors.len()), (at_end.calls, 0, 0), "{at_end:?}");
    assert_eq!(at_end.tid.to_string(), empty, "the thread that reads");
    let progress = of(&counts, &bytes, "read").unwrap();
    assert_eq!((progress.zero, progress.positive, progress.errors.len()), (0, progress.calls, 0));
    assert_eq!(progress.sum_positive, 7 * progress.calls);
    assert_eq!(progress.tid.to_string(), zeros);
    assert_ne!(progress.tid, progress.tgid);
}

#[test]
fn a_sleeping_process_is_counted_when_it_wakes_and_an_unwatched_one_never() {
    let (watched, _) = started("reads_again", &["/dev/null"]);
    let (unwatched, _) = started("reads_again", &["/dev/null"]);
    let (mut asleep, _) = started("waits_for_a_line", &[]);
    until_asleep(&asleep);
    let Some(counter) = counter(&[&watched, &asleep]) else { return };
    let counts = until(&counter, &watched, "read", 100);
    let processes: BTreeSet<u32> = counts.calls.iter().map(|count| count.tgid).collect();
    assert_eq!(processes, BTreeSet::from([watched.process().tgid]), "{counts:?}");
    asleep.send_line("wake");
    assert_eq!(asleep.line(), "awake");
    let counts = until(&counter, &asleep, "read", 5);
    let woken = of(&counts, &asleep, "read").unwrap();
    // It reads a line byte by byte. The first of these calls began before the window.
    assert_eq!((woken.positive, woken.sum_positive, woken.calls), (5, 5, 5), "{woken:?}");
    assert!(counts.calls.iter().all(|count| count.tgid != unwatched.process().tgid), "{counts:?}");
}

/// Waits until the child's only thread is asleep in its read.
fn until_asleep(child: &TestChild) {
    let syscall = format!("/proc/{}/syscall", child.process().tgid);
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&syscall).unwrap().starts_with(&format!("{} 0x0 ", number("read"))) {
        assert!(Instant::now() < deadline, "it does not sleep");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel skips a program that already runs on the CPU. More threads than CPUs, which are preempted at
/// any place, would show it.
#[test]
fn no_call_of_many_threads_is_missed() {
    let (mut child, _) = started("many_threads", &[]);
    let Some(counter) = counter(&[&child]) else { return };
    child.send_line("go");
    assert_eq!(child.line(), "done");
    let counts = counter.read().unwrap();
    let calls = counts.calls.iter().filter(|count| count.nr == number("getppid"));
    let calls: Vec<(u64, u64)> = calls.map(|count| (count.calls, count.positive)).collect();
    assert_eq!(calls, [(CALLS_EACH, CALLS_EACH); THREADS]);
}

#[test]
fn what_does_not_fit_is_counted_as_such() {
    let calls = u64::from(tracer_ebpf::limits::CALLS) + 100;
    let (mut child, _) = started("unknown_calls", &[&calls.to_string()]);
    let Some(counter) = counter(&[&child]) else { return };
    child.send_line("go");
    assert_eq!(child.line(), "done");
    let counts = counter.read().unwrap();
    assert_eq!(counts.calls.len(), tracer_ebpf::limits::CALLS as usize);
    let counted = counts.calls.iter().map(|count| count.calls).sum::<u64>();
    // The read that brought the line, and the write that said that it is done, are calls too.
    let all = counted + counts.overflow;
    assert!((calls + 3..calls + 6).contains(&all), "{all} of {calls}, {} did not fit", counts.overflow);
    let unknown = counts.calls.iter().filter(|count| count.nr >= UNKNOWN as u64);
    assert!(unknown.clone().all(|count| count.errors == [(libc::ENOSYS, 1)]));
    assert!(unknown.count() as u64 + counts.overflow >= calls);
}

#[test]
fn four_errors_are_counted_the_most_frequent_first() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, _) = started("five_errors", &[place.path().to_str().unwrap()]);
    let Some(counter) = counter(&[&child]) else { return };
    child.send_line("go");
    assert_eq!(child.line(), "done");
    let counts = counter.read().unwrap();
    let opens = of(&counts, &child, "openat").unwrap();
    assert_eq!((opens.calls, opens.zero, opens.positive), (6, 0, 0), "{opens:?}");
    let errors = [(libc::ENOENT, 2), (libc::EEXIST, 1), (libc::ENOTDIR, 1), (libc::EISDIR, 1)];
    assert_eq!(opens.errors, errors);
}

#[test]
fn nothing_is_left_in_the_kernel_after_the_end_or_the_death_of_the_counting_process() {
    if counter(&[]).is_none() {
        return;
    }
    for killed in [false, true] {
        let (mut child, _) = started("counts_own_calls", &[]);
        let held = held_by(child.process().tgid);
        assert!(!held.0.is_empty() && !held.1.is_empty(), "{held:?}");
        assert_eq!(left_of(&held), held, "what it holds is loaded");
        if killed {
            child.kill();
            child.wait();
        } else {
            child.send_line("end");
            assert_eq!(child.line(), "ended");
        }
        let deadline = Instant::now() + PATIENCE;
        while left_of(&held) != Held::default() {
            // The kernel frees them some time after the last descriptor is closed.
            assert!(Instant::now() < deadline, "left: {:?}", left_of(&held));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ids of programs and maps.
type Held = (BTreeSet<u32>, BTreeSet<u32>);

/// What a process holds by its descriptors.
fn held_by(pid: u32) -> Held {
    let mut held = Held::default();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let id =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
        held.0.extend(id("prog_id:"));
        held.1.extend(id("map_id:"));
    }
    held
}

/// Those that are still loaded.
fn left_of(held: &Held) -> Held {
    let programs = aya::programs::loaded_programs().flatten().map(|program| program.id());
    let maps = aya::maps::loaded_maps().flatten().map(|map| map.id());
    (programs.filter(|id| held.0.contains(id)).collect(), maps.filter(|id| held.1.contains(id)).collect())
}
