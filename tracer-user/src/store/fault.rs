//! Fault points: places at which a test build can be told to die, by name.
//!
//! Without the feature `fault-injection` a point is nothing at all. With it, `TRACER_FAULT_KILL=NAME` (or `NAME:N` for the
//! N-th time, from 1) makes the process kill itself there, as `kill -9` would.

/// Every point, in the order a session meets them.
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

/// Dies here when told to.
#[cfg(feature = "fault-injection")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not in the list of fault points");
    let Some(wanted) = std::env::var_os("TRACER_FAULT_KILL") else { return };
    let wanted = wanted.to_string_lossy();
    let (wanted, times) = match wanted.split_once(':') {
        Some((wanted, times)) => (wanted, times.parse().unwrap_or(1)),
        None => (wanted.as_ref(), 1),
    };
    if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == times {
        // Failing to die would only make the test fail, which is right.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn point(_name: &str) {}
