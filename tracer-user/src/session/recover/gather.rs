//! The evidence of one session.

use super::probe::{ProcessRef, probe};
use super::source::KernelRecord;
use super::{RecoverConfig, autoskillit, pin_name};
use crate::core::gates::{Boot, Enrolled, Evidence, Lock, Namespace, RootFate};
use crate::core::record::ExitSource;
use crate::core::record::sidecar::{Enrollment, Sidecar};
use crate::store::fsops::OwnedDir;
use crate::store::{Claim, ClaimError, Layout, SessionFiles};
use std::time::Duration;

/// A session, looked at.
pub struct Found {
    /// Its names.
    pub files: SessionFiles,
    /// What is known of it.
    pub evidence: Evidence,
    /// Ours, when its lock is.
    pub claim: Option<Claim>,
    /// Its sidecar, in our schema; made up from an older one where it has to be.
    pub enrollment: Option<Enrollment>,
    /// The kernel's record of it.
    pub record: Option<Box<dyn KernelRecord>>,
    /// What went wrong while looking.
    pub problems: Vec<String>,
}

/// Looks at one session; `None` when another process has just finished it.
pub fn gather(config: &RecoverConfig, files: SessionFiles) -> Option<Found> {
    let dir = config.traces.dir();
    let mut found = Found {
        evidence: Evidence {
            age: age(config, dir, &files),
            lock: Lock::Unknown,
            enrollment: Enrolled::Yes,
            boot: Boot::Unknown,
            namespace: Namespace::Unknown,
            root: RootFate::Unknown("not looked for".to_owned()),
        },
        files,
        claim: None,
        enrollment: None,
        record: None,
        problems: Vec::new(),
    };
    match Claim::take(dir, found.files.clone(), config.traces.uid()) {
        Ok(claim) => {
            found.evidence.lock = Lock::Ours;
            found.claim = Some(claim);
        }
        Err(ClaimError::Held) => found.evidence.lock = Lock::Held,
        Err(ClaimError::Gone) => {
            // A trace without a sidecar is nobody's; without either, another process has just finished it.
            dir.stat_name(found.files.trace()).ok().flatten()?;
            found.evidence.enrollment = Enrolled::No;
            return Some(found);
        }
        Err(ClaimError::Unsafe(why)) => {
            found.evidence.enrollment = Enrolled::Unsafe(why.to_string());
            return Some(found);
        }
        Err(ClaimError::Io(error)) => {
            found.evidence.enrollment = Enrolled::Unreadable(error.to_string());
            return Some(found);
        }
    }
    // Of a session that is not ours only what its owner wrote before anybody could see it.
    let sidecar = match &found.claim {
        Some(claim) => claim.read(),
        None => Claim::read_unclaimed(dir, &found.files, config.traces.uid()),
    };
    match sidecar {
        Ok(Sidecar::Own(enrollment)) => found.enrollment = Some(*enrollment),
        Ok(Sidecar::Foreign(foreign)) => {
            found.enrollment = Some(autoskillit::enrollment(&foreign, &found.files));
        }
        Err(error) => found.evidence.enrollment = Enrolled::Unreadable(error.to_string()),
    }
    look_at_root(config, &mut found);
    Some(found)
}

fn look_at_root(config: &RecoverConfig, found: &mut Found) {
    let Some(enrollment) = &found.enrollment else { return };
    found.evidence.boot = match (&enrollment.boot_id, &config.here.boot_id) {
        (Some(then), Some(now)) if then == now => Boot::Same,
        (Some(_), Some(_)) => Boot::Other,
        _ => Boot::Unknown,
    };
    found.evidence.namespace = match (enrollment.pidns_ino, config.here.pidns_ino) {
        (Some(then), Some(now)) if then == now => Namespace::Same,
        (Some(_), Some(_)) => Namespace::Other,
        _ if config.layout == Layout::AutoSkillit => Namespace::Unsaid,
        _ => Namespace::Unknown,
    };
    if found.evidence.boot == Boot::Other {
        found.evidence.root = RootFate::Unknown("of an earlier boot".to_owned());
        return;
    }
    if let Some(pins) = &enrollment.bpf_pins {
        match config.kernel.record(pin_name(pins)) {
            Ok(record) => found.record = record,
            Err(why) => found.problems.push(format!("the kernel's record of {} : {why}", found.files.stem())),
        }
    }
    let recorded = found.record.as_mut().and_then(|record| {
        let root = enrollment.root()?;
        record.fates().into_iter().find(|fate| fate.process == root)
    });
    found.evidence.root = match recorded {
        Some(fate) => match fate.ended {
            Some((boot_ns, exit)) => {
                RootFate::Ended { status: exit.status, boot_ns: Some(boot_ns), source: ExitSource::FateMap }
            }
            None => RootFate::Runs { source: ExitSource::FateMap },
        },
        // No kernel events, or the record had no room for it.
        None => {
            let wanted = ProcessRef {
                pid: enrollment.pid,
                start_ticks: enrollment.starttime_ticks,
                pidfd_ino: enrollment.pidfd_ino,
            };
            probe(&config.here.proc, wanted)
        }
    };
}

/// How long ago something was last written; `None` when the clocks make no sense of it.
fn age(config: &RecoverConfig, dir: &OwnedDir, files: &SessionFiles) -> Option<Duration> {
    let stat = |name| dir.stat_name(name).ok().flatten();
    let last = stat(files.trace()).or_else(|| stat(files.sidecar()))?;
    let nanos = u32::try_from(last.st_mtime_nsec).unwrap_or(0);
    let written = jiff::Timestamp::new(last.st_mtime, i32::try_from(nanos).unwrap_or(0)).ok()?;
    Duration::try_from(config.here.anchor.wall.duration_since(written)).ok()
}
