//! What `/proc` shows of a process, read without the tool's own readers, which are under test.

use tracer_user::core::identity::ProcessId;

/// A field of a `stat` file, counted as proc(5) does, from the third on. `None`: the process is gone.
pub fn stat_field(path: &str, number: usize) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The second field, the name, may hold blanks and parentheses itself.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// Field 22 of `/proc/PID/stat`: when the process started, in clock ticks since boot. `None`: it is gone.
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat_field(&format!("/proc/{pid}/stat"), 22)?.parse().ok()
}

/// The process that has this pid now.
#[track_caller]
pub fn identify(pid: u32) -> ProcessId {
    ProcessId { tgid: pid, start_ticks: start_ticks(pid).expect("the process exists") }
}

/// The state letter of a process. `None`: it is gone.
pub fn state(pid: u32) -> Option<String> {
    stat_field(&format!("/proc/{pid}/stat"), 3)
}

/// Nanoseconds of CLOCK_BOOTTIME.
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
