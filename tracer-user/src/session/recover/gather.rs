//! The evidence about one session.

use super::source::KernelRecord;
use super::{RecoverConfig, autoskillit, pin_name};
use crate::core::gates::{BootMatch, GateEvidence, NamespaceMatch, OwnerLock, RootFate, SidecarState};
use crate::core::record::ExitSource;
use crate::core::record::sidecar::{Enrollment, Sidecar};
use crate::procfs_view::is_written;
use crate::session::problems::Problems;
use crate::session::root_fate::{ProcessRef, probe};
use crate::store::fsops::{OpenError, OwnedDir};
use crate::store::{Claim, ClaimError, Layout, SessionFiles};
use rustix::fd::AsFd;
use std::time::Duration;

/// A session, and everything that recovery knows of it.
pub struct RecoveryCase {
    /// The names of its files.
    pub files: SessionFiles,
    /// The facts that the gates need.
    pub evidence: GateEvidence,
    /// Its sidecar, when this process holds its lock.
    pub claim: Option<Claim>,
    /// Its enrollment, converted from an older schema where necessary; `None` when it cannot be read.
    pub enrollment: Option<Enrollment>,
    /// The kernel's record of it; `None` without kernel events.
    pub record: Option<Box<dyn KernelRecord>>,
    /// What could not be read.
    pub problems: Problems,
}

/// Gathers the evidence about one session, and claims it if its owner is gone. `None`: another process has
/// just finished it.
pub fn gather(config: &RecoverConfig, files: SessionFiles) -> Option<RecoveryCase> {
    let dir = config.traces.dir();
    let mut case = RecoveryCase {
        evidence: GateEvidence {
            age: age(config, dir, &files),
            lock: OwnerLock::Unknown,
            sidecar: SidecarState::Valid,
            boot: BootMatch::Unknown,
            namespace: NamespaceMatch::Unknown,
            root: RootFate::Unknown("not examined".to_owned()),
        },
        files,
        claim: None,
        enrollment: None,
        record: None,
        problems: Problems::default(),
    };
    match Claim::take(dir, case.files.clone(), config.traces.uid()) {
        Ok(claim) => {
            case.evidence.lock = match config.layout {
                Layout::Own => OwnerLock::Ours,
                Layout::AutoSkillit => trace_owner(config, dir, &case.files),
            };
            case.claim = Some(claim);
        }
        Err(ClaimError::Held) => case.evidence.lock = OwnerLock::Held,
        Err(ClaimError::Gone) => {
            // A trace without a sidecar has no known owner. Without either, another process has just finished
            // it.
            dir.stat_name(case.files.trace()).ok().flatten()?;
            case.evidence.sidecar = SidecarState::Absent;
            return Some(case);
        }
        Err(ClaimError::Unsafe(why)) => {
            case.evidence.sidecar = SidecarState::Unsafe(why.to_string());
            return Some(case);
        }
        Err(ClaimError::Io(error)) => {
            case.evidence.sidecar = SidecarState::Unreadable(error.to_string());
            return Some(case);
        }
    }
    // Of a session that is not claimed, only the sidecar is read: it was complete before it became visible.
    let sidecar = match &case.claim {
        Some(claim) => claim.read(),
        None => Claim::read_unclaimed(dir, &case.files, config.traces.uid()),
    };
    match sidecar {
        Ok(Sidecar::Own(enrollment)) => case.enrollment = Some(*enrollment),
        Ok(Sidecar::Foreign(foreign)) => {
            case.enrollment = Some(autoskillit::enrollment(&foreign, &case.files));
        }
        Err(error) => case.evidence.sidecar = SidecarState::Unreadable(error.to_string()),
    }
    examine_root(config, &mut case);
    Some(case)
}

/// Whether the owner of files without a lock lives: it has the trace open for writing.
fn trace_owner(config: &RecoverConfig, dir: &OwnedDir, files: &SessionFiles) -> OwnerLock {
    let trace = match dir.open_file(files.trace(), false, config.traces.uid()) {
        Ok(trace) => trace,
        // There is nothing that an owner could write to.
        Err(OpenError::Missing) => return OwnerLock::Ours,
        Err(_) => return OwnerLock::Unknown,
    };
    match is_written(trace.as_fd()) {
        Ok(true) => OwnerLock::TraceOpen,
        Ok(false) => OwnerLock::Ours,
        Err(_) => OwnerLock::Unknown,
    }
}

fn examine_root(config: &RecoverConfig, case: &mut RecoveryCase) {
    let Some(enrollment) = &case.enrollment else { return };
    case.evidence.boot = match (&enrollment.boot_id, &config.here.boot_id) {
        (Some(then), Some(now)) if then == now => BootMatch::Same,
        (Some(_), Some(_)) => BootMatch::Other,
        _ => BootMatch::Unknown,
    };
    case.evidence.namespace = match (enrollment.pidns_ino, config.here.pidns_ino) {
        (Some(then), Some(now)) if then == now => NamespaceMatch::Same,
        (Some(_), Some(_)) => NamespaceMatch::Other,
        _ if config.layout == Layout::AutoSkillit => NamespaceMatch::Unsaid,
        _ => NamespaceMatch::Unknown,
    };
    if case.evidence.boot == BootMatch::Other {
        case.evidence.root = RootFate::Unknown("of an earlier boot".to_owned());
        return;
    }
    if let Some(pins) = &enrollment.bpf_pins {
        match config.kernel.record(pin_name(pins)) {
            Ok(record) => case.record = record,
            Err(error) => {
                case.problems.add(format_args!("the kernel's record of {}: {error}", case.files.stem()));
            }
        }
    }
    let recorded = case.record.as_mut().and_then(|record| {
        let root = enrollment.root()?;
        record.fates().into_iter().find(|fate| fate.process == root)
    });
    case.evidence.root = match recorded {
        Some(fate) => match fate.ended {
            Some((boot_ns, exit)) => {
                RootFate::Ended { status: exit.status, boot_ns: Some(boot_ns), source: ExitSource::FateMap }
            }
            None => RootFate::Runs { source: ExitSource::FateMap },
        },
        // No kernel events, or no room for it in the record.
        None => {
            let root = ProcessRef {
                pid: enrollment.pid,
                start_ticks: enrollment.starttime_ticks,
                pidfd_ino: enrollment.pidfd_ino,
            };
            probe(&config.here.proc, root)
        }
    };
}

/// How long ago something was last written; `None` when the clocks contradict each other.
fn age(config: &RecoverConfig, dir: &OwnedDir, files: &SessionFiles) -> Option<Duration> {
    let stat = |name| dir.stat_name(name).ok().flatten();
    let last = stat(files.trace()).or_else(|| stat(files.sidecar()))?;
    let nanos = u32::try_from(last.st_mtime_nsec).unwrap_or(0);
    let written = jiff::Timestamp::new(last.st_mtime, i32::try_from(nanos).unwrap_or(0)).ok()?;
    Duration::try_from(config.here.anchor.wall.duration_since(written)).ok()
}
