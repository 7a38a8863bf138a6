//! The machines that guests can be. All that differs between them is here.

use std::env::consts::ARCH;

/// A guest's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Machine {
    /// amd64
    #[value(name = "x86_64")]
    X86_64,
    /// arm64
    #[value(name = "aarch64")]
    Aarch64,
}

/// The kernel's words on every machine. On a busy host a clock's rate is measured wrongly.
const WORDS: &str = "quiet loglevel=3 panic=-1 random.trust_cpu=on";

impl Machine {
    /// What this task runs on; amd64 where it is neither.
    pub fn here() -> Self {
        if ARCH == Self::Aarch64.name() { Self::Aarch64 } else { Self::X86_64 }
    }

    /// As `std::env::consts::ARCH` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian names it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// As Debian names cross compilers' packages.
    pub fn cross_package(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// What the names of its compilers begin with and folders of libraries are called.
    pub fn gnu(self) -> String {
        format!("{}-linux-gnu", self.name())
    }

    /// As Rust names it.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.name())
    }

    /// The emulator.
    pub fn emulator(self) -> String {
        format!("qemu-system-{}", self.name())
    }

    /// Debian's package of the emulator.
    pub fn emulator_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
        }
    }

    /// What the emulator is told.
    pub fn board(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-cpu", "max", "-machine", "q35"],
            // What later ones have, old kernels do not boot with, and pointer authentication takes long to emulate.
            Self::Aarch64 => &["-cpu", "cortex-a76", "-machine", "virt"],
        }
    }

    /// The device of its console.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// What its kernel is told.
    pub fn command_line(self) -> String {
        let own = match self {
            // The time stamp counter's rate is such a clock; and the timer is found not to work.
            Self::X86_64 => "mitigations=off nokaslr no5lvl clocksource=hpet no_timer_check",
            Self::Aarch64 => "mitigations=off nokaslr",
        };
        format!("console={} {WORDS} {own}", self.console())
    }
}
