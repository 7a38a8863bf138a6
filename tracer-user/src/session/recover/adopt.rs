//! `recover --adopt`: continues sessions whose owner died and whose job still runs.
//!
//! Same files, same pins: the trace was read back, the kernel went on recording, and what it recorded
//! meanwhile is taken first, so nothing in between is missing. From then on the session is
//! [driven](crate::session::live::driver) as any other, with the times that its owner had been given. The job
//! is not a child of this process and not its to end: a hang is explained, and relieved where the owner would
//! have done that. When this process dies, the session is as it was, for the next to adopt.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::gather::RecoveryCase;
use super::replay::replay;
use super::{RecoverConfig, RecoverError, pin_name};
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, SessionId, Thresholds};
use crate::core::session_state::Input;
use crate::core::summary::{OwnerFate, Summary};
use crate::kernel::KernelTracer;
use crate::procfs_view::{ProcRoot, table};
use crate::session::clock;
use crate::session::live::finish::{OwnerEnding, finish};
use crate::session::live::{
    DriverEvent, Observer, ReplayedSession, SessionDriver, SessionEvent, SessionRecorder, SessionSources,
};
use crate::session::options::{OnHang, TimeLimits, Watch};
use crate::session::problems::Problems;
use crate::session::runtime::Runtime;
use crate::store::{Limits, LogConfig, SessionLog};

/// A session that this process has taken over: its lock is held, and its trace was read back.
#[derive(Debug)]
pub struct Adoption {
    session: ReplayedSession,
    /// The name of its pins; `None` without kernel events.
    pub pins: Option<String>,
}

/// Takes a live session over.
///
/// # Errors
/// When it cannot be taken over. Its files stay.
pub fn adopt(
    config: &RecoverConfig,
    case: RecoveryCase,
    problems: &mut Problems,
) -> Result<Adoption, RecoverError> {
    let pins = case.record.is_some().then(|| case.enrollment.as_ref()?.bpf_pins.clone()).flatten();
    let replay = replay(config, case.claim, case.enrollment, problems)?;
    Ok(Adoption { session: replay.session, pins: pins.map(|pins| pin_name(&pins).to_owned()) })
}

impl Adoption {
    /// Continues the session: its trace may take as much room as its owner had been given, and notes the
    /// adoption.
    pub fn resume<'o>(self) -> SessionRecorder<'o> {
        let mut recorder = SessionRecorder::resume(self.session);
        let header = recorder.state().tracker().header();
        let trace_bytes = header.and_then(|header| header.config.get("trace_max_bytes")?.as_u64());
        let limits = Limits::default();
        recorder.limit(Limits { trace_bytes: trace_bytes.unwrap_or(limits.trace_bytes), ..limits });
        let now = clock::anchor();
        let note = Input::Note {
            code: "adopted".to_owned(),
            text: format!("process {} continues to trace: the owner died", std::process::id()),
        };
        recorder.push_at(&now, now.boot_ns, note);
        recorder
    }
}

/// Traces adopted sessions to their ends, all at once, and files each as it ends. Returns the summaries.
///
/// # Errors
/// When the log cannot be opened. The sessions are released as they are.
pub fn follow_all(
    adoptions: Vec<Adoption>,
    log: &LogConfig,
    observer: &mut dyn Observer,
) -> anyhow::Result<Vec<Summary>> {
    SessionLog::open(log)?;
    let observer = &RefCell::new(observer);
    let finished = Runtime::start()?.block_on(async {
        let sessions: FuturesUnordered<_> =
            adoptions.into_iter().map(|adoption| follow(adoption, log, Shared(observer))).collect();
        Ok(sessions.collect::<Vec<_>>().await)
    })?;
    Ok(finished.into_iter().flatten().collect())
}

/// Traces one session to its end. `None`: it cannot be followed, which was reported, and waits for the next
/// recovery.
async fn follow(mut adoption: Adoption, log: &LogConfig, mut observer: Shared<'_, '_>) -> Option<Summary> {
    let pins = adoption.pins.take();
    let mut recorder = adoption.resume();
    recorder.subscribe(observer);
    let root: ProcessId = recorder.enrollment().root()?;
    let watch = watch_of(&recorder);
    let stall_ns = u64::try_from(watch.stall_threshold.as_nanos()).unwrap_or(u64::MAX);
    let kernel = pins.and_then(|pins| {
        match KernelTracer::open(&pins, stall_ns, table::own_namespaces(&ProcRoot::system())) {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                let text = format!("no kernel events for {}: {error}", recorder.id());
                recorder.notice(&text);
                None
            }
        }
    });
    let id = recorder.id().clone();
    let mut sources = SessionSources::resume(root, kernel, &recorder);
    sources.settle(&mut recorder);
    let mut driver = match SessionDriver::new(recorder, sources, &watch, TimeLimits::default()) {
        Ok(driver) => driver,
        Err(error) => {
            let text = format!("{id} cannot be followed: {error:#}");
            observer.observe(&id, SessionEvent::Notice(&text));
            return None;
        }
    };
    driver.watch_root();
    while driver.recorder().state().tracker().root_exit().is_none() {
        if let DriverEvent::Diagnosis(_, Some(diagnosis)) = driver.step().await
            && diagnosis.verdict.is_hang()
            && watch.on_hang == OnHang::Relieve
        {
            driver.relieve(&diagnosis);
        }
    }
    let leaked = driver.settle_leaked(&[]).await;
    let anchor = clock::anchor();
    let root_exit = driver.recorder().state().tracker().root_exit().map(|(boot_ns, _)| boot_ns);
    let ending = OwnerEnding {
        reason: EndReason::RootEnded,
        owner_fate: OwnerFate::Adopted,
        end: root_exit.map(|boot_ns| anchor.wall_at(boot_ns)),
        leaked: &leaked,
    };
    Some(finish(driver, &ending, log).0)
}

/// The session is watched as its header says that its owner watched it.
fn watch_of(recorder: &SessionRecorder<'_>) -> Watch {
    let header = recorder.state().tracker().header();
    let times = header.map_or_else(Thresholds::default, |header| header.thresholds);
    let on_hang = header.and_then(|header| header.config.get("on_hang")?.as_str());
    Watch {
        interval: Duration::from_millis(recorder.enrollment().interval_ms.max(10)),
        stall_threshold: Duration::from_millis(times.stall_ms),
        hang_after: Duration::from_millis(times.no_progress_ms),
        // The job is not this process's to end: an owner that would have interrupted it is not imitated.
        on_hang: if on_hang == Some(OnHang::Relieve.name()) { OnHang::Relieve } else { OnHang::Report },
        grace: Duration::ZERO,
        stacks: header.and_then(|header| header.config.get("stacks")?.as_bool()).unwrap_or(true),
    }
}

/// One observer for sessions that are driven by turns on one thread. It is borrowed only between awaits.
#[derive(Clone, Copy)]
struct Shared<'a, 'o>(&'a RefCell<&'o mut dyn Observer>);

impl Observer for Shared<'_, '_> {
    fn observe(&mut self, session: &SessionId, event: SessionEvent<'_>) {
        self.0.borrow_mut().observe(session, event);
    }
}
