//! What can be wrong with a kernel, said so that the reader knows what to do.

use std::path::PathBuf;

/// Why kernel events cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No type information.
    #[error(
        "the kernel shows no type information at {0} (CONFIG_DEBUG_INFO_BTF): kernel events are not to be had; \
         use --no-kernel, or a kernel built with BTF"
    )]
    NoBtf(PathBuf),
    /// Type information that cannot be read.
    #[error("{path}: {why}; kernel events are not to be had, use --no-kernel")]
    BadBtf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A field the programs cannot do without.
    #[error("the running kernel has no {0}, which the kernel programs need; use --no-kernel")]
    MissingField(String),
    /// Not allowed.
    #[error(
        "{what}: permission denied; run as root (sudo), or with CAP_BPF and CAP_PERFMON, or use --no-kernel"
    )]
    Permission {
        /// What was tried.
        what: String,
    },
    /// A pid namespace of its own: the kernel programs know processes by the numbers of the machine's first one.
    #[error(
        "this is a container: its pid namespace is not the machine's first, and the kernel's events name processes by \
         their numbers there; run on the host, or with the host's pid namespace (--pid=host)"
    )]
    InnerPidNamespace,
    /// The kernel's lockdown forbids reading its memory.
    #[error(
        "the kernel is locked down (confidentiality): programs may not read its memory; \
         boot with lockdown=integrity, or use --no-kernel"
    )]
    Lockdown,
    /// The BPF file system.
    #[error("{path}: {why}")]
    BpfFs {
        /// Where.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The machine's architecture has no table.
    #[error("kernel events are not supported on this architecture ({0}); use --no-kernel")]
    Architecture(String),
    /// The kernel refused a program or map.
    #[error("{what}: {why}; `tracer-user doctor` says what this kernel lacks, --no-kernel does without")]
    Refused {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        why: String,
    },
}

impl KernelError {
    /// From an error of a step, told apart by what a user can do about it.
    pub(super) fn of(what: impl Into<String>, error: impl std::error::Error + 'static) -> Self {
        let what = what.into();
        if is_permission(&error) {
            return if lockdown_confidentiality() { Self::Lockdown } else { Self::Permission { what } };
        }
        Self::Refused { what, why: one_line(&error) }
    }
}

/// The chain of causes in one line, without a verifier's log of thousands of lines.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let said = error.to_string();
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
        // A verifier's log ends with what it refused.
        let said = match said.as_slice() {
            [first, .., before, last] if said.len() > 3 => format!("{first} … {before} {last}"),
            lines => lines.join(" "),
        };
        if !text.contains(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
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

/// Whether the kernel forbids reading its memory (`/sys/kernel/security/lockdown`).
pub fn lockdown_confidentiality() -> bool {
    std::fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|modes| modes.contains("[confidentiality]"))
}
