//! Directories for the sessions of one test, sessions that are made without a job, and a simulated kernel
//! record.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracer_user::core::event::{Event, Exit, IdentityExtras, ProcessFate};
use tracer_user::core::gates::{GateReason, RecoveryPolicy};
use tracer_user::core::identity::{ProcessId, WaitStatus};
use tracer_user::core::record::sidecar::{Enrollment, Owner, SIDECAR_SCHEMA};
use tracer_user::core::record::{HeaderLine, Origin, Thresholds};
use tracer_user::core::retention::RetentionPolicy;
use tracer_user::core::session_state::{Input, Join};
use tracer_user::core::summary::{OwnerFate, SessionEnding};
use tracer_user::core::time::Anchor;
use tracer_user::kernel::{KernelTracer, Settings};
use tracer_user::procfs_view::{ProcRoot, table};
use tracer_user::session::live::SessionRecorder;
use tracer_user::session::recover::{
    FateSource, KernelRecord, LocalHost, NoKernel, PinError, RecoverConfig, RecoveryEntry, RecoveryOutcome,
    RecoveryReport,
};
use tracer_user::store::{Layout, Limits, LogConfig, ResolveConfig, SessionLog, TraceDir};

use crate::support::child::{TestChild, no_child_starts};
use crate::support::{self, PATIENCE, TRACER};

/// Recovers, in this process. No child is started meanwhile: it would have copies of the locks that recovery
/// takes, and a later recovery would find them held.
pub fn recover(config: &RecoverConfig, go_on: &mut dyn FnMut() -> bool) -> RecoveryReport {
    let _no_child_starts = no_child_starts();
    tracer_user::session::recover::recover(config, go_on)
}

/// The tool with its sessions below a directory. The first word is the verb.
pub fn tracer(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(TRACER);
    command.args(words.iter().take(1));
    command.arg("--trace-dir").arg(place.join("traces")).arg("--log-dir").arg(place.join("log"));
    command.args(words.iter().skip(1)).env_remove("TRACER_FAULT_KILL");
    command
}

/// Names below `/sys/fs/bpf/tracer-user` of the sessions of a trace directory.
pub fn pins(traces: &TraceDir) -> Vec<String> {
    pins_of(&traces.pin_prefix().expect("a prefix"))
}

