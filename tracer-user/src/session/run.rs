//! `run`: a job, traced from before its first instruction to after its last.
//!
//! The order is what keeps it whole: the job is forked and held; the kernel side is loaded and the job put into
//! it; the session is enrolled on disk; only then the job may exec. At the end the kernel's records are taken
//! in while the job is still a zombie, so that its number cannot name anybody else, and then it is reaped.
//!
//! No trouble of ours is the job's: without a place for the trace it is kept in memory, without kernel events
//! `/proc` is polled, and both are said.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{MissedTickBehavior, interval};

use super::enrol::{self, Begun};
use super::job::{self, ExecFailure, HeldJob, Job, JobEvent, JobSpec, Patience};
use super::keeper::{self, Keeper, LeakedProcess};
use super::observer::Observer;
use super::options::RunOptions;
use crate::core::identity::WaitStatus;
use crate::core::record::EndReason;
use crate::core::summary::Summary;
use crate::procfs_view::kin::{self, FileId};
use crate::signals::receive::{Blocked, Signals};

/// How often the kernel's ring is emptied when nothing wakes us; less waits there than it holds in that time.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How often blocked writes are looked for, at most.
const WALK_EVERY: Duration = Duration::from_millis(250);
/// How often the status line is told anew.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// How long the job's processes may take to end after it before they count as leaked.
const SETTLE: Duration = Duration::from_millis(200);

/// What became of it.
#[derive(Debug)]
pub struct RunEnd {
    /// The job.
    pub job: JobOutcome,
    /// What is left alive.
    pub leaked: Vec<LeakedProcess>,
    /// The session's summary.
    pub summary: Summary,
    /// Where the session was filed; `None` when it could not be.
    pub filed: Option<std::path::PathBuf>,
}

/// How the job ended, for the exit status.
#[derive(Debug)]
pub enum JobOutcome {
    /// By itself or by a signal.
    Ended(WaitStatus),
    /// It never ran.
    NotExecuted(ExecFailure),
    /// We were asked twice to end, by this signal, and left it alone.
    LeftAlone(i32),
}

/// Runs a job. Call it on the main thread, before any other thread is started: signals are blocked in it.
///
/// # Errors
/// When the job could not be started at all.
pub fn run(options: &RunOptions, observer: &mut dyn Observer) -> anyhow::Result<RunEnd> {
    let blocked = Blocked::take().context("cannot take signals")?;
    let original = blocked.original();
    let output: Vec<FileId> =
        [kin::file_id(io::stdout()), kin::file_id(io::stderr())].into_iter().flatten().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(async {
        let mut signals = blocked.listen()?;
        let spec = JobSpec {
            argv: options.command.clone(),
            keep_stdout: false,
            adopt_orphans: options.watch.no_kernel,
        };
        let held = job::hold(&spec, &original)?;
        traced(options, held, &output, &mut signals, observer).await
    })
}

async fn traced(
    options: &RunOptions,
    held: HeldJob,
    output: &[FileId],
    signals: &mut Signals,
    observer: &mut dyn Observer,
) -> anyhow::Result<RunEnd> {
    let Begun { mut keeper, log } = enrol::begin(options, held.pid(), observer)?;
    let mut job = held.release()?;
    let mut ends = watch(options, &mut keeper, &mut job, signals, observer).await?;
    if let JobOutcome::LeftAlone(signal) = ends.outcome {
        let summary = keeper.live().summary(&enrol::ending());
        keeper.abandon();
        return Ok(RunEnd { job: JobOutcome::LeftAlone(signal), leaked: Vec::new(), summary, filed: None });
    }
    let root = keeper.root();
    keeper.settle(observer);
    if let JobOutcome::Ended(status) = ends.outcome {
        keeper.ended(keeper::reaped(root, status), observer);
    }
    job.reap().context("cannot reap the job")?;
    let leaked = leaked_after(&mut keeper, output, observer).await;
    let path = log.path().to_owned();
    let (summary, filed) = match keeper.finish(ends.reason, &log, observer) {
        Ok(finished) => {
            for notice in finished.notices {
                observer.notice(&notice.0);
            }
            let filed = path.join("sessions").join(&finished.filed.dir_name);
            (finished.summary, Some(filed))
        }
        Err(error) => {
            observer
                .notice(&format!("the session was not filed and waits for `tracer-user recover`: {error}"));
            (*error.summary, None)
        }
    };
    Ok(RunEnd { job: std::mem::replace(&mut ends.outcome, JobOutcome::LeftAlone(0)), leaked, summary, filed })
}

