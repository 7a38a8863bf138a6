//! Exit statuses by meaning, and the error type of the command line.

use crate::core::identity::WaitStatus;

/// Exit status, by meaning. [`Exit::code`] is the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, nothing to report.
    Success,
    /// 1: a hang, a leftover or a degraded requirement is reported.
    Finding,
    /// 2: invalid command line; from `doctor`: the tracer does not work on this machine.
    Usage,
    /// 3: whether anything hangs could not be found out.
    Unknown,
    /// 124: the job was ended by `--timeout` or for a hang.
    TimedOut,
    /// 125: the tracer failed.
    Failed,
    /// 126: the job's command exists but cannot be executed.
    CannotExecute,
    /// 127: the job's command was not found.
    NotFound,
    /// The job's exit code, or 128 + the signal that ended it.
    Job(WaitStatus),
    /// 128 + the signal that ended the tracer before the job.
    Signalled(u8),
}

impl Exit {
    /// The exit status as a number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Finding => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::TimedOut => 124,
            Self::Failed => 125,
            Self::CannotExecute => 126,
            Self::NotFound => 127,
            Self::Job(status) => status.shell_code(),
            Self::Signalled(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// Why a verb failed: one line and an exit status.
///
/// The line has the form `what: where: what to do`. The program's name is added when it is printed.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// One line. Control bytes are escaped when it is printed.
    pub message: String,
}

impl Failure {
    /// The command line is invalid.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The tracer failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    /// The same failure with another exit status.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// An error of a session function ends the verb with 125. Its causes are joined by colons.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_status_is_passed_on() {
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
