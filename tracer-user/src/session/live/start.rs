//! The beginning of a session: its places, the kernel side, its enrollment on disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::Context as _;

use super::observer::{Observer, Observers};
use super::recorder::{CreateError, SessionRecorder};
use super::sources::SessionSources;
use crate::core::gates::RecoveryPolicy;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::{Enrollment, Owner, SIDECAR_SCHEMA};
use crate::core::record::{HeaderLine, Origin, SessionId, Thresholds};
use crate::core::redact;
use crate::core::text::ByteString;
use crate::core::time;
use crate::kernel::{KernelTracer, Settings};
use crate::procfs_view::{ProcRoot, table};
use crate::session::clock;
use crate::session::options::{Places, Recording, TimeLimits, Watch};
use crate::session::recover::{self, LocalHost, RecoverConfig};
use crate::signals::pidfd::PidFd;
use crate::store::{Layout, Limits, LogConfig, ResolveConfig, SessionLog, TraceDir};

/// At the beginning of a session, traces that were written to more recently than this are left alone.
const RECOVER_MIN_AGE: Duration = Duration::from_secs(30);
/// How long the beginning of a session waits for the recovery of others.
const RECOVER_BUDGET: Duration = Duration::from_millis(120);

/// The longest name of a process, bytes (`TASK_COMM_LEN` without its zero).
const COMM_BYTES: usize = 15;

/// What follows from a trace that cannot be written.
const IN_MEMORY: &str = "the session is kept in memory and cannot be recovered";

/// A session that has begun. Nothing of the job has run.
pub struct StartedSession<'o> {
    /// Its state and trace.
    pub recorder: SessionRecorder<'o>,
    /// Where its inputs come from.
    pub sources: SessionSources,
    /// Where it will be filed.
    pub log: LogConfig,
}

/// How a session begins, whichever verb begins it.
pub struct SessionSetup<'a> {
    /// Its id; `None`: one is generated.
    pub id: Option<String>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Where it is kept.
    pub places: &'a Places,
    /// How it is watched.
    pub watch: &'a Watch,
    /// How it is recorded.
    pub recording: &'a Recording,
    /// The time limit of the job.
    pub limits: TimeLimits,
    /// The command that is about to be executed; `None`: the root runs already.
    pub command: Option<&'a [OsString]>,
    /// Keep the session in memory when there is no trace directory for it.
    pub in_memory: bool,
}

/// The process that has this pid now.
///
/// # Errors
/// When it cannot be read.
pub fn identify(pid: u32) -> anyhow::Result<ProcessId> {
    let start_ticks = table::start_ticks(&ProcRoot::system(), pid).ok().flatten();
    let start_ticks =
        start_ticks.with_context(|| format!("/proc/{pid}/stat: cannot be read; is /proc mounted?"))?;
    Ok(ProcessId { tgid: pid, start_ticks })
}

/// Begins a session. Its root is a member when this returns.
///
/// # Errors
/// When the trace directory is refused or unusable. Nothing is left then. A log that cannot be written is
/// reported, and is no reason not to run the job: the session is filed when that becomes possible.
pub fn begin<'o>(
    setup: &SessionSetup<'_>,
    root: ProcessId,
    origin: Origin,
    observer: impl Observer + 'o,
) -> anyhow::Result<StartedSession<'o>> {
    let id = setup.id.clone().unwrap_or_else(|| generated_id(root));
    let mut observers = Observers::new(SessionId::parse(&id)?);
    observers.add(observer);
    let recording = setup.recording;
    let log = LogConfig::from_environment(setup.places.log_dir.clone(), recording.retention.clone());
    let config = ResolveConfig::from_environment(setup.places.trace_dir.clone());
    let directory = match TraceDir::resolve(&config) {
        Ok(directory) => Some(directory),
        Err(error) if !setup.in_memory => return Err(error.into()),
        Err(error) => {
            observers.notice(&format!("{error}; {IN_MEMORY}"));
            None
        }
    };
    if let Some(warning) = directory.as_ref().and_then(TraceDir::warning) {
        observers.notice(&warning);
    }
    match (SessionLog::open(&log), &directory) {
        (Ok(_), Some(directory)) => recover_first(recording, directory, &log, &mut observers),
        (Ok(_), None) => {}
        (Err(error), _) => observers.notice(&error.to_string()),
    }
    // Without this lock another recovery could take pins that have no sidecar yet for orphans.
    let _beginning = directory.as_ref().map(TraceDir::begin);
    let (kernel, reason_without) = match kernel(setup, directory.as_ref()) {
        Ok(kernel) => (kernel, None),
        Err(reason) => {
            observers.notice(&reason);
            (None, Some(reason))
        }
    };
    let enrollment = enrollment(setup, id, root, kernel.as_ref(), &log);
    let header = header(setup, &enrollment, root, kernel.as_ref());
    let mut recorder = enroll(directory.as_ref(), enrollment, recording, &mut observers)?;
    recorder.set_observers(observers);
    let mut sources = SessionSources::new(root, kernel);
    sources.begin(&mut recorder, header, origin);
    if let Some(reason) = reason_without {
        recorder.note("no_kernel_events", reason);
    }
    Ok(StartedSession { recorder, sources, log })
}

/// Enrolls the session on disk. A full or failing file system is no reason not to run the job: the session is
/// kept in memory then.
fn enroll<'o>(
    directory: Option<&TraceDir>,
    enrollment: Enrollment,
    recording: &Recording,
    observers: &mut Observers<'_>,
) -> Result<SessionRecorder<'o>, CreateError> {
    let limits = Limits { trace_bytes: recording.trace_max_bytes, ..Limits::default() };
    let Some(directory) = directory else { return SessionRecorder::in_memory(enrollment, limits) };
    match SessionRecorder::create(directory, enrollment.clone(), limits) {
        Err(CreateError::Io(error)) => {
            observers.notice(&format!("{}: {error}; {IN_MEMORY}", directory.path().display()));
            SessionRecorder::in_memory(enrollment, limits)
        }
        other => other,
    }
}

