//! `run`: a job, traced from before its first instruction to after its last.
//!
//! The order is what keeps it whole: the job is forked and held; the kernel side is loaded and the job put into
//! it; the session is enrolled on disk; only then the job may exec. At the end the kernel's records are taken
//! in while the job is still a zombie, so that its number cannot name anybody else, and then it is reaped.
//!
//! No trouble of ours is the job's: without a place for the trace it is kept in memory, without kernel events
//! `/proc` is polled, and both are said.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;

use super::clock;
use super::driver::{DriverEvent, SessionDriver, Why};
use super::job::{self, ExecFailure, HeldJob, Job, JobEvent, JobSpec, Patience};
use super::observer::Observer;
use super::options::{Layout, OnHang, RunOptions};
use super::port_conflict;
use super::start::{self, Session, StartedSession};
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::escalation::Termination;
use crate::core::evidence::{Clock, Evidence, Scope};
use crate::core::identity::WaitStatus;
use crate::core::record::{EndReason, Origin};
use crate::core::summary::{LeakedProcess, Summary};
use crate::procfs_view::FileId;
use crate::signals::receive::{Blocked, Received, Signals};

/// Between the signals of one `kill` of a process group that we and the job are in: microseconds, if nobody is kept from
/// its CPU.
const SAME_KILL_NS: u64 = 200_000_000;

/// Where AutoSkillit's readers look for its files.
const AUTOSKILLIT_DIR: &str = "/dev/shm";

/// What became of it.
#[derive(Debug)]
pub struct RunEnd {
    /// The job.
    pub job: JobOutcome,
    /// The tracer ended it, for this reason.
    pub ended_by_us: Option<EndReason>,
    /// What was left alive.
    pub leaked: Vec<LeakedProcess>,
    /// What ending the leaked processes came to, where that was asked for.
    pub reaped: Vec<Termination>,
    /// The session's summary.
    pub summary: Summary,
    /// Where the session was filed; `None` when it could not be.
    pub filed: Option<PathBuf>,
    /// The last diagnosis; `None` when there was no reason to make one.
    pub diagnosis: Option<Box<Diagnosis>>,
}

/// A diagnosis for a run in which there was nothing to diagnose.
pub fn nothing_hung(summary: &Summary) -> Diagnosis {
    let anchor = clock::anchor();
    diagnosis::diagnose(&Evidence {
        clock: Clock {
            taken_at_unix_ns: i64::try_from(anchor.wall.as_nanosecond()).unwrap_or_default(),
            boot_ns: anchor.boot_ns,
            quiet_window_ns: 0,
        },
        scope: Scope::Session(summary.session_id.clone()),
        kernel_events: summary.kernel_events == Some(true),
        ..Evidence::default()
    })
}

/// How the job ended, for the exit status.
#[derive(Debug)]
pub enum JobOutcome {
    /// By itself or by a signal.
    Ended(WaitStatus),
    /// It never ran.
    NotExecuted(ExecFailure),
    /// We left it alone, asked twice to end by this signal, or because it survived the ladder.
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
        [FileId::of_fd(io::stdout()), FileId::of_fd(io::stderr())].into_iter().flatten().collect();
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
    let session = Session {
        id: options.session_id.clone(),
        labels: options.labels.clone(),
        places: &options.places,
        watch: &options.watch,
        timeout: options.timeout,
        command: Some(&options.command),
    };
    let root = start::identify(held.pid())?;
    let StartedSession { mut recorder, log } = start::begin(&session, root, Origin::Root, observer)?;
    if options.layout == Layout::Autoskillit {
        let place = options.places.trace_dir.as_deref().unwrap_or(Path::new(AUTOSKILLIT_DIR));
        if let Err(error) = recorder.mirror_to(place) {
            observer.notice(&format!("{}: AutoSkillit's files cannot be written: {error}", place.display()));
        }
    }
    let mut driver = SessionDriver::new(recorder, &options.watch, options.timeout)?;
    let began = Instant::now();
    let job = held.release()?;
    let mut course = RunState {
        options,
        job,
        reason: EndReason::RootEnded,
        pending: None,
        patience: Patience::default(),
        diagnosis: None,
    };
    let outcome = course.follow(&mut driver, signals, observer).await?;
    if let JobOutcome::LeftAlone(_) = outcome {
        let summary = driver.recorder.live().summary(&start::ending());
        driver.recorder.abandon();
        return Ok(RunEnd {
            job: outcome,
            ended_by_us: None,
            leaked: Vec::new(),
            reaped: Vec::new(),
            summary,
            filed: None,
            diagnosis: course.diagnosis,
        });
    }
    driver.recorder.settle(observer);
    if let JobOutcome::Ended(status) = outcome {
        driver.recorder.ended(root, Some(status), observer);
    }
    course.job.reap().context("cannot reap the job")?;
    let leaked = driver.settle(output, observer).await;
    let reaped = if options.reap_leaked && !leaked.is_empty() {
        end_leaked(&mut driver, &leaked, observer).await
    } else {
        Vec::new()
    };
    let failed =
        matches!(outcome, JobOutcome::Ended(status) if status.exit_code().is_some_and(|code| code != 0));
    if failed && course.reason == EndReason::RootEnded {
        for text in port_conflict::explain(&options.places, &options.command, began.elapsed()) {
            observer.notice(&text);
            driver.recorder.note("address_held", text, observer);
        }
    }
    let (summary, filed) = start::finish(driver.recorder, course.reason, &log, observer);
    let ended_by_us = matches!(course.reason, EndReason::Timeout | EndReason::Hang).then_some(course.reason);
    Ok(RunEnd { job: outcome, ended_by_us, leaked, reaped, summary, filed, diagnosis: course.diagnosis })
}

