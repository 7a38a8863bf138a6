//! `recover --adopt`: goes on with sessions whose owner died and whose job still runs.
//!
//! Same files, same pins: the trace was replayed, the kernel went on recording, and what it recorded meanwhile is taken
//! in first, so nothing in between is missing. The job is not our child: that its root ended is told by the kernel, or
//! by a pidfd. When we die ourselves the session is as it was, for the next to take over.

use super::clock;
use super::keeper::Keeper;
use super::observer::Observer;
use super::recover::{Adoption, Wanted, probe};
use crate::core::event::Exit;
use crate::core::gates::RootFate;
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, ExitLine};
use crate::core::summary::Summary;
use crate::kernel::KernelTracer;
use crate::procfs_view::ProcRoot;
use crate::store::{LogConfig, SessionLog};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// How often the kernel's rings are emptied when nothing wakes us.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How often blocked writes are looked for.
const WALK_EVERY: Duration = Duration::from_millis(250);
/// How long the session's processes may take to end after the root before they count as leaked.
const SETTLE: Duration = Duration::from_millis(200);

/// One session that goes on.
struct Kept {
    keeper: Keeper,
    root: ProcessId,
    interval: Duration,
    sampled: Instant,
    walked: Instant,
    /// When its root was seen to have ended.
    over: Option<Instant>,
}

/// Traces the sessions to their ends and files each as it ends. Gives the summaries.
///
/// # Errors
/// When the log cannot be opened; the sessions are let go of as they are.
pub fn keep(
    adopted: Vec<Adoption>,
    log: &LogConfig,
    observer: &mut dyn Observer,
) -> anyhow::Result<Vec<Summary>> {
    let log = &SessionLog::open(log)?;
    let mut kept: Vec<Kept> = adopted.into_iter().map(|adoption| begin(adoption, observer)).collect();
    let mut summaries = Vec::new();
    while !kept.is_empty() {
        wait(&kept);
        for session in &mut kept {
            follow(session, observer);
        }
        let (over, go_on) = kept.into_iter().partition::<Vec<_>, _>(is_over);
        kept = go_on;
        summaries.extend(over.into_iter().map(|session| finish(session, log, observer)));
    }
    Ok(summaries)
}

fn begin(adoption: Adoption, observer: &mut dyn Observer) -> Kept {
    let enrollment = adoption.session.enrollment();
    let root = enrollment.root().unwrap_or(ProcessId { tgid: enrollment.pid, start_ticks: 0 });
    let interval = Duration::from_millis(enrollment.interval_ms.max(10));
    let stall_ns =
        adoption.session.state().tracker().header().map_or(1_000, |header| header.thresholds.stall_ms);
    let kernel =
        adoption.pins.and_then(|pins| match KernelTracer::open(&pins, stall_ns.saturating_mul(1_000_000)) {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                observer.notice(&format!("no kernel events for {}: {error}", adoption.session.id()));
                None
            }
        });
    let mut keeper = Keeper::take_over(adoption.session, kernel, root);
    keeper.settle(observer);
    let now = Instant::now();
    Kept { keeper, root, interval, sampled: now, walked: now, over: None }
}

/// Until a ring has much to tell, or it is time to look.
fn wait(kept: &[Kept]) {
    let mut fds: Vec<PollFd<'_>> = kept
        .iter()
        .filter_map(|session| session.keeper.kernel())
        .map(|kernel| PollFd::from_borrowed_fd(kernel.ring_fd(), PollFlags::IN))
        .collect();
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(DRAIN_EVERY.subsec_nanos()) };
    if poll(&mut fds, Some(&limit)).is_err() {
        // Interrupted, or out of memory: then simply wait.
        std::thread::sleep(DRAIN_EVERY);
    }
}

fn follow(session: &mut Kept, observer: &mut dyn Observer) {
    session.keeper.catch_up(observer);
    if session.walked.elapsed() >= WALK_EVERY {
        session.keeper.look_for_stalls(observer);
        session.walked = Instant::now();
        look_at_root(session, observer);
    }
    if session.sampled.elapsed() >= session.interval {
        session.keeper.sample(observer);
        session.sampled = Instant::now();
    }
    if session.over.is_none() && session.keeper.live().state().tracker().root_exit().is_some() {
        session.over = Some(Instant::now());
    }
}

/// Without kernel events nobody tells that the root ended.
fn look_at_root(session: &mut Kept, observer: &mut dyn Observer) {
    if session.over.is_some() || session.keeper.kernel().is_some() {
        return;
    }
    let wanted =
        Wanted { pidfd_ino: session.keeper.live().enrollment().pidfd_ino, ..Wanted::from(session.root) };
    if let RootFate::Ended { status, source, .. } = probe(&ProcRoot::system(), wanted) {
        let exit = Exit {
            process: session.root,
            status,
            parent: None,
            reaper_tgid: None,
            killer: None,
            oom_victim: None,
            cpu_ns: None,
            comm: Vec::new(),
        };
        session.keeper.ended(ExitLine::from_exit(&exit, source), observer);
    }
}

fn is_over(session: &Kept) -> bool {
    let alone = session.keeper.live().state().tracker().alive_count() == 0;
    session.over.is_some_and(|since| alone || since.elapsed() >= SETTLE)
}

fn finish(mut session: Kept, log: &SessionLog, observer: &mut dyn Observer) -> Summary {
    session.keeper.settle(observer);
    let anchor = clock::anchor();
    let end = session.keeper.live().state().tracker().root_exit().map(|(boot_ns, _)| anchor.wall_at(boot_ns));
    match session.keeper.finish_adopted(EndReason::RootEnded, end, log, observer) {
        Ok(finished) => {
            for notice in finished.notices {
                observer.notice(&notice.0);
            }
            finished.summary
        }
        Err(error) => {
            observer
                .notice(&format!("the session was not filed and waits for `tracer-user recover`: {error}"));
            *error.summary
        }
    }
}