/// Those with this prefix.
pub fn pins_of(prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/sys/fs/bpf/tracer-user").map(|all| all.flatten().collect::<Vec<_>>());
    let names =
        entries.unwrap_or_default().into_iter().map(|it| it.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Whether kernel events are available. Reports that a test is skipped where they are not.
#[track_caller]
pub fn has_kernel_events() -> bool {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let settings = Settings {
        // No name of a trace directory: a recovery of that would remove pins without a sidecar.
        session: format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
        stall_threshold_ns: 1_000_000_000,
        kernel_log: false,
        traces: None,
        namespaces: table::own_namespaces(&ProcRoot::system()),
    };
    match KernelTracer::start(&settings) {
        Ok(tracer) => tracer.finish().is_ok(),
        Err(error) => {
            support::skip(format!("no kernel events: {error}"));
            false
        }
    }
}

/// A pid that no process has: larger than any that Linux gives out.
pub const UNUSED_PID: u32 = 0x0040_0001;

/// A trace directory and a log of one test.
pub struct Place {
    pub temp: tempfile::TempDir,
    pub traces: TraceDir,
}

impl Place {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let traces = TraceDir::resolve(&resolve_config(temp.path())).expect("a trace directory");
        Self { temp, traces }
    }

    /// On a tmpfs where there is one: for tests of the cost of many sessions, without that of a disk.
    pub fn in_memory() -> Self {
        let temp =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let traces = TraceDir::resolve(&resolve_config(temp.path())).expect("a trace directory");
        Self { temp, traces }
    }

    pub fn log_config(&self) -> LogConfig {
        LogConfig { path: self.temp.path().join("log"), retention: RetentionPolicy::count(100_000) }
    }

    pub fn log(&self) -> SessionLog {
        SessionLog::open(&self.log_config()).expect("a log")
    }

    pub fn config(&self) -> RecoverConfig {
        RecoverConfig {
            traces: self.traces.clone(),
            layout: Layout::Own,
            log: self.log_config(),
            policy: RecoveryPolicy { min_age: Duration::ZERO, adopt: false },
            dry_run: false,
            here: here(),
            kernel: Arc::new(NoKernel),
        }
    }

    pub fn recover(&self) -> RecoveryReport {
        recover(&self.config(), &mut || true)
    }

    /// Names of the sessions in the log, sorted.
    pub fn filed(&self) -> Vec<String> {
        let dir = self.temp.path().join("log/sessions");
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .map(|entries| {
                entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }

    /// Names of the sessions in the index, in its order.
    pub fn rows(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.temp.path().join("log/sessions.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("a row")["dir_name"].to_string()
            })
            .map(|name| name.trim_matches('"').to_owned())
            .collect()
    }

    pub fn trace_names(&self) -> Vec<String> {
        let names = self.traces.dir().list().expect("the trace directory");
        names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    pub fn summary(&self, dir_name: &str) -> tracer_user::core::summary::Summary {
        self.log().read_summary(dir_name).expect("readable").expect("a summary")
    }
}

pub fn resolve_config(under: &Path) -> ResolveConfig {
    ResolveConfig {
        requested: Some(under.join("traces")),
        defaults: vec![],
        uid: uid(),
        sudo_uid: None,
        test_runner: None,
    }
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn here() -> LocalHost {
    LocalHost::now(ProcRoot::system())
}

pub fn anchor() -> Anchor {
    tracer_user::session::clock::anchor()
}

/// The enrollment of a root on this machine and this boot.
pub fn enrollment(id: &str, root: ProcessId) -> Enrollment {
    let here = here();
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id: id.to_owned(),
        labels: BTreeMap::from([("suite".to_owned(), "unit".to_owned())]),
        boot_id: here.boot_id,
        pid: root.tgid,
        starttime_ticks: Some(root.start_ticks),
        start_boottime_ns: None,
        pidfd_ino: None,
        pidns_ino: here.pidns_ino,
        ns_pid: None,
        comm: Some("job".into()),
        cmdline: vec!["job".into(), "--fast".into()],
        cwd: None,
        uid: Some(uid()),
        enrolled_at: tracer_user::core::time::render(Timestamp::now()),
        owner: Owner { pid: std::process::id(), starttime_ticks: None, version: "test".to_owned() },
        bpf_pins: None,
        interval_ms: 5_000,
        log_dir: None,
    }
}

/// The same with the name of pins, which a [`FakeKernel`] has.
pub fn pinned(id: &str, root: ProcessId) -> Enrollment {
    Enrollment { bpf_pins: Some(format!("/sys/fs/bpf/tracer-user/{id}")), ..enrollment(id, root) }
}

pub fn dead_root(n: u32) -> ProcessId {
    ProcessId { tgid: UNUSED_PID + n, start_ticks: 4_711 }
}

pub fn header(id: &str, root: ProcessId) -> Input {
    Input::Header(Box::new(HeaderLine {
        tracer_version: "test".to_owned(),
        kernel: None,
        hostname: None,
        session_id: id.to_owned(),
        boot_id: here().boot_id,
        root: root.into(),
        cmdline: vec![],
        kernel_events: false,
        capabilities: vec![],
        offsets_missing: vec![],
        interval_ms: 5_000,
        unchanged_left_out: true,
        thresholds: Thresholds::default(),
        config: BTreeMap::new(),
    }))
}

pub fn joined(process: ProcessId, origin: Origin) -> Input {
    Input::Joined(Join { comm: Some("job".into()), ..Join::new(process, origin) })
}

/// A started session: its header and its root are in the trace.
pub fn live_with(place: &Place, enrollment: Enrollment) -> SessionRecorder<'static> {
    let root = ProcessId { tgid: enrollment.pid, start_ticks: enrollment.starttime_ticks.unwrap_or(0) };
    let id = enrollment.session_id.clone();
    let mut session =
        SessionRecorder::create(&place.traces, enrollment, Limits::default()).expect("enrolled");
    let now = anchor();
    session.push_at(&now, now.boot_ns, header(&id, root));
    session.push_at(&now, now.boot_ns, joined(root, Origin::Root));
    session
}

pub fn live(place: &Place, id: &str, root: ProcessId) -> SessionRecorder<'static> {
    live_with(place, enrollment(id, root))
}

/// A session whose owner died: its lock went with it.
pub fn dead(place: &Place, id: &str, root: ProcessId) {
    leave(&place.traces, live(place, id, root));
}

/// The session's owner dies. Waits until no child that another test is just starting has a copy of the lock
/// any more.
#[track_caller]
pub fn leave(traces: &TraceDir, session: SessionRecorder<'_>) {
    let sidecar = session.files().expect("on a disk").sidecar().to_owned();
    let found = std::fs::metadata(traces.path().join(sidecar)).expect("the sidecar");
    let inode = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&found));
    drop(session);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let locks = std::fs::read_to_string("/proc/locks").expect("the list of locks");
        if !locks.lines().any(|lock| lock.contains("FLOCK") && lock.contains(&inode)) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "still locked: {locks}");
        std::thread::yield_now();
    }
}