/// Finishes what earlier owners left, in the background, and waits for that only for an unnoticeable time.
fn recover_first(recording: &Recording, traces: &TraceDir, log: &LogConfig, observers: &mut Observers<'_>) {
    let config = RecoverConfig {
        traces: traces.clone(),
        layout: Layout::Own,
        log: log.clone(),
        policy: RecoveryPolicy { min_age: RECOVER_MIN_AGE, adopt: false },
        dry_run: false,
        here: LocalHost::now(ProcRoot::system()),
        kernel: recover::fate_source(recording.no_kernel),
    };
    if let Some(notice) = recover::on_start(config, RECOVER_BUDGET).notice {
        observers.notice(&notice);
    }
}

/// The kernel side; `None` where it is not wanted.
///
/// # Errors
/// Why it is not available, and what is lost without it.
fn kernel(setup: &SessionSetup<'_>, traces: Option<&TraceDir>) -> Result<Option<KernelTracer>, String> {
    if setup.recording.no_kernel {
        return Ok(None);
    }
    // The name of the directory is what lets a recovery find the owner of pins.
    let traces = traces.ok_or("no kernel events: they need a trace directory")?;
    let session =
        traces.new_pin_name().map_err(|error| format!("no kernel events: no name for the pins: {error}"))?;
    let settings = Settings {
        session,
        stall_threshold_ns: u64::try_from(setup.watch.stall_threshold.as_nanos()).unwrap_or(u64::MAX),
        kernel_log: setup.recording.kernel_log,
        traces: std::path::absolute(traces.path()).ok(),
        namespaces: table::own_namespaces(&ProcRoot::system()),
    };
    KernelTracer::start(&settings).map(Some).map_err(|error| {
        format!(
            "no kernel events: {error}. The process connector and /proc are used instead: blocked writes are not seen, \
             nor what happens should this tracer die"
        )
    })
}

fn generated_id(root: ProcessId) -> String {
    format!("{}-{root}", clock::anchor().wall.strftime("%Y%m%dT%H%M%SZ"))
}

fn enrollment(
    setup: &SessionSetup<'_>,
    session_id: String,
    root: ProcessId,
    kernel: Option<&KernelTracer>,
    log: &LogConfig,
) -> Enrollment {
    let proc_root = ProcRoot::system();
    let extras = table::extras(&proc_root, root.tgid);
    let own_pid = std::process::id();
    let arguments: Vec<_> = match setup.command {
        Some(command) => command.iter().map(|word| ByteString(word.as_bytes().to_vec())).collect(),
        None => table::arguments(&proc_root, root.tgid),
    };
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id,
        labels: setup.labels.iter().cloned().collect(),
        boot_id: table::boot_id(&proc_root),
        pid: root.tgid,
        starttime_ticks: Some(root.start_ticks),
        start_boottime_ns: extras.start_boottime_ns,
        pidfd_ino: PidFd::open(root, |tgid| table::start_ticks(&proc_root, tgid))
            .ok()
            .and_then(|it| it.inode()),
        // The tracer's own namespace: the numbers above are numbers in it.
        pidns_ino: table::extras(&proc_root, own_pid).pidns_ino,
        ns_pid: extras.ns_pid,
        // A held job still has the tracer's name. What identifies it is the name that its program gives it.
        comm: match setup.command {
            Some(command) => command.first().and_then(|program| name_of_program(program)),
            None => table::comm(&proc_root, root.tgid),
        },
        cmdline: match setup.recording.keep_arguments {
            true => arguments,
            false => redact::arguments(&arguments),
        },
        cwd: table::working_directory(&proc_root, root.tgid),
        uid: Some(rustix::process::getuid().as_raw()),
        enrolled_at: time::render(clock::anchor().wall),
        owner: Owner {
            pid: own_pid,
            starttime_ticks: table::start_ticks(&proc_root, own_pid).ok().flatten(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        bpf_pins: kernel.map(|kernel| kernel.path().display().to_string()),
        interval_ms: millis(setup.watch.interval),
        log_dir: Some(log.path.display().to_string()),
    }
}

/// The name of a process that executes this file: the last part of the path, cut to what fits
/// (`begin_new_exec` in fs/exec.c; a script has its own name, not its interpreter's).
fn name_of_program(program: &OsStr) -> Option<ByteString> {
    let name = program.as_bytes().rsplit(|byte| *byte == b'/').next()?;
    Some(ByteString(name.get(..name.len().min(COMM_BYTES))?.to_vec()))
}

fn header(
    setup: &SessionSetup<'_>,
    enrollment: &Enrollment,
    root: ProcessId,
    kernel: Option<&KernelTracer>,
) -> HeaderLine {
    let watch = setup.watch;
    let uname = rustix::system::uname();
    let config = BTreeMap::from([
        ("on_hang".to_owned(), watch.on_hang.name().into()),
        ("stacks".to_owned(), watch.stacks.into()),
        ("hang_after_ms".to_owned(), millis(watch.hang_after).into()),
        ("timeout_ms".to_owned(), setup.limits.timeout.map(millis).into()),
        ("max_idle_ms".to_owned(), setup.limits.max_idle.map(millis).into()),
        ("trace_max_bytes".to_owned(), setup.recording.trace_max_bytes.into()),
    ]);
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
            stall_ms: millis(watch.stall_threshold),
            no_progress_ms: millis(watch.hang_after),
        },
        config,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
