//! `run`: a job, traced from before its first instruction to after its last.
//!
//! The order protects the job. It is forked and held; the kernel side is loaded, and the job made a member of
//! it; the session is enrolled on disk; only then the job may exec. At the end the kernel's records are taken
//! while the job is still a zombie, so that its pid cannot name another process, and then it is reaped.
//!
//! A failure of the tracer never becomes one of the job: without a place for the trace it is kept in memory,
//! without kernel events `/proc` is polled, and both are reported.

mod after;
pub mod job;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use self::job::{ExecFailure, HeldJob, Job, JobEvent, JobSpec, Patience};
use super::autoskillit_log;
use super::clock;
use super::live::finish::{OwnerEnding, finish};
use super::live::start::{self, SessionSetup, StartedSession};
use super::live::{DiagnosisTrigger, DriverEvent, Observer, SessionDriver, SessionEvent};
use super::options::{OnHang, RunOptions};
use super::preflight::port_conflict;
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::escalation::Termination;
use crate::core::evidence::{Clock, Evidence, Scope};
use crate::core::identity::WaitStatus;
use crate::core::record::{EndReason, Origin};
use crate::core::summary::{LeakedProcess, Summary};
use crate::procfs_view::{FileId, ProcRoot, table};
use crate::signals::receive::{BlockedSignals, ReceivedSignal, SignalStream};
use crate::store::autoskillit::Mirror;
use crate::store::{Layout, LogConfig};

/// The longest time between the signals of one `kill` of a process group that the tracer and the job are in:
/// they are microseconds apart unless a process is kept from its CPU.
const SAME_KILL_NS: u64 = 200_000_000;

/// Where AutoSkillit's readers look for its files.
const AUTOSKILLIT_DIR: &str = "/dev/shm";

/// The result of a run.
#[derive(Debug)]
pub struct RunEnd {
    /// How the job ended.
    pub job: JobOutcome,
    /// Why the tracer ended the job; `None`: it did not.
    pub ended_by_us: Option<EndReason>,
    /// The processes that outlived the job.
    pub leaked: Vec<LeakedProcess>,
    /// The terminations of the leaked processes, where they were requested.
    pub reaped: Vec<Termination>,
    /// The session's summary.
    pub summary: Summary,
    /// Where the session was filed; `None` when it could not be.
    pub filed: Option<PathBuf>,
    /// The last diagnosis; `None` when there was no reason to make one.
    pub diagnosis: Option<Box<Diagnosis>>,
}

/// A diagnosis for a run in which nothing had to be diagnosed.
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
    /// It may still run: the tracer was asked twice to end, by this signal, or the job survived SIGKILL.
    LeftAlone(i32),
}

/// Runs a job. Call it on the main thread, before any other thread is started: signals are blocked in it.
///
/// # Errors
/// When the job could not be started at all.
pub fn run(options: &RunOptions, observer: &mut dyn Observer) -> anyhow::Result<RunEnd> {
    let blocked = BlockedSignals::take().context("cannot take signals")?;
    let original = blocked.original();
    let output: Vec<FileId> =
        [FileId::of_fd(io::stdout()), FileId::of_fd(io::stderr())].into_iter().flatten().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(async {
        let mut signals = blocked.listen()?;
        let spec = JobSpec { argv: options.command.clone(), adopt_orphans: options.recording.no_kernel };
        let held = job::hold(&spec, &original)?;
        traced(options, held, &output, &mut signals, observer).await
    })
}

async fn traced(
    options: &RunOptions,
    held: HeldJob,
    output: &[FileId],
    signals: &mut SignalStream,
    observer: &mut dyn Observer,
) -> anyhow::Result<RunEnd> {
    let setup = SessionSetup {
        id: options.session_id.clone(),
        labels: options.labels.clone(),
        places: &options.places,
        watch: &options.watch,
        recording: &options.recording,
        limits: options.limits,
        command: Some(&options.command),
    };
    let root = start::identify(held.pid())?;
    // Before anything is begun: a log that may not be used is an error of the call.
    let foreign_log = match options.layout {
        Layout::Own => None,
        Layout::AutoSkillit => Some(autoskillit_log::path_to_write(options.autoskillit_log.clone())?),
    };
    let mut mirror = None;
    let StartedSession { mut recorder, sources, log } =
        start::begin(&setup, root, Origin::Root, &mut *observer)?;
    let id = recorder.id().clone();
    if options.layout == Layout::AutoSkillit {
        let place = options.places.trace_dir.as_deref().unwrap_or(Path::new(AUTOSKILLIT_DIR));
        let held = table::comm(&ProcRoot::system(), root.tgid);
        match Mirror::create(place, recorder.enrollment(), held) {
            Ok(created) => recorder.subscribe(mirror.insert(created)),
            Err(error) => recorder
                .notice(&format!("{}: AutoSkillit's files cannot be written: {error}", place.display())),
        }
    }
    let driver = SessionDriver::new(recorder, sources, &options.watch, options.limits)?;
    let run = RunState {
        options,
        job: held.release()?,
        driver,
        reason: EndReason::RootEnded,
        pending: None,
        patience: Patience::default(),
        answered_boot_ns: HashMap::new(),
        diagnosis: None,
    };
    let end = run.follow_to_end(signals, output, &log).await?;
    if end.filed.is_some() {
        let name = &end.summary.dir_name;
        let keep = options.keep.as_deref();
        for problem in after::filed(&log, name, keep, foreign_log.as_deref(), mirror) {
            observer.observe(&id, SessionEvent::Notice(&problem));
        }
    }
    Ok(end)
}

