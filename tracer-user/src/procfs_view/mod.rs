//! The only reader of `/proc`, and of the netlink sockets that complete it. Everything is read below a
//! [`ProcRoot`].
//!
//! - `evidence`: one moment of the machine, for a diagnosis;
//! - `snapshot`: samples of a session's processes, for its trace;
//! - [`census`] and [`leftover_files`]: what earlier runs left on the machine;
//! - [`table`] and [`machine`]: single questions about a process, or about the machine;
//! - `net`: sockets, and the kernel's process connector.

pub mod census;
mod evidence;
#[cfg(test)]
#[path = "../../../tests/support/fake_proc.rs"]
mod fake_proc;
mod file_id;
pub mod leftover_files;
pub mod machine;
mod maps;
mod mounts;
mod net;
mod proc_dir;
mod reader;
mod resources;
pub mod snapshot;
#[cfg(feature = "stacks")]
mod stacks;
mod stat;
mod sys;
pub mod table;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use proc_dir::OpenRoot;

pub use evidence::{Ask, CollectError, KernelReader, Request, collect};
pub use file_id::FileId;
pub use net::connector;
#[cfg(feature = "stacks")]
pub use stacks::add_stacks;
pub use sys::is_written;

/// Where `/proc` is. Tests use a directory of their own.
#[derive(Clone, Debug)]
pub struct ProcRoot(PathBuf);

impl ProcRoot {
    /// This machine's `/proc`.
    pub fn system() -> Self {
        Self(PathBuf::from("/proc"))
    }

    /// Another directory laid out like `/proc`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Whether it is this machine's: only then do its pids name processes in system calls.
    pub fn is_system(&self) -> bool {
        self.0 == Path::new("/proc")
    }

    pub(crate) fn open(&self) -> io::Result<OpenRoot> {
        OpenRoot::open(&self.0, self.is_system())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
