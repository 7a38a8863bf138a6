//! The beginning of a session: its places, the kernel side, the enrolment on disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::clock;
use super::observer::Observer;
use super::options::{Places, Watch};
use super::recorder::SessionRecorder;
use super::recover::{self, FateSource, LocalHost, NoKernel, Pinned, RecoverConfig};
use crate::core::gates::Policy;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::{Enrollment, Owner, SIDECAR_SCHEMA};
use crate::core::record::{EndReason, HeaderLine, Origin, Thresholds};
use crate::core::summary::{OwnerFate, SessionEnding, Summary};
use crate::core::text::ByteString;
use crate::core::time;
use crate::kernel::{KernelTracer, Settings};
use crate::procfs_view::{ProcRoot, table};
use crate::signals::pidfd::PidFd;
use crate::store::{Layout, Limits, LiveSession, LogConfig, ResolveConfig, SessionLog, TraceDir};
use anyhow::Context as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// Traces that were written to so lately are left alone at the beginning of a run.
const RECOVER_MIN_AGE: Duration = Duration::from_secs(30);
/// How long the beginning of a run waits for the recovery of others.
const RECOVER_BUDGET: Duration = Duration::from_millis(200);

/// A session that has begun; nothing of the job has run.
pub struct StartedSession {
    /// Its keeper.
    pub recorder: SessionRecorder,
    /// Where it will be filed.
    pub log: LogConfig,
}

/// What a session is begun with, whichever verb begins it.
pub struct Session<'a> {
    /// Its name; one is made up when there is none.
    pub id: Option<String>,
    /// What else is noted of it.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: &'a Places,
    /// How it is watched.
    pub watch: &'a Watch,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The command that is about to be executed; the root's own arguments when it runs already.
    pub command: Option<&'a [OsString]>,
}

/// The process with this number, now.
///
/// # Errors
/// When it cannot be read.
pub fn identify(pid: u32) -> anyhow::Result<ProcessId> {
    let start_ticks = table::start_ticks(&ProcRoot::system(), pid).ok().flatten();
    let start_ticks =
        start_ticks.with_context(|| format!("/proc/{pid}/stat: cannot be read; is /proc mounted?"))?;
    Ok(ProcessId { tgid: pid, start_ticks })
}

/// Begins a session. Its root is a member when this comes back.
///
/// # Errors
/// When the trace directory is refused or unusable. Nothing is left then. A log that cannot be written is told, and
/// is no reason not to run the job: its session is finished when it can be.
pub fn begin(
    session: &Session<'_>,
    root: ProcessId,
    origin: Origin,
    observer: &mut dyn Observer,
) -> anyhow::Result<StartedSession> {
    let log_config =
        LogConfig::from_environment(session.places.log_dir.clone(), session.watch.max_sessions as usize);
    let directory = TraceDir::resolve(&ResolveConfig::from_environment(session.places.trace_dir.clone()))?;
    if let Some(warning) = directory.warning() {
        observer.notice(&warning);
    }
    match SessionLog::open(&log_config) {
        Ok(_) => recover_first(session.watch, &directory, &log_config, observer),
        Err(error) => observer.notice(&error.to_string()),
    }
    // Without it a recovery beside us could take pins that have no sidecar yet for orphans; we would see it.
    let _beginning = directory.begin();
    let (kernel, without) = match kernel(session.watch, &directory) {
        Ok(kernel) => (kernel, None),
        Err(why) => {
            observer.notice(&why);
            (None, Some(why))
        }
    };
    let enrollment = enrollment(session, root, kernel.as_ref(), &log_config);
    let header = header(session, &enrollment, root, kernel.as_ref());
    let limits = Limits { trace_bytes: session.watch.trace_max_bytes, ..Limits::default() };
    let live = match LiveSession::create(&directory, enrollment.clone(), limits) {
        Ok(live) => live,
        // A full or failing file system is no reason not to run the job.
        Err(crate::store::live::CreateError::Io(error)) => {
            observer.notice(&format!(
                "{}: {error}; the session is kept in memory and cannot be recovered",
                directory.path().display()
            ));
            LiveSession::in_memory(enrollment, limits)?
        }
        Err(error) => return Err(error.into()),
    };
    let mut recorder = SessionRecorder::new(live, kernel, root);
    recorder.begin(header, origin, observer);
    if let Some(why) = without {
        recorder.note("no_kernel_events", why, observer);
    }
    Ok(StartedSession { recorder, log: log_config })
}

/// What the trace does not know of an end that we see ourselves.
pub fn ending() -> SessionEnding<'static> {
    SessionEnding {
        owner_fate: OwnerFate::Finished,
        degraded: false,
        end: Some(jiff::Timestamp::now()),
        tracer_version: env!("CARGO_PKG_VERSION"),
        leaked: &[],
    }
}

/// Finishes what earlier owners left, in the background; waits for it only as long as nobody notices.
fn recover_first(watch: &Watch, traces: &TraceDir, log: &LogConfig, observer: &mut dyn Observer) {
    let kernel: Arc<dyn FateSource> = if watch.no_kernel { Arc::new(NoKernel) } else { Arc::new(Pinned) };
    let config = RecoverConfig {
        traces: traces.clone(),
        layout: Layout::Own,
        log: log.clone(),
        policy: Policy { min_age: RECOVER_MIN_AGE, adopt: false },
        dry_run: false,
        here: LocalHost::now(ProcRoot::system()),
        kernel,
    };
    if let Some(notice) = recover::quick(config, RECOVER_BUDGET).notice {
        observer.notice(&notice);
    }
}

