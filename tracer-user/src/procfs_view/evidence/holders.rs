//! Which processes hold each object, and through which thread their fds can be borrowed.

use std::collections::HashMap;

use crate::core::evidence::{Access, ObjectId, Process, Thread, ThreadState};
use crate::procfs_view::proc_dir::OpenRoot;

/// An fd of a process that refers to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The process.
    pub tgid: u32,
    /// Number of the fd.
    pub fd: u32,
    /// How it was opened.
    pub access: Access,
}

/// The holders of each object.
pub(crate) type Holders = HashMap<ObjectId, Vec<Holder>>;

/// An fd, named through a thread that can be asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskFd {
    /// The thread's tid: the process's leader, or where that is dead and has no fds any more, a living
    /// thread.
    pub task: u32,
    /// Number of the fd.
    pub fd: u32,
}

/// Through which thread the fds of each process can be borrowed.
#[derive(Debug)]
pub(crate) struct BorrowTasks {
    /// By tgid, for processes whose leader is dead: a thread that still has the fds.
    survivors: HashMap<u32, u32>,
    /// The processes are this machine's: only then do their pids mean something to system calls.
    is_system: bool,
}

impl BorrowTasks {
    /// Finds them, for processes that were read below a root.
    pub(crate) fn of(processes: &[Process], root: &OpenRoot) -> Self {
        let dead = |thread: &Thread| thread.state == ThreadState::Zombie;
        let leaderless = processes.iter().filter(|p| p.threads.iter().any(|t| t.tid == p.id.tgid && dead(t)));
        let survivor = |p: &Process| Some((p.id.tgid, p.threads.iter().find(|t| !dead(t))?.tid));
        Self { survivors: leaderless.filter_map(survivor).collect(), is_system: root.is_system() }
    }

    /// An fd of a process as it can be borrowed; `None` where no fd can be.
    pub(crate) fn task_fd(&self, tgid: u32, fd: u32) -> Option<TaskFd> {
        let task = self.survivors.get(&tgid).copied().unwrap_or(tgid);
        self.is_system.then_some(TaskFd { task, fd })
    }
}

/// The holders of every object that any of the processes has open.
pub(crate) fn holders(processes: &[Process]) -> Holders {
    let mut holders = Holders::new();
    for process in processes {
        for fd in process.fds.iter().flatten().filter(|fd| fd.object != ObjectId::Unknown) {
            let holder = Holder { tgid: process.id.tgid, fd: fd.number, access: fd.access };
            holders.entry(fd.object).or_default().push(holder);
        }
    }
    holders
}
