//! Fault points: named places at which a test build kills itself on request.
//!
//! Without the feature `fault-injection` a point compiles to nothing. With it, `TRACER_FAULT_KILL=NAME` (or
//! `NAME:N` for the N-th time, from 1) makes the process kill itself there, as `kill -9` would.

/// Every point, in the order in which a session reaches them.
pub const POINTS: [&str; 16] = [
    "enroll.written",
    "enroll.visible",
    "trace.created",
    "trace.line",
    "compact.written",
    "compact.renamed",
    "finish.begin",
    "log.staged",
    "log.synced",
    "log.renamed",
    "log.indexed",
    "finish.durable",
    "finish.trace-unlinked",
    "finish.sidecar-unlinked",
    "finish.unpinned",
    "recover.claimed",
];

/// The points of this build; `None` in a build without fault injection.
pub fn points() -> Option<&'static [&'static str]> {
    cfg!(feature = "fault-injection").then_some(&POINTS)
}

/// Kills the process here when the environment requests it.
#[cfg(feature = "fault-injection")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not in the list of fault points");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("TRACER_FAULT_KILL").ok()?;
        let (wanted, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((wanted.to_owned(), times.parse().unwrap_or(1)))
    });
    if let Some((wanted, times)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *times
    {
        // Failing to die would only make the test fail, which is right.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Does nothing in a build without fault injection.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn point(_name: &str) {}
