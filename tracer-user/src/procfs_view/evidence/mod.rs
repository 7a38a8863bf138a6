//! Evidence for a diagnosis: one moment of the machine, read from `/proc`, netlink and borrowed fds.
//!
//! [`collect`] is the entry. What it reads of each process is in `process` (and `syscall`, `fds`,
//! `fdinfo`), what connects processes in `objects` (and `holders`, `facts`, `wait_targets`).

mod borrowed_fd;
mod cgroups;
mod clocks;
mod collect;
mod facts;
mod fdinfo;
mod fds;
mod fifo_open;
mod futex;
mod holders;
mod last_failed;
#[cfg(test)]
mod live_tests;
mod locks;
mod memory;
mod objects;
mod process;
mod request;
mod scope;
mod second_reading;
mod syscall;
mod sysv;
#[cfg(test)]
mod tests;
mod thread_sample;
mod unix_peers;
mod wait_targets;

pub use collect::collect;
#[cfg(feature = "stacks")]
pub(crate) use memory::Memory;
pub use request::{Ask, CollectError, KernelReader, Request};
