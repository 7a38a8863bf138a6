//! System call numbers and names, and which calls write.
//!
//! The tables are those of the crate `syscalls`, made from the kernel's headers. Both architectures are
//! compiled in: recorded evidence may come from the other one. A number without a name is newer than the
//! crate, or is not a call of a 64-bit program.

use syscalls::{aarch64, x86_64};

/// Calls whose first argument is the file descriptor that they write to.
pub const WRITES: [&str; 8] =
    ["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"];

/// An architecture, for its numbers of 64-bit calls (not x32, not of 32-bit programs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86_64.
    X86_64,
    /// aarch64.
    Aarch64,
}

impl Architecture {
    /// The architecture that this program was built for. `None` on others than the two.
    pub fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// The architecture that `std::env::consts::ARCH` calls so.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// Name of a call. `None` when the number is unknown.
pub fn name(architecture: Architecture, number: u64) -> Option<&'static str> {
    let number = usize::try_from(number).ok()?;
    match architecture {
        Architecture::X86_64 => x86_64::Sysno::new(number).map(|call| call.name()),
        Architecture::Aarch64 => aarch64::Sysno::new(number).map(|call| call.name()),
    }
}

/// Number of a call. `None` when the architecture has no such call.
pub fn number(architecture: Architecture, name: &str) -> Option<u64> {
    let number = match architecture {
        Architecture::X86_64 => name.parse::<x86_64::Sysno>().ok()?.id(),
        Architecture::Aarch64 => name.parse::<aarch64::Sysno>().ok()?.id(),
    };
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_of_both_architectures() {
        for (call, x86_64, aarch64) in [
            ("read", 0, 63),
            ("write", 1, 64),
            ("wait4", 61, 260),
            ("ppoll", 271, 73),
            ("futex", 202, 98),
            ("flock", 73, 32),
        ] {
            for (architecture, known) in [(Architecture::X86_64, x86_64), (Architecture::Aarch64, aarch64)] {
                assert_eq!(number(architecture, call), Some(known), "{call}");
                assert_eq!(name(architecture, known), Some(call));
            }
        }
        assert_eq!(number(Architecture::Aarch64, "epoll_wait"), None);
        for unknown in [u64::MAX, u64::from(u32::MAX), 400] {
            assert_eq!(name(Architecture::X86_64, unknown), None);
        }
    }

    #[test]
    fn this_program_is_of_an_architecture_with_a_table() {
        assert_eq!(Architecture::native(), Architecture::named(std::env::consts::ARCH));
        assert!(Architecture::native().is_some());
        assert_eq!(Architecture::named("riscv64"), None);
    }
}
