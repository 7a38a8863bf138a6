//! ProcessKey is told what happens while a session goes on: `cli` prints it, tests collect it.

use super::driver::Why;
use crate::core::diagnosis::Diagnosis;
use crate::core::record::Line;

/// A session at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Since the beginning, nanoseconds.
    pub elapsed_ns: u64,
    /// Processes that live.
    pub alive: usize,
    /// Processes that joined.
    pub forks: u64,
    /// Processes that ended.
    pub exits: u64,
    /// Writes that are blocked now.
    pub open_stalls: usize,
    /// Events that were lost.
    pub lost: u64,
}

/// Is told.
pub trait Observer {
    /// Lines of the trace, as they come.
    fn lines(&mut self, lines: &[Line]);

    /// Something the user should know: one line, told once.
    fn notice(&mut self, text: &str);

    /// A line of the kernel programs' own debug log; only where that was asked for.
    fn debug(&mut self, line: &str);

    /// What hangs, or that nothing does. Whatever has to outlive the job is on disk when this comes back: what is done
    /// about a hang comes afterwards.
    fn diagnosed(&mut self, diagnosis: &Diagnosis, why: Why);

    /// How it goes, a few times a second.
    fn status(&mut self, status: &Status);
}
