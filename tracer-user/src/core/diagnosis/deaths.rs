//! Children that ended, for the classes that judge waits for their results.

use super::view::View;
use crate::core::evidence::{ByteString, ExitSeen};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::signal::Signal;

/// A child that ended.
#[derive(Clone, Debug)]
pub struct Death {
    /// The child.
    pub process: ProcessId,
    /// Last comm.
    pub comm: ByteString,
    /// Its exit status; `None` when it is unknown.
    pub status: Option<WaitStatus>,
    /// When it ended, CLOCK_BOOTTIME nanoseconds; `None` when that is unknown.
    pub at_boot_ns: Option<u64>,
    /// A shortage of memory ended it.
    pub out_of_memory: bool,
    /// Its parent has collected it.
    pub collected: bool,
}

impl Death {
    /// It ended by a signal or with a status other than 0.
    pub fn is_failure(&self) -> bool {
        self.status.is_some_and(|status| status.exit_code() != Some(0))
    }

    /// `ended with status 1, 12.0 s ago`, `was ended by SIGKILL`.
    pub fn words(&self, now_boot_ns: u64) -> String {
        let how = match self.status {
            Some(status) => match (status.exit_code(), status.signal()) {
                (Some(code), _) => format!("ended with status {code}"),
                (_, Some(_)) if self.out_of_memory => "was killed for lack of memory".to_owned(),
                (_, Some(signal)) => format!("was ended by {}", Signal(signal.into()).name()),
                _ => "ended".to_owned(),
            },
            None => "ended".to_owned(),
        };
        match self.at_boot_ns {
            Some(at) => {
                format!("{how}, {} ago", crate::core::text::duration(now_boot_ns.saturating_sub(at)))
            }
            None => how,
        }
    }
}

/// `status 1`, `SIGKILL`.
pub fn status(status: WaitStatus) -> String {
    match (status.exit_code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (_, Some(signal)) => Signal(signal.into()).name(),
        _ => "unknown".to_owned(),
    }
}

/// The children of a process that are known to have ended, oldest first: zombies, and those in the kernel's
/// events.
pub fn deaths(view: &View<'_>, parent: usize) -> Vec<Death> {
    let id = view.process(parent).id;
    ended(view, parent, |exit| exit.parent == Some(id))
}

/// Like [`deaths`], with the descendants whose ancestors up to the process have ended too: programs that a
/// shell started in the background for it.
pub fn deaths_of_line(view: &View<'_>, parent: usize) -> Vec<Death> {
    let id = view.process(parent).id;
    let forks = view.evidence().history.as_ref().map(|history| history.forks.as_slice()).unwrap_or_default();
    let parent_of = |child: ProcessId| forks.iter().find(|fork| fork.child == child).map(|fork| fork.parent);
    let alive = |process: ProcessId| {
        let at = view.graph.index.by_tgid(process.tgid).map(|at| view.process(at));
        at.is_some_and(|found| found.id == process && !found.zombie)
    };
    let of_line = |process: ProcessId| {
        let mut ancestor = parent_of(process);
        for _ in 0..LINE {
            match ancestor {
                Some(found) if found == id => return true,
                Some(found) if !alive(found) => ancestor = parent_of(found),
                _ => return false,
            }
        }
        false
    };
    ended(view, parent, |exit| exit.parent == Some(id) || of_line(exit.process))
}

/// The most generations that are followed.
const LINE: usize = 16;

fn ended(view: &View<'_>, parent: usize, counts: impl Fn(&ExitSeen) -> bool) -> Vec<Death> {
    let history = view.evidence().history.as_ref();
    let mut out: Vec<Death> = history
        .into_iter()
        .flat_map(|history| &history.exits)
        .filter(|exit| counts(exit))
        .map(|exit| Death {
            process: exit.process,
            comm: exit.comm.clone(),
            status: exit.status,
            at_boot_ns: Some(exit.at_boot_ns),
            out_of_memory: exit.oom == Some(true),
            collected: true,
        })
        .collect();
    for child in view.graph.index.children(parent).iter().map(|at| view.process(*at)).filter(|c| c.zombie) {
        match out.iter_mut().find(|death| death.process == child.id) {
            Some(death) => {
                death.collected = false;
                death.status = death.status.or(child.exit_status);
            }
            None => out.push(Death {
                process: child.id,
                comm: child.comm.clone(),
                status: child.exit_status,
                at_boot_ns: None,
                out_of_memory: false,
                collected: false,
            }),
        }
    }
    out.sort_by_key(|death| (death.at_boot_ns.unwrap_or(u64::MAX), death.process));
    out
}
