//! A session of kernel events, for a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tracer_user::core::event::{Event, EventBody, Exec, Exit, Fork, IdentityExtras, Stall};
use tracer_user::core::identity::ProcessId;
use tracer_user::kernel::{KernelTracer, Settings};
use tracer_user::procfs_view::{ProcRoot, table};

use crate::support::child::TestChild;
use crate::support::proc::boot_ns;
use crate::support::{self, PATIENCE};

/// A threshold that no stall of a test reaches.
pub const NO_STALLS: Duration = Duration::from_secs(24 * 3600);

/// A session and the events it has reported. Removed from the kernel when dropped.
pub struct Traced {
    tracer: Option<KernelTracer>,
    /// In the order of their times.
    pub events: Vec<Event>,
    /// The hook that the session began with, which stays as long as the session.
    hook: Option<(PathBuf, u64)>,
}

impl Traced {
    /// Begins a session. `None`: this machine has no kernel events and need not have them.
    pub fn start(stall_threshold: Duration) -> Option<Self> {
        Self::start_missing(stall_threshold, false)
    }

    /// As [`Self::start`]. With `exits` the exits are not recorded when they happen, as if the kernel missed
    /// them.
    pub fn start_missing(stall_threshold: Duration, exits: bool) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let settings = Settings {
            session: format!("test-{}-{number}", std::process::id()),
            stall_threshold_ns: stall_threshold.as_nanos() as u64,
            kernel_log: false,
            traces: None,
            namespaces: table::own_namespaces(&ProcRoot::system()),
        };
        let start = if exits { KernelTracer::start_missing_exits } else { KernelTracer::start };
        match start(&settings) {
            Ok(tracer) => {
                let mut traced = Self { tracer: Some(tracer), events: Vec::new(), hook: None };
                traced.hook = traced.hook_now();
                Some(traced)
            }
            Err(error) => {
                support::skip(format!("no kernel events: {error}"));
                None
            }
        }
    }

    /// A session with one member, a held helper, which begins.
    pub fn of(child: &mut TestChild, stall_threshold: Duration) -> Option<Self> {
        let mut traced = Self::start(stall_threshold)?;
        traced.enroll(child.process());
        child.go();
        Some(traced)
    }

    /// The tracer.
    pub fn tracer(&mut self) -> &mut KernelTracer {
        self.tracer.as_mut().expect("not finished")
    }

    /// The pin of the hook on context switches, and the pin's inode.
    pub fn hook_now(&self) -> Option<(PathBuf, u64)> {
        let session = self.tracer.as_ref()?.path();
        let names = std::fs::read_dir(session).ok()?.flatten();
        let mark =
            names.map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with("uses-"))?;
        let hook = session.parent()?.join(mark.to_str()?.replacen("uses-", "hook-", 1));
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(hook.join("link")).ok()?);
        Some((hook, inode))
    }

    /// Makes a process a member.
    pub fn enroll(&mut self, process: ProcessId) {
        self.tracer().enroll(process, &IdentityExtras::default()).expect("enrolled");
    }

    /// Takes new events in and returns them. Leaves the fate map as it is.
    pub fn collect(&mut self) -> Vec<Event> {
        let mut new = Vec::new();
        self.tracer().drain_keeping_fates(&mut new);
        self.tracer().open_stalls(boot_ns(), &mut new);
        self.events.extend(new.iter().cloned());
        self.events.sort_by_key(|event| event.boot_ns);
        new
    }

    /// Takes events in until `find` returns a value.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, find: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.collect();
            if let Some(found) = find(self) {
                return found;
            }
            let lost = self.tracer().lost();
            assert!(
                Instant::now() < deadline,
                "no {what} in {:#?}; lost {lost:?}; hook {:?} was {:?}",
                self.events,
                self.hook_now(),
                self.hook
            );
            // The ring wakes its reader for many events, not for a single one.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end of a process.
    #[track_caller]
    pub fn until_exit(&mut self, process: ProcessId) -> Exit {
        self.until("exit", |traced| traced.exits().find(|exit| exit.process == process).cloned())
    }

    /// Exits so far.
    pub fn exits(&self) -> impl Iterator<Item = &Exit> {
        self.events.iter().filter_map(|event| match &event.body {
            EventBody::Exit(exit) => Some(exit),
            _ => None,
        })
    }

    /// Forks so far.
    pub fn forks(&self) -> impl Iterator<Item = &Fork> {
        self.events.iter().filter_map(|event| match &event.body {
            EventBody::Fork(fork) => Some(fork),
            _ => None,
        })
    }

    /// Execs so far.
    pub fn execs(&self) -> impl Iterator<Item = &Exec> {
        self.events.iter().filter_map(|event| match &event.body {
            EventBody::Exec(exec) => Some(exec),
            _ => None,
        })
    }

    /// Stalls so far: whether the stall has ended, the time of the event, and the stall.
    pub fn stalls(&self) -> impl Iterator<Item = (bool, u64, &Stall)> {
        self.events.iter().filter_map(|event| match &event.body {
            EventBody::StallOpen(stall) => Some((false, event.boot_ns, stall)),
            EventBody::StallClosed(stall) => Some((true, event.boot_ns, stall)),
            _ => None,
        })
    }

    /// Checks that nothing was lost, and ends the session.
    #[track_caller]
    pub fn finish(mut self) {
        self.collect();
        assert_eq!(self.hook_now(), self.hook, "the hook stays as long as the session");
        let tracer = self.tracer.take().expect("not finished");
        assert_eq!(tracer.lost().total(), 0, "{:?}", tracer.lost());
        let path = tracer.path().to_owned();
        tracer.finish().expect("finished");
        assert!(!path.exists(), "{} is left", path.display());
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.finish();
        }
    }
}
