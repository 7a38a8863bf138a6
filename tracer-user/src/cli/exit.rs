//! How the program ends: exit statuses by their meaning, and the one error the command line knows.

use crate::core::identity::WaitStatus;

/// Exit status, by meaning. [`Exit::code`] is the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and nothing to report.
    Success,
    /// 1: a hang, a leftover or a degraded requirement is reported.
    Found,
    /// 2: the command line makes no sense; `doctor` also says so of a machine where nothing works.
    Usage,
    /// 124: the job was ended by `--timeout` or for a hang.
    TimedOut,
    /// 125: the tracer failed.
    Failed,
    /// 126: the job's command was found and cannot be executed.
    CannotExecute,
    /// 127: the job's command was not found.
    NotFound,
    /// As the job ended: its exit code, or 128 + the signal.
    Job(WaitStatus),
    /// 128 + the signal that ended the tracer before the job.
    Signalled(u8),
}

impl Exit {
    /// The number a shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::TimedOut => 124,
            Self::Failed => 125,
            Self::CannotExecute => 126,
            Self::NotFound => 127,
            Self::Job(status) => status.shell_code(),
            Self::Signalled(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// Why a verb could not do its work: one line, and the exit status that goes with it.
///
/// The line reads `what: where: what to do`; the program's name is put before it when it is printed.
#[derive(Debug)]
pub struct Failure {
    /// Exit status.
    pub exit: Exit,
    /// One line. Control bytes in it are escaped when it is printed.
    pub message: String,
}

impl Failure {
    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The tracer failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    /// The same failure, told by another exit status.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// What a session function reports ends the verb with 125; its causes are joined by colons.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_the_tracer_as_it_ended() {
        assert_eq!(Exit::Job(WaitStatus(7 << 8)).code(), 7);
        assert_eq!(Exit::Job(WaitStatus(15)).code(), 143);
        assert_eq!(Exit::Signalled(2).code(), 130);
    }

    #[test]
    fn causes_are_joined_into_one_line() {
        let error = anyhow::anyhow!("permission denied").context("cannot open /x").context("trace directory");
        assert_eq!(Failure::from(error).message, "trace directory: cannot open /x: permission denied");
    }
}