/// A job from its start to its end.
struct RunState<'a, 'o> {
    options: &'a RunOptions,
    job: Job,
    driver: SessionDriver<'o>,
    /// Why the session will be over.
    reason: EndReason,
    /// A request to end that is passed on after the diagnosis, and when it came.
    pending: Option<(ReceivedSignal, u64)>,
    patience: Patience,
    /// By signal, when the root was last sent one that was also sent to the tracer. It does not count a
    /// second time: a process that signals the tracer alone right after the group means the tracer.
    answered_boot_ns: HashMap<u32, u64>,
    diagnosis: Option<Box<Diagnosis>>,
}

impl RunState<'_, '_> {
    async fn follow_to_end(
        mut self,
        signals: &mut SignalStream,
        output: &[FileId],
        log: &LogConfig,
    ) -> anyhow::Result<RunEnd> {
        let began = Instant::now();
        let outcome = self.follow(signals).await?;
        if let JobOutcome::LeftAlone(_) = outcome {
            let ending = OwnerEnding::now(self.reason, &[]);
            let summary = self.driver.recorder().summary(&ending.session_ending());
            return Ok(RunEnd {
                job: outcome,
                ended_by_us: None,
                leaked: Vec::new(),
                reaped: Vec::new(),
                summary,
                filed: None,
                diagnosis: self.diagnosis,
            });
        }
        self.driver.settle();
        if let JobOutcome::Ended(status) = outcome {
            self.driver.ended(self.driver.root(), status);
        }
        self.job.reap().context("cannot reap the job")?;
        let leaked = self.driver.settle_leaked(output).await;
        let reaped = if self.options.reap_leaked && !leaked.is_empty() {
            end_leaked(&mut self.driver, &leaked).await
        } else {
            Vec::new()
        };
        self.explain_failure(&outcome, began);
        let (summary, filed) = finish(self.driver, &OwnerEnding::now(self.reason, &leaked), log);
        let ended_by_us = matches!(self.reason, EndReason::Timeout | EndReason::MaxIdle | EndReason::Hang)
            .then_some(self.reason);
        Ok(RunEnd { job: outcome, ended_by_us, leaked, reaped, summary, filed, diagnosis: self.diagnosis })
    }

    /// Reports the listeners that may have been in the way of a job that failed by itself.
    fn explain_failure(&mut self, outcome: &JobOutcome, began: Instant) {
        let failed =
            matches!(outcome, JobOutcome::Ended(status) if status.exit_code().is_some_and(|code| code != 0));
        if !failed || self.reason != EndReason::RootEnded {
            return;
        }
        for text in port_conflict::explain(&self.options.places, &self.options.command, began.elapsed()) {
            self.driver.recorder().notice(&text);
            self.driver.recorder().note("address_held", text);
        }
    }

