//! Lines on a guest's console that mark the course of its run.

/// Begins the line before a suite's output; the suite's name follows.
pub const BEGIN: &str = "@@ begin ";
/// Begins the line after a suite's output; the suite's name, its exit status and the uptime follow.
pub const END: &str = "@@ end ";
/// The last line that init writes.
pub const LAST_LINE: &str = "@@ the guest is done";
/// Stands for the end of a suite among the names of its tests, until the suite has ended well.
pub const ENDED: &str = "(ended)";