/// Finishes a session. What stands in the way is told, and left to the next recovery.
pub fn finish(
    recorder: SessionRecorder,
    reason: EndReason,
    log: &LogConfig,
    observer: &mut dyn Observer,
) -> (Summary, Option<PathBuf>) {
    let log = match SessionLog::open(log) {
        Ok(log) => log,
        Err(error) => {
            let summary = recorder.live().summary(&ending());
            let fate = match recorder.live().files() {
                Some(_) => "waits for `tracer-user recover`",
                None => "is lost",
            };
            observer.notice(&format!("the session was not filed and {fate}: {error}"));
            recorder.abandon();
            return (summary, None);
        }
    };
    match recorder.finish(reason, &log, observer) {
        Ok(finished) => {
            for notice in finished.notices {
                observer.notice(&notice.0);
            }
            let filed = log.path().join("sessions").join(&finished.filed.dir_name);
            (finished.summary, Some(filed))
        }
        Err(error) => {
            observer
                .notice(&format!("the session was not filed and waits for `tracer-user recover`: {error}"));
            (*error.summary, None)
        }
    }
}

/// The kernel side, where it is wanted.
///
/// # Errors
/// Why it is not to be had, and what is lost without it.
fn kernel(watch: &Watch, traces: &TraceDir) -> Result<Option<KernelTracer>, String> {
    if watch.no_kernel {
        return Ok(None);
    }
    let session =
        traces.new_pin_name().map_err(|error| format!("no kernel events: no name for the pins: {error}"))?;
    let settings = Settings {
        session,
        stall_threshold_ns: u64::try_from(watch.stall_threshold.as_nanos()).unwrap_or(u64::MAX),
        kernel_log: watch.verbosity >= 2,
        traces: std::path::absolute(traces.path()).ok(),
    };
    KernelTracer::start(&settings).map(Some).map_err(|error| {
        format!(
            "no kernel events: {error}. The process connector and /proc stand in: blocked writes, and what happens \
             should this tracer die, are not seen"
        )
    })
}

fn enrollment(
    session: &Session<'_>,
    root: ProcessId,
    kernel: Option<&KernelTracer>,
    log: &LogConfig,
) -> Enrollment {
    let proc_root = ProcRoot::system();
    let extras = table::extras(&proc_root, root.tgid);
    let me = std::process::id();
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id: session
            .id
            .clone()
            .unwrap_or_else(|| format!("{}-{root}", clock::anchor().wall.strftime("%Y%m%dT%H%M%SZ"))),
        labels: session.labels.iter().cloned().collect(),
        boot_id: table::boot_id(&proc_root),
        pid: root.tgid,
        starttime_ticks: Some(root.start_ticks),
        start_boottime_ns: extras.start_boottime_ns,
        pidfd_ino: PidFd::open(root, |tgid| table::start_ticks(&proc_root, tgid))
            .ok()
            .and_then(|it| it.inode()),
        // Of the namespace in which the numbers above are numbers: ours.
        pidns_ino: table::extras(&proc_root, me).pidns_ino,
        ns_pid: extras.ns_pid,
        comm: table::comm(&proc_root, root.tgid),
        cmdline: match session.command {
            Some(command) => command.iter().map(|word| ByteString(word.as_bytes().to_vec())).collect(),
            None => table::arguments(&proc_root, root.tgid),
        },
        cwd: table::working_directory(&proc_root, root.tgid),
        uid: Some(rustix::process::getuid().as_raw()),
        enrolled_at: time::render(clock::anchor().wall),
        owner: Owner {
            pid: me,
            starttime_ticks: table::start_ticks(&proc_root, me).ok().flatten(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        bpf_pins: kernel.map(|kernel| kernel.path().display().to_string()),
        interval_ms: u64::try_from(session.watch.interval.as_millis()).unwrap_or(u64::MAX),
        log_dir: Some(log.path.display().to_string()),
    }
}

fn header(
    session: &Session<'_>,
    enrollment: &Enrollment,
    root: ProcessId,
    kernel: Option<&KernelTracer>,
) -> HeaderLine {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let uname = rustix::system::uname();
    let mut config = BTreeMap::new();
    config.insert("on_hang".to_owned(), format!("{:?}", session.watch.on_hang).to_lowercase().into());
    config.insert("hang_after_ms".to_owned(), millis(session.watch.hang_after).into());
    config.insert("timeout_ms".to_owned(), session.timeout.map(millis).into());
    config.insert("trace_max_bytes".to_owned(), session.watch.trace_max_bytes.into());
    HeaderLine {
        tracer_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: Some(uname.release().to_string_lossy().into_owned()),
        hostname: Some(uname.nodename().to_string_lossy().into_owned()),
        session_id: enrollment.session_id.clone(),
        boot_id: enrollment.boot_id.clone(),
        root: root.into(),
        cmdline: enrollment.cmdline.clone(),
        kernel_events: kernel.is_some(),
        capabilities: kernel.map(|_| vec!["kernel_events".to_owned()]).unwrap_or_default(),
        offsets_missing: kernel.map(|kernel| kernel.missing_fields().to_vec()).unwrap_or_default(),
        interval_ms: enrollment.interval_ms,
        unchanged_left_out: true,
        thresholds: Thresholds {
            stall_ms: millis(session.watch.stall_threshold),
            no_progress_ms: millis(session.watch.hang_after),
        },
        config,
    }
}