/// The course of a job from its start to its end.
struct RunState<'a> {
    options: &'a RunOptions,
    job: Job,
    /// Why the session will be over.
    reason: EndReason,
    /// A request to end that is passed on once the diagnosis is there.
    pending: Option<(Received, u64)>,
    patience: Patience,
    diagnosis: Option<Box<Diagnosis>>,
}

impl RunState<'_> {
    async fn follow(
        &mut self,
        driver: &mut SessionDriver,
        signals: &mut Signals,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<JobOutcome> {
        loop {
            tokio::select! {
                biased;
                event = self.job.next(signals) => {
                    let event = event.context("cannot follow the job")?;
                    if let Some(outcome) = self.on_job(event, driver, observer)? {
                        return Ok(outcome);
                    }
                }
                event = driver.step(observer) => {
                    if let Some(outcome) = self.on_came(event, driver, observer)? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    fn on_job(
        &mut self,
        event: JobEvent,
        driver: &mut SessionDriver,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<Option<JobOutcome>> {
        match event {
            JobEvent::Signal(received) => {
                if self.patience.ends_with(&received, Instant::now()) {
                    return Ok(Some(JobOutcome::LeftAlone(received.signal)));
                }
                if received.asks_to_end() && self.reason == EndReason::RootEnded {
                    self.reason = EndReason::Interrupted;
                }
                // A runner that ends a hanging job leaves us seconds: first what can only be seen now.
                let by_a_runner = received.signal == libc::SIGTERM && !received.from_terminal();
                if by_a_runner && self.pending.is_none() {
                    self.pending = Some((received, clock::boot_ns()));
                    driver.diagnose(Why::AskedToEnd);
                } else {
                    self.pass_on(&received, clock::boot_ns(), driver, observer)?;
                }
            }
            JobEvent::ExecFailed(failure) => return Ok(Some(JobOutcome::NotExecuted(failure))),
            JobEvent::Ended(status) => return Ok(Some(JobOutcome::Ended(status))),
            JobEvent::Stopped(signal) => {
                driver.recorder.note("stopped", format!("the job was stopped by signal {signal}"), observer);
            }
            JobEvent::Continued => driver.recorder.note("continued", "the job goes on".to_owned(), observer),
            JobEvent::Suspended(length) => {
                let text = format!("job and tracer were stopped together for {length:.1?}");
                driver.recorder.note("suspended", text, observer);
                driver.put_off(length);
            }
            JobEvent::Executed => {}
        }
        Ok(None)
    }

    fn on_came(
        &mut self,
        event: DriverEvent,
        driver: &mut SessionDriver,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<Option<JobOutcome>> {
        match event {
            DriverEvent::Nothing => {}
            DriverEvent::TimeIsOver => driver.diagnose(Why::Timeout),
            DriverEvent::Looked(why, diagnosis) => {
                if let Some((received, came_boot_ns)) = self.pending.take() {
                    self.pass_on(&received, came_boot_ns, driver, observer)?;
                }
                match why {
                    Why::Timeout => self.end(EndReason::Timeout, driver),
                    Why::NoProgress => {
                        if let Some(diagnosis) = &diagnosis {
                            self.on_hang(diagnosis, driver, observer);
                        }
                    }
                    Why::AskedToEnd => {}
                }
                self.diagnosis = diagnosis.or(self.diagnosis.take());
            }
            DriverEvent::Termination(terminations) => {
                for one in terminations.iter().filter(|one| !one.is_gone()) {
                    observer.notice(&one.sentence());
                }
                // A root beyond SIGKILL is waited for by nobody: the recovery finishes its session.
                let root = driver.recorder.root();
                if terminations.iter().any(|one| one.process() == root && !one.is_gone()) {
                    return Ok(Some(JobOutcome::LeftAlone(libc::SIGKILL)));
                }
            }
        }
        Ok(None)
    }

    /// A hang that is proved is acted on; anything else goes on being watched.
    fn on_hang(&mut self, diagnosis: &Diagnosis, driver: &mut SessionDriver, observer: &mut dyn Observer) {
        if !diagnosis.verdict.is_hang() {
            return;
        }
        match self.options.watch.on_hang {
            OnHang::Report => {}
            OnHang::Interrupt => self.end(EndReason::Hang, driver),
            OnHang::Relieve => driver.relieve(diagnosis, observer),
        }
    }

    fn end(&mut self, reason: EndReason, driver: &mut SessionDriver) {
        self.reason = reason;
        driver.end(driver.recorder.alive());
    }

    /// Passes a signal on, unless its sender has sent it to the job as well: `kill -- -GROUP` and `timeout` do.
    fn pass_on(
        &self,
        received: &Received,
        came_boot_ns: u64,
        driver: &mut SessionDriver,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<()> {
        driver.recorder.catch_up(observer);
        if driver.recorder.root_had(received, came_boot_ns.saturating_sub(SAME_KILL_NS)) {
            return Ok(());
        }
        self.job.pass_on(received).context("cannot pass a signal on to the job")?;
        Ok(())
    }
}

/// Ends what outlived the job, and what that forks meanwhile.
async fn end_leaked(
    driver: &mut SessionDriver,
    leaked: &[LeakedProcess],
    observer: &mut dyn Observer,
) -> Vec<Termination> {
    driver.end(leaked.iter().map(|one| one.process.into()).collect());
    loop {
        if let DriverEvent::Termination(terminations) = driver.step(observer).await {
            driver.recorder.settle(observer);
            return terminations;
        }
    }
}
