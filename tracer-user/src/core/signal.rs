//! Signals and sets of signals, by number and by name.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A signal by its number, 1 to 64. The numbers are those of x86-64 and aarch64, which agree (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Signal(pub u32);

/// The names of signals 1 to 31.
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

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT.
    pub const QUIT: Self = Self(3);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGUSR1.
    pub const USR1: Self = Self(10);
    /// SIGUSR2.
    pub const USR2: Self = Self(12);
    /// SIGPIPE.
    pub const PIPE: Self = Self(13);
    /// SIGALRM.
    pub const ALRM: Self = Self(14);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGCHLD.
    pub const CHLD: Self = Self(17);
    /// SIGWINCH.
    pub const WINCH: Self = Self(28);
    /// The kernel's first real-time signal (glibc keeps 32 and 33 for itself).
    pub const RT_FIRST: Self = Self(32);

    /// Its name: `SIGTERM`; a real-time signal as its distance from the kernel's first, any other by number.
    pub fn name(self) -> String {
        match self.0 {
            1..=31 => {
                NAMES.get(self.0 as usize - 1).map_or_else(|| self.0.to_string(), |name| (*name).to_owned())
            }
            32..=64 => format!("SIGRT{}", self.0 - 32),
            other => format!("signal {other}"),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A set of signals: bit n-1 is signal n. Serialized as 16 hexadecimal digits, as `/proc/PID/status` shows
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// The set of these signals.
    pub const fn of(signals: &[Signal]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < signals.len() {
            let number = signals[at].0;
            if number >= 1 && number <= 64 {
                set |= 1 << (number - 1);
            }
            at += 1;
        }
        Self(set)
    }

    /// Whether a signal is in it.
    pub fn contains(self, signal: Signal) -> bool {
        (1..=64).contains(&signal.0) && self.0 >> (signal.0 - 1) & 1 == 1
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The signals of this one that are not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The signals that are in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The signals in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=64).map(Signal).filter(move |signal| self.contains(*signal))
    }
}

impl Serialize for SignalSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for SignalSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SignalSet {
    fn schema_name() -> Cow<'static, str> {
        "SignalSet".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_signal_7() {
        let names =
            [Signal::HUP, Signal::KILL, Signal::TERM, Signal(31), Signal(34), Signal(0)].map(Signal::name);
        assert_eq!(names, ["SIGHUP", "SIGKILL", "SIGTERM", "SIGSYS", "SIGRT2", "signal 0"]);
    }

    #[test]
    fn a_set_is_what_status_shows() {
        let set = SignalSet::of(&[Signal::HUP, Signal::CHLD]);
        assert_eq!(set, SignalSet(0x10001));
        assert_eq!(serde_json::to_string(&set).unwrap(), "\"0000000000010001\"");
        assert!(set.contains(Signal::CHLD) && !set.contains(Signal::INT) && !set.contains(Signal(0)));
        assert_eq!(set.without(SignalSet::of(&[Signal::HUP])).iter().collect::<Vec<_>>(), [Signal::CHLD]);
    }
}
