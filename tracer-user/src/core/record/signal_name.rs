//! Signals by name.

/// The names of signals 1 to 31 on the architectures that are served.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of a signal; real-time ones as the distance from the kernel's first, others by number.
pub fn signal_name(signal: u32) -> String {
    match signal {
        1..=31 => {
            NAMES.get(signal as usize - 1).map_or_else(|| signal.to_string(), |name| (*name).to_owned())
        }
        32..=64 => format!("SIGRT{}", signal - 32),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::signal_name;

    #[test]
    fn names_are_those_of_signal_7() {
        assert_eq!(
            (signal_name(1), signal_name(9), signal_name(15), signal_name(31)),
            ("SIGHUP".into(), "SIGKILL".into(), "SIGTERM".into(), "SIGSYS".into())
        );
        assert_eq!((signal_name(34), signal_name(0)), ("SIGRT2".into(), "signal 0".into()));
    }
}
