//! `holders`: who has the other end of a descriptor, or holds a file, a socket or a port.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::diagnose::{self, DiagnoseOptions, DiagnoseScope};
use crate::core::evidence::{ObjectId, PtySide};
use crate::core::holders::{HolderQuery, HoldersReport, holders};
use crate::core::text::ByteString;

/// Major number of `/dev/pts/N` (`UNIX98_PTY_SLAVE_MAJOR`, `include/uapi/linux/major.h`).
const PTY_MAJOR: u32 = 136;
/// Who holds an object takes one reading. The second one follows at once.
const QUIET_WINDOW: Duration = Duration::from_millis(1);

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldersOptions {
    /// A descriptor of a process.
    Descriptor {
        /// The process.
        pid: u32,
        /// The descriptor.
        fd: u32,
    },
    /// A file, a FIFO, a device or a UNIX socket.
    Path(PathBuf),
    /// A port of TCP or UDP.
    Port(u16),
}

/// Reads the machine once and answers.
///
/// # Errors
/// When what was asked about does not exist, or `/proc` cannot be read.
pub fn find_holders(options: &HoldersOptions) -> anyhow::Result<HoldersReport> {
    let query = match options {
        HoldersOptions::Descriptor { pid, fd } => HolderQuery::Descriptor { pid: *pid, fd: *fd },
        HoldersOptions::Path(path) => of_path(path).with_context(|| format!("{}", path.display()))?,
        HoldersOptions::Port(port) => HolderQuery::Port(*port),
    };
    let config = DiagnoseOptions { scope: DiagnoseScope::Machine, quiet_window: QUIET_WINDOW, stacks: false };
    Ok(holders(&diagnose::evidence(&config)?, &query)?)
}

fn of_path(path: &Path) -> std::io::Result<HolderQuery> {
    let metadata = path.metadata()?;
    let kind = metadata.file_type();
    if kind.is_socket() {
        // The kernel knows the name that was bound: relative, absolute, or through a link.
        let bytes = |path: &Path| ByteString(path.as_os_str().as_bytes().to_vec());
        let absolute = [std::path::absolute(path), path.canonicalize()].into_iter().flatten();
        return Ok(HolderQuery::UnixPath(
            std::iter::once(path.to_owned()).chain(absolute).map(|it| bytes(&it)).collect(),
        ));
    }
    let (dev, ino) = (metadata.dev(), metadata.ino());
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    Ok(HolderQuery::Object(match kind {
        _ if kind.is_fifo() => ObjectId::Fifo { dev, ino },
        _ if kind.is_char_device() && major == PTY_MAJOR => {
            ObjectId::Pty { index: minor, side: PtySide::Slave }
        }
        _ if kind.is_char_device() || kind.is_block_device() => ObjectId::Device { major, minor },
        _ => ObjectId::File { dev, ino },
    }))
}
