//! Language runtimes: how each is recognized, which signals it handles by itself, and which of its threads
//! are its own housekeeping.
//!
//! One table, so that a rule about "signals that the program chose to handle" or "threads that matter" is the
//! same rule for every language. A runtime that is not recognized is [`Runtime::Native`]: it handles nothing
//! by itself.

use super::evidence::{Process, Thread, Wait};
use super::signal::{Signal, SignalSet};

/// What executes a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// CPython and PyPy.
    Python,
    /// Node.js (and Deno and Bun, which behave alike here).
    Node,
    /// A Java virtual machine.
    Jvm,
    /// Go.
    Go,
    /// MRI Ruby.
    Ruby,
    /// Perl.
    Perl,
    /// R.
    R,
    /// .NET.
    Dotnet,
    /// Erlang's virtual machine.
    Erlang,
    /// A shell: bash, dash, zsh, ksh, BusyBox.
    Shell,
    /// Machine code, or nothing that is known.
    Native,
}

/// A row of the table.
struct Row {
    runtime: Runtime,
    /// Names of the executable, without a version at the end.
    programs: &'static [&'static str],
    /// Signals whose handlers the runtime installs by itself.
    handles: SignalSet,
    /// Beginnings of the names of threads that the runtime keeps for itself.
    housekeeping: &'static [&'static str],
}

const NONE: SignalSet = SignalSet(0);

