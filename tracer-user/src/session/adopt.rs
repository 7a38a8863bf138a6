//! `recover --adopt`: goes on with sessions whose owner died and whose job still runs.
//!
//! Same files, same pins: the trace was replayed, the kernel went on recording, and what it recorded meanwhile is taken
//! in first, so nothing in between is missing. From then on it is [followed](super::follow) as any other session is,
//! with the times its owner had been given. The job is not our child and not ours to end: a hang is explained, and
//! relieved where its owner would have done that. When we die ourselves the session is as it was, for the next to take
//! over.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::clock;
use super::driver::{DriverEvent, SessionDriver, Why};
use super::observer::{Observer, Status};
use super::options::{OnHang, Watch};
use super::recorder::SessionRecorder;
use super::recover::Adoption;
use crate::core::diagnosis::Diagnosis;
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, Line, Thresholds};
use crate::core::summary::Summary;
use crate::kernel::KernelTracer;
use crate::store::{LiveSession, LogConfig, SessionLog};

/// Traces the sessions to their ends, all at once, and files each as it ends. Gives the summaries.
///
/// # Errors
/// When the log cannot be opened; the sessions are let go of as they are.
pub fn keep(
    adopted: Vec<Adoption>,
    log: &LogConfig,
    observer: &mut dyn Observer,
) -> anyhow::Result<Vec<Summary>> {
    let log = &SessionLog::open(log)?;
    let observer = &RefCell::new(observer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.context("cannot start")?.block_on(async {
        let sessions: FuturesUnordered<_> =
            adopted.into_iter().map(|adoption| follow(adoption, log, Shared(observer))).collect();
        sessions.collect::<Vec<_>>().await
    });
    Ok(kept.into_iter().flatten().collect())
}

/// One session, to its end. `None`: it cannot be followed, which was said, and waits for the next recovery.
async fn follow(adoption: Adoption, log: &SessionLog, mut observer: Shared<'_, '_>) -> Option<Summary> {
    let observer = &mut observer;
    let enrollment = adoption.session.enrollment();
    let root = enrollment.root().unwrap_or(ProcessId { tgid: enrollment.pid, start_ticks: 0 });
    let id = adoption.session.id().to_string();
    let watch = watch_of(&adoption.session);
    let stall_ns = u64::try_from(watch.stall_threshold.as_nanos()).unwrap_or(u64::MAX);
    let kernel = adoption.pins.and_then(|pins| {
        KernelTracer::open(&pins, stall_ns)
            .inspect_err(|error| observer.notice(&format!("no kernel events for {id}: {error}")))
            .ok()
    });
    let mut recorder = SessionRecorder::take_over(adoption.session, kernel, root);
    recorder.settle(observer);
    let mut driver = match SessionDriver::new(recorder, &watch, None) {
        Ok(driver) => driver,
        Err(error) => {
            observer.notice(&format!("{id} cannot be followed: {error:#}"));
            return None;
        }
    };
    driver.watch_root(observer);
    while driver.recorder.live().state().tracker().root_exit().is_none() {
        if let DriverEvent::Looked(_, Some(diagnosis)) = driver.step(observer).await
            && diagnosis.verdict.is_hang()
            && watch.on_hang == OnHang::Relieve
        {
            driver.relieve(&diagnosis, observer);
        }
    }
    driver.settle(&[], observer).await;
    Some(finish(driver.recorder, log, observer))
}

/// The session is watched as its header says that it was.
fn watch_of(session: &LiveSession) -> Watch {
    let header = session.state().tracker().header();
    let times = header.map_or_else(Thresholds::default, |header| header.thresholds);
    let relieve = header.is_some_and(|header| header.config.get("on_hang").is_some_and(|it| it == "relieve"));
    Watch {
        interval: Duration::from_millis(session.enrollment().interval_ms.max(10)),
        stall_threshold: Duration::from_millis(times.stall_ms),
        hang_after: Duration::from_millis(times.no_progress_ms),
        on_hang: if relieve { OnHang::Relieve } else { OnHang::Report },
        // The trace was given its own when it was taken over.
        trace_max_bytes: u64::MAX,
        max_sessions: 0,
        no_kernel: false,
        grace: Duration::ZERO,
        quiet: true,
        verbosity: 0,
    }
}

fn finish(recorder: SessionRecorder, log: &SessionLog, observer: &mut dyn Observer) -> Summary {
    let anchor = clock::anchor();
    let end = recorder.live().state().tracker().root_exit().map(|(boot_ns, _)| anchor.wall_at(boot_ns));
    match recorder.finish_adopted(EndReason::RootEnded, end, log, observer) {
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

/// One observer for sessions that are followed by turns on one thread. Nobody waits while it is borrowed.
struct Shared<'a, 'o>(&'a RefCell<&'o mut dyn Observer>);

impl Observer for Shared<'_, '_> {
    fn lines(&mut self, lines: &[Line]) {
        self.0.borrow_mut().lines(lines);
    }

    fn notice(&mut self, text: &str) {
        self.0.borrow_mut().notice(text);
    }

    fn debug(&mut self, line: &str) {
        self.0.borrow_mut().debug(line);
    }

    fn diagnosed(&mut self, diagnosis: &Diagnosis, why: Why) {
        self.0.borrow_mut().diagnosed(diagnosis, why);
    }

    fn status(&mut self, status: &Status) {
        self.0.borrow_mut().status(status);
    }
}
