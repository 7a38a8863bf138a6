//! The pure part: no files, environment, processes, clocks, threads or printing. Time is an argument.

pub mod event;
pub mod evidence;
pub mod identity;
