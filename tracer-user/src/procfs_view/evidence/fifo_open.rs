//! Which FIFO a blocked `open` waits at.

use rustix::fs::FileType;

use crate::core::evidence::{ObjectId, Thread, Wait};
use crate::procfs_view::proc_dir::{PathBase, ProcDir};

/// Adds the FIFO to the wait of a thread that is blocked in opening one.
///
/// The path is followed only where the thread certainly sleeps at a FIFO (`wait_for_partner` and `fifo_open`,
/// fs/pipe.c): following a path to a file server that does not answer would hang the tracer too.
pub(crate) fn find_fifo(process: &ProcDir, thread: &mut Thread) {
    let Wait::Open { path: Some(path), object, .. } = &mut thread.wait else { return };
    let in_channel =
        thread.wchan.as_deref().is_some_and(|name| name.contains("partner") || name.contains("fifo"));
    let on_stack = thread.stack.iter().flatten().any(|name| name.contains("fifo_open"));
    if !in_channel && !on_stack {
        return;
    }
    let dirfd =
        thread.syscall.as_ref().filter(|s| s.name.as_deref() != Some("open")).map(|s| s.args[0] as i32);
    // A relative path starts at the working directory or at the directory fd that the call named.
    let base = match (path.as_bytes().first(), dirfd.map(u32::try_from)) {
        (Some(b'/'), _) => PathBase::Root,
        (_, Some(Ok(fd))) => PathBase::Fd(fd),
        _ => PathBase::WorkingDirectory,
    };
    if let Some(stat) = process.follow(base, path.as_bytes())
        && FileType::from_raw_mode(stat.mode) == FileType::Fifo
    {
        *object = Some(ObjectId::Fifo { dev: stat.dev, ino: stat.ino });
    }
}
