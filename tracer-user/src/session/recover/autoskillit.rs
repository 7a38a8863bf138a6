//! AutoSkillit's sessions, converted to the tracer's own format.

use crate::core::record::SessionId;
use crate::core::record::sidecar::{Enrollment, ForeignEnrollment, Owner, SIDECAR_SCHEMA};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use crate::store::SessionFiles;
use jiff::Timestamp;

/// A sidecar of schema 1 or 2 as one of schema 3. What it does not contain stays unknown.
pub fn enrollment(foreign: &ForeignEnrollment, files: &SessionFiles) -> Enrollment {
    let id = |text: &str| SessionId::parse(text).is_ok();
    let session_id =
        foreign.session_id.clone().filter(|text| id(text)).unwrap_or_else(|| generated_id(foreign, files));
    Enrollment {
        schema_version: SIDECAR_SCHEMA,
        session_id,
        labels: foreign.labels.clone(),
        boot_id: foreign.boot_id.clone(),
        pid: foreign.pid,
        starttime_ticks: foreign.starttime_ticks,
        start_boottime_ns: None,
        pidfd_ino: None,
        pidns_ino: None,
        ns_pid: None,
        comm: foreign.comm.clone(),
        cmdline: Vec::new(),
        cwd: None,
        uid: None,
        enrolled_at: foreign.enrolled_at.clone().unwrap_or_else(|| "1970-01-01T00:00:00.000000Z".to_owned()),
        owner: Owner { pid: 0, starttime_ticks: None, version: "autoskillit".to_owned() },
        bpf_pins: None,
        interval_ms: 0,
        log_dir: None,
    }
}

/// An id that is the same whenever the same session is recovered, so that it is never filed twice.
fn generated_id(foreign: &ForeignEnrollment, files: &SessionFiles) -> String {
    let safe = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "-");
    let when = foreign.enrolled_at.as_deref().map_or_else(|| "unknown".to_owned(), safe);
    let mut id = format!("crashed_{}_{when}", safe(files.stem()));
    id.truncate(90);
    id
}

/// The name that most snapshots have, the first of them where several are as frequent. A sidecar of schema 1
/// does not contain the name.
pub fn usual_name(snapshots: &[(Timestamp, ProcSnapshot)]) -> Option<ByteString> {
    let mut counts: Vec<(&ByteString, usize)> = Vec::new();
    for comm in snapshots.iter().filter_map(|(_, snapshot)| snapshot.comm.as_ref()) {
        match counts.iter_mut().find(|(name, _)| *name == comm) {
            Some((_, count)) => *count += 1,
            None => counts.push((comm, 1)),
        }
    }
    // `max_by_key` returns the last of several equal ones.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
}