pub fn finish() -> SessionEnding<'static> {
    SessionEnding {
        owner_fate: OwnerFate::Finished,
        degraded: false,
        end: Some(Timestamp::now()),
        tracer_version: "test",
        leaked: &[],
    }
}

/// The entry of a session.
pub fn entry<'a>(report: &'a RecoveryReport, id: &str) -> &'a RecoveryEntry {
    let found = report.sessions.iter().find(|entry| entry.session_id.as_deref() == Some(id));
    found.expect(id)
}

pub fn reasons(report: &RecoveryReport, id: &str) -> Vec<GateReason> {
    entry(report, id).verdict.reasons.clone()
}

pub fn is_filed(report: &RecoveryReport, id: &str) -> bool {
    matches!(entry(report, id).outcome, RecoveryOutcome::Filed { .. })
}

/// A process that does nothing.
pub fn sleeper() -> (TestChild, ProcessId) {
    let child = TestChild::start(Command::new("sleep").arg("600").stdin(Stdio::null()));
    let process = child.process();
    (child, process)
}

/// A kernel record of the sessions whose pins a test names.
#[derive(Clone, Default)]
pub struct FakeKernel {
    pub records: BTreeMap<String, (Vec<ProcessFate>, Vec<Event>)>,
    pub unpinned: Arc<Mutex<Vec<String>>>,
    pub orphans_asked_for: Arc<Mutex<Vec<BTreeSet<String>>>>,
}

impl FakeKernel {
    pub fn with(pins: &str, fates: Vec<ProcessFate>, events: Vec<Event>) -> Self {
        Self { records: BTreeMap::from([(pins.to_owned(), (fates, events))]), ..Self::default() }
    }
}

impl FateSource for FakeKernel {
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, PinError> {
        let Some((fates, events)) = self.records.get(pins).cloned() else { return Ok(None) };
        let unpinned = self.unpinned.clone();
        Ok(Some(Box::new(FakeRecord { name: pins.to_owned(), fates, events, unpinned })))
    }

    fn collect_orphans(&self, _: &str, named: &BTreeSet<String>) -> Result<Vec<String>, PinError> {
        self.orphans_asked_for.lock().expect("a lock").push(named.clone());
        Ok(vec![])
    }
}

struct FakeRecord {
    name: String,
    fates: Vec<ProcessFate>,
    events: Vec<Event>,
    unpinned: Arc<Mutex<Vec<String>>>,
}

impl KernelRecord for FakeRecord {
    fn fates(&mut self) -> Vec<ProcessFate> {
        self.fates.clone()
    }

    fn drain(&mut self) -> (Vec<Event>, u64) {
        (std::mem::take(&mut self.events), 0)
    }

    fn unpin(self: Box<Self>) -> io::Result<()> {
        self.unpinned.lock().expect("a lock").push(self.name);
        Ok(())
    }
}

pub fn exit_of(process: ProcessId, status: u32) -> Exit {
    Exit {
        process,
        status: Some(WaitStatus(status)),
        parent: None,
        reaper_tgid: None,
        killer: None,
        oom_victim: None,
        seen_late: false,
        cpu_ns: Some(5_000_000),
        comm: b"job".to_vec(),
    }
}

pub fn ended(process: ProcessId, boot_ns: u64, status: u32) -> ProcessFate {
    ProcessFate {
        process,
        ended: Some((boot_ns, exit_of(process, status))),
        parent: None,
        extras: IdentityExtras::default(),
    }
}

pub fn runs(process: ProcessId) -> ProcessFate {
    ProcessFate { process, ended: None, parent: None, extras: IdentityExtras::default() }
}

pub fn path_in(place: &Place, name: &str) -> PathBuf {
    place.traces.path().join(name)
}
