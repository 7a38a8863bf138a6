//! Time-outs that end soon: where a hang depends on what a thread does at its time-out, a longer look
//! decides.
//!
//! A thread that is asleep with four seconds left may be about to act, or may sleep again as it has done
//! before. One short look cannot distinguish the two. So the question is: would this be a hang if these
//! threads only ticked?

use super::diagnose;
use crate::core::evidence::{CallCount, Evidence, Progress, Thread, Timeout, Wait};
use crate::core::waitgraph::{SOON_NS, is_timed};

/// For how long a look would have to last to see what the threads do whose time-outs decide, nanoseconds.
/// `None`: nothing depends on a time-out that ends soon.
pub fn decided_after(evidence: &Evidence) -> Option<u64> {
    if evidence.clock.quiet_window_ns == 0 || diagnose(evidence).verdict.is_hang() {
        return None;
    }
    let mut ticking = evidence.clone();
    let mut any = false;
    for thread in ticking.processes.iter_mut().flat_map(|process| &mut process.threads) {
        if left_ns(thread).is_some() {
            any = true;
            tick(thread);
        }
    }
    let hang = if any { diagnose(&ticking) } else { return None };
    if !hang.verdict.is_hang() {
        return None;
    }
    let parties: Vec<u32> = hang
        .findings
        .iter()
        .filter(|finding| finding.verdict.is_hang())
        .flat_map(|finding| &finding.processes)
        .map(|party| party.pid)
        .collect();
    let of_parties = evidence.processes.iter().filter(|process| parties.contains(&process.id.tgid));
    of_parties.flat_map(|process| &process.threads).filter_map(left_ns).max()
}

/// The time left of a time-out that ends soon, of a thread that did not move.
fn left_ns(thread: &Thread) -> Option<u64> {
    let timeout = match &thread.wait {
        Wait::Read { timeout, .. }
        | Wait::Poll { timeout, .. }
        | Wait::Epoll { timeout, .. }
        | Wait::Futex { timeout, .. }
        | Wait::Sleep { timeout }
        | Wait::Semaphore { timeout, .. }
        | Wait::SignalWait { timeout, .. } => timeout,
        _ => return None,
    };
    match timeout {
        Timeout::After(Some(ns)) if *ns <= SOON_NS && thread.moved == Some(false) => Some(*ns),
        _ => None,
    }
}

/// As if the thread had woken by its time-out and gone back to its wait.
fn tick(thread: &mut Thread) {
    debug_assert!(is_timed(&thread.wait));
    thread.moved = Some(true);
    thread.progress = Some(Progress { switches: 1, sleeps: Some(1), same_call: true, ..Progress::default() });
    let name = if matches!(thread.wait, Wait::Sleep { .. }) { "clock_nanosleep" } else { "futex" };
    thread.calls =
        Some(vec![CallCount { name: Some(name.to_owned()), calls: 1, zero: 1, ..CallCount::default() }]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::Verdict;
    use crate::core::diagnosis::testkit::*;

    #[test]
    fn a_hang_that_hinges_on_a_short_time_out_asks_for_a_longer_look() {
        let mut machine = Machine::new();
        machine.wait(ROOT, private_futex(None));
        machine.thread(ROOT, 101, private_futex(None));
        assert!(machine.say().verdict.is_hang());
        assert_eq!(decided_after(&machine.0), None, "it is one already");
        // A monitor that wakes every four seconds.
        let mut monitor = private_futex(None);
        if let Wait::Futex { timeout, .. } = &mut monitor {
            *timeout = Timeout::After(Some(4_000_000_000));
        }
        machine.thread(ROOT, 102, monitor);
        assert_eq!(machine.say().verdict, Verdict::Idle);
        assert_eq!(decided_after(&machine.0), Some(4_000_000_000));
        tick(&mut machine.get(ROOT).threads[2]);
        assert!(machine.say().verdict.is_hang());
    }

    #[test]
    fn a_job_at_rest_needs_no_longer_look() {
        let mut machine = Machine::new();
        machine.wait(ROOT, Wait::Sleep { timeout: Timeout::After(Some(4_000_000_000)) });
        assert_eq!(decided_after(&machine.0), None);
    }
}