const TABLE: &[Row] = &[
    Row {
        runtime: Runtime::Python,
        programs: &["python", "pypy", "uwsgi", "gunicorn", "celery", "pytest"],
        handles: SignalSet::of(&[Signal::INT]),
        housekeeping: &[],
    },
    Row {
        runtime: Runtime::Node,
        programs: &["node", "nodejs", "deno", "bun"],
        // INT and TERM reset the terminal (node.cc, SignalExit); USR1 starts the inspector.
        handles: SignalSet::of(&[Signal::INT, Signal::TERM, Signal::USR1]),
        housekeeping: &["libuv-worker", "V8 Default", "node-V8Worker", "node-DelayedT", "SignalInspector"],
    },
    Row {
        runtime: Runtime::Jvm,
        programs: &["java", "javac", "jshell", "mvn", "gradle"],
        // HotSpot's os_posix.cpp and jsig: shutdown, thread dump, suspension.
        handles: SignalSet::of(&[
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TERM,
            Signal::USR2,
            Signal::PIPE,
        ]),
        housekeeping: &[
            "VM Periodic",
            "VM Thread",
            "GC Thread",
            "G1 ",
            "ZGC",
            "Shenandoah",
            "Concurrent",
            "C1 Compiler",
            "C2 Compiler",
            "Sweeper",
            "Signal Dispatch",
            "Finalizer",
            "Reference Handl",
            "Common-Cleaner",
            "Service Thread",
            "Monitor Deflati",
            "Notification",
            "Attach Listener",
            "StringDedup",
        ],
    },
    Row {
        runtime: Runtime::Ruby,
        programs: &["ruby", "irb", "rake", "bundle"],
        // signal.c, install_sighandler.
        handles: SignalSet::of(&[
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::ALRM,
            Signal::TERM,
            Signal::USR1,
            Signal::USR2,
            Signal(26),
        ]),
        housekeeping: &["timer_thr", "timer-thr"],
    },
    Row {
        runtime: Runtime::R,
        programs: &["R"],
        // main.c, init_signal_handlers: an interrupt, and saving the workspace.
        handles: SignalSet::of(&[Signal::INT, Signal::USR1, Signal::USR2]),
        housekeeping: &[],
    },
    Row {
        runtime: Runtime::Dotnet,
        programs: &["dotnet"],
        // pal/src/exception/signal.cpp and pal_signal.c.
        handles: SignalSet::of(&[Signal::INT, Signal::QUIT, Signal::TERM, Signal::WINCH]),
        housekeeping: &[
            ".NET SynchManag",
            ".NET EventPipe",
            ".NET SigHandler",
            ".NET Finalizer",
            ".NET Tiered",
            ".NET TP Gate",
        ],
    },
    Row {
        runtime: Runtime::Erlang,
        programs: &["beam.smp", "beam"],
        // erts/emulator/sys/unix/sys.c, and erl_signal_server for TERM.
        handles: SignalSet::of(&[Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::HUP]),
        housekeeping: &["erts_", "sys_sig_dispatc", "sys_msg_dispatc", "async_"],
    },
    Row { runtime: Runtime::Perl, programs: &["perl"], handles: NONE, housekeeping: &[] },
    Row {
        runtime: Runtime::Shell,
        programs: &["bash", "sh", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"],
        handles: SignalSet::of(&[Signal::INT, Signal::CHLD, Signal::WINCH]),
        housekeeping: &[],
    },
];

/// Every thread of these programs' libraries rests until it is given work, whatever the language.
const POOLS: &[&str] =
    &["gmain", "gdbus", "pool-", "jemalloc_bg", "tokio-runtime", "rayon", "bio_", "OpenBLAS", "async-std"];

/// Of the threads that a runtime keeps for itself, those that work for the program when they work: they read
/// files, compile, collect garbage while the program waits. The others (a periodic task, a timer) do so
/// whatever happens.
const HELPERS: &[&str] =
    &["libuv-worker", "V8 Default", "node-V8Worker", "C1 Compiler", "C2 Compiler", "GC Thread"];

/// Whether what this thread of a runtime does, when it does something, is work of the program.
pub fn is_helper(thread: &Thread) -> bool {
    let name = thread.comm.as_ref().map(|comm| comm.as_bytes()).unwrap_or_default();
    HELPERS.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// What executes this process, by the name of its executable or, for Go, by the signals that its runtime
/// handles.
pub fn of(process: &Process) -> Runtime {
    // The Go runtime installs a handler for nearly every signal (runtime/sigtab_linux_generic.go), SIGURG
    // among them, with which it preempts; no other runtime does.
    let caught = process.caught.map_or(0, |set| set.0.count_ones());
    if caught >= 48 && process.caught.is_some_and(|set| set.contains(Signal(23))) {
        return Runtime::Go;
    }
    let name = process.exe.as_ref().map_or(process.comm.as_bytes(), |exe| exe.as_bytes());
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let base = base.strip_suffix(b" (deleted)").unwrap_or(base);
    let end = base.iter().rposition(|byte| !(byte.is_ascii_digit() || *byte == b'.' || *byte == b'-'));
    let stem = &base[..end.map_or(0, |at| at + 1)];
    let row = TABLE.iter().find(|row| row.programs.iter().any(|program| program.as_bytes() == stem));
    row.map_or(Runtime::Native, |row| row.runtime)
}

/// The runtime ends a program all of whose threads wait for each other in memory: Go's `checkdead`
/// (runtime/proc.go), and Ruby's `rb_check_deadlock` (thread.c). Both leave a program alone that waits for a
/// signal.
pub fn ends_deadlocks(process: &Process) -> bool {
    matches!(of(process), Runtime::Go | Runtime::Ruby)
}

/// The signals that the program itself chose to handle; `None` when its handlers could not be read.
pub fn chosen_signals(process: &Process) -> Option<SignalSet> {
    /// Signals that a supervisor or a person sends on purpose.
    const ON_PURPOSE: SignalSet = SignalSet::of(&[
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::TERM,
        Signal::WINCH,
    ]);
    /// Real-time signals but glibc's own 32 to 34.
    const REAL_TIME: SignalSet = SignalSet(!((1 << 34) - 1));
    let runtime = of(process);
    if runtime == Runtime::Go {
        return process.caught.map(|_| NONE);
    }
    let own = TABLE.iter().find(|row| row.runtime == runtime).map_or(NONE, |row| row.handles);
    process.caught.map(|caught| caught.and(ON_PURPOSE.or(REAL_TIME)).without(own))
}

/// Whether a thread is one that a runtime or a library keeps for itself: it rests or ticks whatever the
/// program does.
pub fn is_housekeeping(process: &Process, thread: &Thread) -> bool {
    let Some(name) = &thread.comm else { return false };
    let begins = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
    // The first thread runs the program, whatever it is called.
    if thread.tid == process.id.tgid {
        return false;
    }
    let runtime = of(process);
    let own = TABLE.iter().find(|row| row.runtime == runtime).map_or(&[][..], |row| row.housekeeping);
    // An executor of the JVM calls its threads `pool-1-thread-1`, and they do what the program gives them.
    own.iter().any(begins) || runtime != Runtime::Jvm && POOLS.iter().any(begins)
}

/// Whether a thread's time-out is the runtime's own: Go's monitor sleeps for up to a minute at a futex
/// (runtime/proc.go, sysmon), while the program's timers end the poller's wait.
pub fn is_own_timer(process: &Process, thread: &Thread) -> bool {
    let timed = match &thread.wait {
        Wait::Futex { timeout, .. } | Wait::Sleep { timeout } => timeout.is_finite(),
        _ => false,
    };
    timed && of(process) == Runtime::Go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::ByteString;
    use crate::core::identity::ProcessId;

    fn process(exe: &str, caught: u64) -> Process {
        let mut process = Process::new(ProcessId { tgid: 1, start_ticks: 1 });
        process.exe = Some(ByteString::from(exe));
        process.caught = Some(SignalSet(caught));
        process
    }

    #[test]
    fn a_runtime_is_recognized_by_its_executable() {
        assert_eq!(of(&process("/usr/bin/python3.11", 2)), Runtime::Python);
        assert_eq!(of(&process("/opt/node-v20/bin/node", 0)), Runtime::Node);
        assert_eq!(of(&process("/usr/lib/jvm/java-17/bin/java", 0)), Runtime::Jvm);
        assert_eq!(of(&process("/usr/bin/dash", 0)), Runtime::Shell);
        assert_eq!(of(&process("/usr/bin/bash (deleted)", 0)), Runtime::Shell);
        assert_eq!(of(&process("/usr/sbin/nginx", 0)), Runtime::Native);
        assert_eq!(of(&process("/srv/app/server", 0xffff_ffff_ffc1_feff)), Runtime::Go);
    }

    #[test]
    fn only_signals_that_the_program_chose_count() {
        let term = SignalSet::of(&[Signal::TERM]);
        assert_eq!(chosen_signals(&process("/usr/bin/python3", 1 << 1)), Some(NONE));
        assert_eq!(chosen_signals(&process("/usr/bin/python3", 1 << 1 | 1 << 14)), Some(term));
        assert_eq!(chosen_signals(&process("/usr/bin/node", 1 << 1 | 1 << 9 | 1 << 14)), Some(NONE));
        assert_eq!(chosen_signals(&process("/bin/server", 0xffff_ffff_ffc1_feff)), Some(NONE));
        // glibc's own real-time signals, and SIGCHLD, are nobody's request.
        assert_eq!(chosen_signals(&process("/usr/sbin/x", 1 << 16 | 3 << 31)), Some(NONE));
        let mut unread = process("/usr/sbin/x", 0);
        unread.caught = None;
        assert_eq!(chosen_signals(&unread), None);
    }
}
