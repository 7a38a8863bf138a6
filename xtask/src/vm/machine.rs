//! The machines that guests can have. Everything that differs between them is here.

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

/// Kernel parameters on every machine.
const PARAMETERS: &str = "quiet loglevel=3 panic=-1 random.trust_cpu=on";

impl Machine {
    /// The machine of this host; amd64 if it is another one.
    pub fn here() -> Self {
        if ARCH == Self::Aarch64.name() { Self::Aarch64 } else { Self::X86_64 }
    }

    /// Its name in `std::env::consts::ARCH`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Its name in Debian.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Its name in Debian's packages of cross compilers.
    pub fn cross_package(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// The GNU triplet: prefix of its compilers and name of its library directories.
    pub fn gnu(self) -> String {
        format!("{}-linux-gnu", self.name())
    }

    /// The Rust target.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.name())
    }

    /// The program of its emulator.
    pub fn emulator(self) -> String {
        format!("qemu-system-{}", self.name())
    }

    /// The Debian package of its emulator.
    pub fn emulator_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
        }
    }

    /// Options of the emulator for CPU and board.
    pub fn board(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-cpu", "max", "-machine", "q35"],
            // Old kernels do not boot on later CPUs, and pointer authentication is slow to emulate.
            Self::Aarch64 => &["-cpu", "cortex-a76", "-machine", "virt"],
        }
    }

    /// The device of the console.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// The kernel command line.
    pub fn command_line(self) -> String {
        let own = match self {
            // On a busy host the kernel measures the rate of the TSC wrongly, and its timer check fails.
            Self::X86_64 => "mitigations=off nokaslr no5lvl clocksource=hpet no_timer_check",
            Self::Aarch64 => "mitigations=off nokaslr",
        };
        format!("console={} {PARAMETERS} {own}", self.console())
    }
}