struct Ends {
    outcome: JobOutcome,
    reason: EndReason,
}

/// Follows the job to its end.
async fn watch(
    options: &RunOptions,
    keeper: &mut Keeper,
    job: &mut Job,
    signals: &mut Signals,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ends> {
    let walk_every = (options.watch.stall_threshold / 4).clamp(Duration::from_millis(10), WALK_EVERY);
    let mut drain = ticker(DRAIN_EVERY);
    let mut walk = ticker(walk_every);
    let mut sample = ticker(options.watch.interval);
    let mut status = ticker(STATUS_EVERY);
    let ring = keeper.ring().context("cannot watch the kernel's ring")?;
    let mut patience = Patience::default();
    let mut reason = EndReason::RootEnded;
    loop {
        tokio::select! {
            biased;
            event = job.next(signals) => match event.context("cannot follow the job")? {
                JobEvent::Signal(received) => {
                    job.pass_on(&received).context("cannot pass a signal on to the job")?;
                    if received.asks_to_end() {
                        reason = EndReason::Interrupted;
                    }
                    if patience.ends_with(&received, Instant::now()) {
                        return Ok(Ends { outcome: JobOutcome::LeftAlone(received.signal), reason });
                    }
                }
                JobEvent::ExecFailed(failure) => {
                    return Ok(Ends { outcome: JobOutcome::NotExecuted(failure), reason });
                }
                JobEvent::Ended(status) => return Ok(Ends { outcome: JobOutcome::Ended(status), reason }),
                JobEvent::Stopped(signal) => {
                    keeper.note("stopped", format!("the job was stopped by signal {signal}"), observer);
                }
                JobEvent::Continued => keeper.note("continued", "the job goes on".to_owned(), observer),
                JobEvent::Suspended(length) => {
                    let text = format!("job and tracer were stopped together for {length:.1?}");
                    keeper.note("suspended", text, observer);
                }
                JobEvent::Executed => {}
            },
            () = ready(ring.as_ref()) => keeper.catch_up(observer),
            _ = drain.tick() => keeper.catch_up(observer),
            _ = walk.tick() => {
                // First who is new, so that a new process's write is not a stranger's.
                keeper.catch_up(observer);
                keeper.look_for_stalls(observer);
            }
            _ = sample.tick() => keeper.sample(observer),
            _ = status.tick() => observer.status(&keeper.status()),
        }
    }
}

/// What is still alive when what was about to end has ended.
async fn leaked_after(
    keeper: &mut Keeper,
    output: &[FileId],
    observer: &mut dyn Observer,
) -> Vec<LeakedProcess> {
    let deadline = Instant::now() + SETTLE;
    loop {
        keeper.settle(observer);
        let leaked = keeper.leaked(output);
        if leaked.is_empty() || Instant::now() >= deadline {
            return leaked;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn ticker(every: Duration) -> tokio::time::Interval {
    let mut ticker = interval(every);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Ready when the kernel's ring has much to tell; never without one.
async fn ready(ring: Option<&AsyncFd<std::os::fd::OwnedFd>>) {
    match ring {
        // An error would come again at once; the timer empties the ring all the same.
        Some(ring) => match ring.ready(Interest::READABLE).await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