    async fn follow(&mut self, signals: &mut SignalStream) -> anyhow::Result<JobOutcome> {
        loop {
            let outcome = tokio::select! {
                biased;
                event = self.job.next(signals) => self.on_job(event.context("cannot follow the job")?)?,
                event = self.driver.step() => self.on_driver(event)?,
            };
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }

    fn on_job(&mut self, event: JobEvent) -> anyhow::Result<Option<JobOutcome>> {
        match event {
            JobEvent::Signal(received) => return self.on_signal(received),
            JobEvent::ExecFailed(failure) => return Ok(Some(JobOutcome::NotExecuted(failure))),
            JobEvent::Ended(status) => return Ok(Some(JobOutcome::Ended(status))),
            JobEvent::Stopped(signal) => {
                self.driver.recorder().note("stopped", format!("the job was stopped by signal {signal}"));
            }
            JobEvent::Continued => self.driver.recorder().note("continued", "the job continues".to_owned()),
            JobEvent::Suspended(length) => {
                let text = format!("job and tracer were stopped together for {length:.1?}");
                self.driver.recorder().note("suspended", text);
                self.driver.postpone_time_limit(length);
            }
            JobEvent::Executed => {}
        }
        Ok(None)
    }

    fn on_signal(&mut self, received: ReceivedSignal) -> anyhow::Result<Option<JobOutcome>> {
        if self.patience.ends_with(&received, Instant::now()) {
            return Ok(Some(JobOutcome::LeftAlone(received.signal)));
        }
        if received.asks_to_end() && self.reason == EndReason::RootEnded {
            self.reason = EndReason::Interrupted;
        }
        // A runner that ends a hung job leaves only seconds: first collect what can be seen only now.
        let by_a_runner = received.signal == libc::SIGTERM && !received.from_terminal();
        if by_a_runner && self.pending.is_none() {
            self.pending = Some((received, clock::boot_ns()));
            self.driver.diagnose(DiagnosisTrigger::EndRequest);
        } else {
            self.pass_on(&received, clock::boot_ns())?;
        }
        Ok(None)
    }

    fn on_driver(&mut self, event: DriverEvent) -> anyhow::Result<Option<JobOutcome>> {
        match event {
            DriverEvent::Nothing => {}
            DriverEvent::TimeLimit => self.driver.diagnose(DiagnosisTrigger::TimeLimit),
            DriverEvent::IdleLimit => self.driver.diagnose(DiagnosisTrigger::IdleLimit),
            DriverEvent::Diagnosis(trigger, diagnosis) => {
                if let Some((received, came_boot_ns)) = self.pending.take() {
                    self.pass_on(&received, came_boot_ns)?;
                }
                match trigger {
                    DiagnosisTrigger::TimeLimit => self.end(EndReason::Timeout),
                    // It may have gone on while the evidence was collected.
                    DiagnosisTrigger::IdleLimit => {
                        if self.driver.is_past_idle_limit() {
                            self.end(EndReason::MaxIdle);
                        }
                    }
                    DiagnosisTrigger::NoProgress => {
                        if let Some(diagnosis) = &diagnosis {
                            self.on_hang(diagnosis);
                        }
                    }
                    DiagnosisTrigger::EndRequest => {}
                }
                // A hang is not forgotten because a later look saw the rest of the job move.
                let hung = |diagnosis: &Option<Box<Diagnosis>>| {
                    diagnosis.as_ref().is_some_and(|diagnosis| diagnosis.verdict.is_hang())
                };
                if diagnosis.is_some() && (hung(&diagnosis) || !hung(&self.diagnosis)) {
                    self.diagnosis = diagnosis;
                }
            }
            DriverEvent::Termination(terminations) => {
                for one in terminations.iter().filter(|one| !one.is_gone()) {
                    self.driver.recorder().notice(&one.sentence());
                }
                // A root that survives SIGKILL is not waited for: the recovery finishes its session.
                let root = self.driver.root();
                if terminations.iter().any(|one| one.process() == root && !one.is_gone()) {
                    return Ok(Some(JobOutcome::LeftAlone(libc::SIGKILL)));
                }
            }
        }
        Ok(None)
    }

    /// Acts on a proven or likely hang. Anything else is only watched.
    fn on_hang(&mut self, diagnosis: &Diagnosis) {
        if !diagnosis.verdict.is_hang() {
            return;
        }
        match self.options.watch.on_hang {
            OnHang::Report => {}
            OnHang::Interrupt => self.end(EndReason::Hang),
            OnHang::Relieve => self.driver.relieve(diagnosis),
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.reason = reason;
        let alive = self.driver.recorder().alive();
        self.driver.terminate(alive);
    }

    /// Passes a signal on, unless its sender has sent it to the job as well, as `kill -- -GROUP` and
    /// `timeout` do.
    fn pass_on(&mut self, received: &ReceivedSignal, came_boot_ns: u64) -> anyhow::Result<()> {
        self.driver.catch_up();
        if !self.root_received(received, came_boot_ns.saturating_sub(SAME_KILL_NS)) {
            self.job.pass_on(received).context("cannot pass a signal on to the job")?;
        }
        Ok(())
    }

    /// The root was sent the same signal by the same sender since then, CLOCK_BOOTTIME nanoseconds.
    fn root_received(&mut self, received: &ReceivedSignal, since_boot_ns: u64) -> bool {
        let root = self.driver.root();
        let signal = received.signal.unsigned_abs();
        let answered = self.answered_boot_ns.entry(signal).or_default();
        let since = since_boot_ns.max(*answered);
        let sent = self.driver.recorder().history().sent(root, signal, received.sender, since);
        *answered = sent.unwrap_or(*answered);
        sent.is_some()
    }
}

/// Ends the processes that outlived the job, and what they fork meanwhile.
async fn end_leaked(driver: &mut SessionDriver<'_>, leaked: &[LeakedProcess]) -> Vec<Termination> {
    driver.terminate(leaked.iter().map(|one| one.process.into()).collect());
    loop {
        if let DriverEvent::Termination(terminations) = driver.step().await {
            driver.settle();
            return terminations;
        }
    }
}
