//! Files that a session's processes hold and that outlive them: the files of UNIX sockets that they are bound
//! to, and open files in `/dev/shm`.
//!
//! They are looked for where a sample is taken, so they cost the session's processes nothing. A file that was
//! held between two samples only is missed.

use std::collections::{HashMap, HashSet};

use rustix::fs::FileType;

use crate::core::identity::ProcessId;
use crate::core::leftover::HeldFile;
use crate::core::snapshot::{ProcSnapshot, ProcState};
use crate::core::text::ByteString;
use crate::procfs_view::net::sockets::{self, Sockets};
use crate::procfs_view::proc_dir::{Decimal, OpenRoot, PathBase};
use crate::procfs_view::{FileId, ProcRoot, table, text};

/// Processes with more descriptors are passed over.
const MAX_FDS: usize = 4096;
/// Files that are remembered, at most.
const MAX_FILES: usize = 4096;
/// Where shared memory is.
const SHARED_MEMORY: &[u8] = b"/dev/shm/";

/// Looks for the files, and remembers which were found.
#[derive(Debug)]
pub struct HeldFiles {
    root: ProcRoot,
    /// Descriptors and CPU time of each process when it was looked at: one that has not run has opened
    /// nothing since.
    looked: HashMap<ProcessId, (Option<u64>, Option<u64>)>,
    /// Sockets that need not be looked at again, by inode.
    sockets: HashSet<u64>,
    files: HashSet<FileId>,
}

impl HeldFiles {
    /// Reads below a root.
    pub fn new(root: ProcRoot) -> Self {
        Self { root, looked: HashMap::new(), sockets: HashSet::new(), files: HashSet::new() }
    }

    /// The files that the processes of a sample hold and that were not found before.
    pub fn look(&mut self, snapshots: &[ProcSnapshot]) -> Vec<HeldFile> {
        let mut found = Vec::new();
        let Ok(opened) = self.root.open() else { return found };
        let mut table = None;
        let mut looked = HashMap::new();
        for snapshot in snapshots.iter().filter(|it| !it.state.is_some_and(ProcState::has_ended)) {
            let process = snapshot.process();
            let now = (snapshot.fd_count, snapshot.cpu_ns);
            if self.looked.get(&process) != Some(&now) && self.files.len() < MAX_FILES {
                self.process(&opened, process, &mut table, &mut found);
            }
            looked.insert(process, now);
        }
        self.looked = looked;
        if self.sockets.len() > 16 * MAX_FILES {
            self.sockets.clear();
        }
        found
    }

    fn process(
        &mut self,
        opened: &OpenRoot,
        process: ProcessId,
        table: &mut Option<Sockets>,
        found: &mut Vec<HeldFile>,
    ) -> Option<()> {
        let own = opened.process(process.tgid).ok()?;
        // The directory stays bound to the process that had the number when it was opened.
        if table::row(&self.root, process.tgid).ok()??.process != process {
            return None;
        }
        let fds = own.sub("fd").ok()?;
        for fd in fds.numbers().ok().filter(|numbers| numbers.len() <= MAX_FDS)? {
            let Ok(link) = fds.link(Decimal::new(fd).as_str(), &mut [0; 256]) else { continue };
            let (path, file, mode, kind) = if let Some(inode) = text::inode_in_link(&link, "socket") {
                if self.sockets.contains(&inode) {
                    continue;
                }
                let table = table.get_or_insert_with(|| sockets::here(opened));
                let Some(facts) = table.unix.as_ref().and_then(|unix| unix.get(&inode)) else {
                    self.sockets.insert(inode);
                    continue;
                };
                // It may be bound later.
                let Some(path) = &facts.path else { continue };
                self.sockets.insert(inode);
                let absolute = path.as_bytes().starts_with(b"/");
                let base = if absolute { PathBase::Root } else { PathBase::WorkingDirectory };
                let Some(stat) = own.follow(base, path.as_bytes()) else { continue };
                // The kernel names the inode that the socket is bound to. Another file may have its name.
                if table.files.get(&inode).is_none_or(|ino| *ino != stat.ino as u32) {
                    continue;
                }
                let file = FileId { dev: stat.dev, ino: stat.ino };
                (path.clone(), file, stat.mode, FileType::Socket)
            } else if link.starts_with(SHARED_MEMORY) {
                let Ok(stat) = fds.stat(Decimal::new(fd).as_str()) else { continue };
                (ByteString(link), FileId::from(&stat), stat.stx_mode.into(), FileType::RegularFile)
            } else {
                continue;
            };
            if FileType::from_raw_mode(mode) == kind && self.files.insert(file) {
                found.push(HeldFile { pid: process.tgid, path, dev: file.dev, ino: file.ino });
            }
        }
        Some(())
    }
}
