//! Children that ended: what a wait for their results has to know.

use super::view::View;
use crate::core::evidence::ByteString;
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::signal::Signal;

/// A child that ended.
#[derive(Clone, Debug)]
pub struct Death {
    /// Which.
    pub process: ProcessId,
    /// Last comm.
    pub comm: ByteString,
    /// How; `None` when that is not known.
    pub status: Option<WaitStatus>,
    /// When, CLOCK_BOOTTIME nanoseconds; `None` when that is not known.
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

/// The children of a process that are known to have ended, oldest first: zombies, and what the kernel's events say.
pub fn deaths(view: &View<'_>, parent: usize) -> Vec<Death> {
    let id = view.process(parent).id;
    let history = view.evidence().history.as_ref();
    let mut out: Vec<Death> = history
        .into_iter()
        .flat_map(|history| &history.exits)
        .filter(|exit| exit.parent == Some(id))
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
