//! `run`: a job, traced from before its first instruction to after its last.
//!
//! The order protects the job. It is forked and held; the kernel side is loaded, and the job made a member of
//! it; the session is enrolled on disk; only then the job may exec. At the end the kernel's records are taken
//! while the job is still a zombie, so that its pid cannot name another process, and then it is reaped.
//!
//! A failure of the tracer never becomes one of the job: without a place for the trace it is kept in memory,
//! without kernel events `/proc` is polled, and both are reported. If no session can be kept at all, or a
//! session breaks off, the job is followed without one ([`crate::signals::plain`]). If not even a process can
//! be started, this process becomes the job.

mod after;
mod end;
pub mod job;
mod untraced;

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, anyhow};

pub use self::end::{JobOutcome, RunEnd, nothing_hung};
use self::job::{HeldJob, Job, JobEvent, Patience};
use self::untraced::{become_the_job, notice};
use super::autoskillit_log;
use super::clock;
use super::live::finish::{OwnerEnding, finish};
use super::live::start::{self, SessionSetup, StartedSession};
use super::live::{DiagnosisTrigger, DriverEvent, Observer, SessionDriver, SessionEvent};
use super::options::{OnHang, RunOptions};
use super::preflight::port_conflict;
use super::runtime::Runtime;
use crate::core::diagnosis::Diagnosis;
use crate::core::escalation::Termination;
use crate::core::identity::WaitStatus;
use crate::core::record::{EndReason, Origin};
use crate::core::summary::LeakedProcess;
use crate::procfs_view::{FileId, ProcRoot, table};
use crate::signals::receive::{BlockedSignals, ReceivedSignal, SignalStream};
use crate::signals::spawn::JobCommand;
use crate::store::autoskillit::Mirror;
use crate::store::{Layout, LogConfig};

/// The longest time between the signals of one `kill` of a process group that the tracer and the job are in:
/// they are microseconds apart unless a process is kept from its CPU.
const SAME_KILL_NS: u64 = 200_000_000;

/// Where AutoSkillit's readers look for its files.
const AUTOSKILLIT_DIR: &str = "/dev/shm";

/// Runs a job. Call it on the main thread, before any other thread is started: signals are blocked in it.
///
/// # Errors
/// When the command can never run, or cannot be traced although that is required.
pub fn run(options: &RunOptions, observer: &mut dyn Observer) -> anyhow::Result<RunEnd> {
    let command = JobCommand::new(&options.command, std::env::var_os("PATH").as_deref())?;
    let output: Vec<FileId> =
        [FileId::of_fd(io::stdout()), FileId::of_fd(io::stderr())].into_iter().flatten().collect();
    let blocked = match BlockedSignals::take() {
        Ok(blocked) => blocked,
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot take signals");
            return become_the_job(options, &command, None, error, observer);
        }
    };
    let original = blocked.original();
    let held = match job::hold(&command, &original, options.recording.no_kernel) {
        Ok(held) => held,
        Err(error) => return become_the_job(options, &command, Some(&original), error, observer),
    };
    if let Some(problem) = held.problem() {
        notice(observer, problem);
    }
    let ended = Cell::new(None);
    // A defect of the tracer is not the job's, either. What it may have left half done is not used again.
    let kept = catch_unwind(AssertUnwindSafe(|| {
        Runtime::start()?.block_on(async {
            let mut signals = blocked.listen()?;
            traced(options, &held, &ended, &output, &mut signals, observer).await
        })
    }));
    let error = match kept {
        Ok(Ok(end)) => return Ok(end),
        Ok(Err(error)) => error,
        Err(_) => anyhow!("the tracer has a defect, which is reported above"),
    };
    if options.require_tracing && !held.child().is_released() {
        return Err(error);
    }
    notice(observer, &format!("the job runs without being traced: {error:#}"));
    untraced::follow(options, &held, ended.get())
}

async fn traced(
    options: &RunOptions,
    held: &HeldJob,
    ended: &Cell<Option<WaitStatus>>,
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
        in_memory: !options.require_tracing,
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
        ended,
        driver,
        reason: EndReason::RootEnded,
        pending: None,
        patience: Patience::default(),
        answered_boot_ns: HashMap::new(),
        diagnosis: None,
    };
    let end = run.follow_to_end(signals, output, &log).await?;
    if end.filed.is_some()
        && let Some(summary) = &end.summary
    {
        let name = &summary.dir_name;
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
    job: Job<'a>,
    /// The job's status, once it is known. It outlives a session that breaks off.
    ended: &'a Cell<Option<WaitStatus>>,
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
                summary: Some(summary),
                filed: None,
                diagnosis: self.diagnosis,
            });
        }
        self.driver.settle();
        if let JobOutcome::Ended(status) = outcome {
            self.ended.set(Some(status));
            self.driver.ended(self.driver.root(), status);
        }
        if let Err(error) = self.job.reap() {
            self.driver.recorder().notice(&format!("the job cannot be reaped: {error}"));
        }
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
        let (summary, diagnosis) = (Some(summary), self.diagnosis);
        Ok(RunEnd { job: outcome, ended_by_us, leaked, reaped, summary, filed, diagnosis })
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
                event = self.job.next(signals) => self.on_job(event.context("cannot follow the job")?),
                event = self.driver.step() => self.on_driver(event),
            };
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }

    fn on_job(&mut self, event: JobEvent) -> Option<JobOutcome> {
        match event {
            JobEvent::Signal(received) => return self.on_signal(received),
            JobEvent::ExecFailed(failure) => return Some(JobOutcome::NotExecuted(failure)),
            JobEvent::Ended(status) => return Some(JobOutcome::Ended(status)),
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
        None
    }

    fn on_signal(&mut self, received: ReceivedSignal) -> Option<JobOutcome> {
        if self.patience.ends_with(&received, Instant::now()) {
            return Some(JobOutcome::LeftAlone(received.signal));
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
            self.pass_on(&received, clock::boot_ns());
        }
        None
    }

    fn on_driver(&mut self, event: DriverEvent) -> Option<JobOutcome> {
        match event {
            DriverEvent::Nothing => {}
            DriverEvent::TimeLimit => self.driver.diagnose(DiagnosisTrigger::TimeLimit),
            DriverEvent::IdleLimit => self.driver.diagnose(DiagnosisTrigger::IdleLimit),
            DriverEvent::Diagnosis(trigger, diagnosis) => {
                if let Some((received, came_boot_ns)) = self.pending.take() {
                    self.pass_on(&received, came_boot_ns);
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
                    return Some(JobOutcome::LeftAlone(libc::SIGKILL));
                }
            }
        }
        None
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
    fn pass_on(&mut self, received: &ReceivedSignal, came_boot_ns: u64) {
        self.driver.catch_up();
        if self.root_received(received, came_boot_ns.saturating_sub(SAME_KILL_NS)) {
            return;
        }
        if let Err(error) = self.job.pass_on(received) {
            let text = format!("signal {} cannot be passed on to the job: {error}", received.signal);
            self.driver.recorder().notice(&text);
        }
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
