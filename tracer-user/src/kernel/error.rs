//! Why kernel events are unavailable, in messages that name what to do.

use std::path::PathBuf;

/// Why kernel events are unavailable.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel has no type information.
    #[error(
        "{0}: the kernel has no type information (CONFIG_DEBUG_INFO_BTF), so kernel events are unavailable; \
         use --no-kernel, or a kernel built with BTF"
    )]
    NoBtf(PathBuf),
    /// The type information cannot be read.
    #[error("{path}: {why}, so kernel events are unavailable; use --no-kernel")]
    BadBtf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel lacks a field that the programs need.
    #[error("the running kernel has no {0}, which the kernel programs need; use --no-kernel")]
    MissingField(String),
    /// This user may not do it.
    #[error(
        "{what}: permission denied; run as root (sudo), or with CAP_BPF and CAP_PERFMON, or use --no-kernel"
    )]
    Permission {
        /// The operation.
        what: String,
    },
    /// This process is in another pid namespace than the initial one, whose numbers the kernel programs use.
    #[error(
        "this is a container: the kernel's events identify processes by their numbers in the machine's initial pid \
         namespace, which is not this one; run on the host, or with the host's pid namespace (--pid=host)"
    )]
    InnerPidNamespace,
    /// The kernel's lockdown forbids programs to read its memory.
    #[error(
        "the kernel is locked down (confidentiality): programs may not read its memory; \
         boot with lockdown=integrity, or use --no-kernel"
    )]
    Lockdown,
    /// The BPF file system cannot be used.
    #[error("{path}: {why}")]
    BpfFs {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The architecture has no table of system calls.
    #[error("kernel events are not supported on this architecture ({0}); use --no-kernel")]
    Architecture(String),
    /// The kernel refused a program or map.
    #[error("{what}: {why}; `tracer-user doctor` reports what this kernel lacks; use --no-kernel")]
    Refused {
        /// The operation.
        what: String,
        /// The kernel's error.
        why: String,
    },
}

impl KernelError {
    /// From the error of an operation, classified by what a user can do about it.
    pub(super) fn of(what: impl Into<String>, error: impl std::error::Error + 'static) -> Self {
        let what = what.into();
        if is_permission(&error) {
            return if lockdown_confidentiality() { Self::Lockdown } else { Self::Permission { what } };
        }
        Self::Refused { what, why: one_line(&error) }
    }
}

/// The chain of causes in one line, without the thousands of lines of a verifier's log.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        let lines = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
        // A verifier's log ends with what it refused.
        let message = match lines.as_slice() {
            [first, .., before, last] if lines.len() > 3 => format!("{first} … {before} {last}"),
            lines => lines.join(" "),
        };
        if !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return matches!(io.raw_os_error(), Some(1 | 13));
        }
        cause = error.source();
    }
    false
}

/// Whether the kernel forbids programs to read its memory (`/sys/kernel/security/lockdown`).
pub fn lockdown_confidentiality() -> bool {
    std::fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|modes| modes.contains("[confidentiality]"))
}
