//! Names in the object: its maps, programs and globals, and the tracepoints of the programs.
//!
//! The attributes of the kernel side take literals only, so they repeat the names. A test compares them with
//! these tables, by the sections and symbols of the built object.

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramName {
    /// The function's name.
    pub name: &'static str,
    /// What the program is attached to.
    pub hook: Hook,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// This tracepoint, with arguments of the types that the kernel's type information gives them.
    Tracepoint(&'static str),
    /// This event of perf (`category/name`), which passes the fields that its `format` lists in tracefs.
    PerfEvent(&'static str),
    /// Nothing: it is run on demand (`BPF_PROG_TEST_RUN`).
    OnDemand,
}

impl Hook {
    /// The tracepoint whose type information the program needs.
    pub const fn tracepoint(self) -> Option<&'static str> {
        match self {
            Self::Tracepoint(name) => Some(name),
            Self::PerfEvent(_) | Self::OnDemand => None,
        }
    }
}

const fn attached(name: &'static str, tracepoint: &'static str) -> ProgramName {
    ProgramName { name, hook: Hook::Tracepoint(tracepoint) }
}

const fn on_demand(name: &'static str) -> ProgramName {
    ProgramName { name, hook: Hook::OnDemand }
}

/// A child of a session's process, on kernels whose maps cannot grow where [`ON_NEW`] runs.
pub const ON_FORK: ProgramName = attached("on_fork", "sched_process_fork");
/// A child of a session's process, on the other kernels.
pub const ON_NEW: ProgramName = attached("on_new", "sched_wakeup_new");
/// An exec of a session's process.
pub const ON_EXEC: ProgramName = attached("on_exec", "sched_process_exec");
/// The end of a session's process.
pub const ON_EXIT: ProgramName = attached("on_exit", "sched_process_exit");
/// A signal to a session's process, and an end that [`ON_EXIT`] missed.
pub const ON_SIGNAL: ProgramName = attached("on_signal", "signal_generate");
/// An end that [`ON_EXIT`] and [`ON_SIGNAL`] missed.
pub const ON_FREE: ProgramName = attached("on_free", "sched_process_free");
/// The machine-wide hook on context switches.
pub const ON_SWITCH: ProgramName = attached("on_switch", "sched_switch");
/// Describes a writer slot, or a file of the calling process.
pub const LOOK: ProgramName = on_demand("look");
/// Adds up the bytes in a pipe.
pub const FILL: ProgramName = on_demand("fill");
/// Counts the system calls of a window.
pub const ON_RETURN: ProgramName =
    ProgramName { name: "on_return", hook: Hook::PerfEvent("raw_syscalls/sys_exit") };
/// Does nothing on context switches, for comparison in a benchmark.
pub const NOTHING: ProgramName = attached("nothing", "sched_switch");

/// Every program.
pub const PROGRAMS: &[ProgramName] =
    &[ON_FORK, ON_NEW, ON_EXEC, ON_EXIT, ON_SIGNAL, ON_FREE, ON_SWITCH, LOOK, FILL, ON_RETURN, NOTHING];

/// Members of a session.
pub const LIVE: &str = "LIVE";
/// Fates of a session's processes.
pub const FATES: &str = "FATES";
/// A session's events.
pub const EVENTS: &str = "EVENTS";
/// Counts of what did not fit.
pub const LOST: &str = "LOST";
/// Memory in which exit records are put together.
pub const EXIT_SCRATCH: &str = "EXIT_SCRATCH";
/// Answer of the inspection programs.
pub const INSPECTION: &str = "INSPECTION";
/// Settings of the hook.
pub const SWITCH_HOOK: &str = "SWITCH_HOOK";
/// Sleeping writers.
pub const SLOTS: &str = "SLOTS";
/// Sleeping writers whose slot is taken.
pub const COLLISIONS: &str = "COLLISIONS";
/// Stalls that have ended.
pub const STALL_LOG: &str = "STALL_LOG";
/// Records that each CPU has written to the stall log.
pub const STALL_CURSORS: &str = "STALL_CURSORS";
/// Processes whose system calls are counted.
pub const WATCHED: &str = "WATCHED";
/// Counts of system calls.
pub const CALLS: &str = "CALLS";
/// System calls for which there was no room.
pub const UNCOUNTED: &str = "UNCOUNTED";
/// The debug log of the programs (aya-log).
pub const DEBUG_LOG: &str = "AYA_LOGS";

/// The maps that are pinned with a session.
pub const SESSION_MAPS: [&str; 5] = [LIVE, FATES, EVENTS, LOST, INSPECTION];
/// The maps that are pinned with the hook, and that all sessions share.
pub const HOOK_MAPS: [&str; 5] = [SWITCH_HOOK, SLOTS, COLLISIONS, STALL_LOG, STALL_CURSORS];
/// The maps of a window. They are never pinned.
pub const WINDOW_MAPS: [&str; 3] = [WATCHED, CALLS, UNCOUNTED];
/// The other maps that are never pinned.
pub const UNPINNED_MAPS: [&str; 2] = [EXIT_SCRATCH, DEBUG_LOG];

/// Offsets of kernel fields ([`Offsets`](crate::offsets::Offsets)).
pub const OFFSETS: &str = "OFFSETS";
/// How the machine passes system calls ([`SyscallAbi`](crate::wire::SyscallAbi)).
pub const ABI: &str = "ABI";
/// How the stall log is divided ([`LogLayout`](crate::wire::LogLayout)).
pub const LOG: &str = "LOG";
/// Level of the debug log (aya-log).
pub const DEBUG_LEVEL: &str = "AYA_LOG_LEVEL";

/// Every global that the loader sets.
pub const GLOBALS: [&str; 4] = [OFFSETS, ABI, LOG, DEBUG_LEVEL];
