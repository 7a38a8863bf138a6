//! Relieves a stalled run: the full pipes that a diagnosis names are enlarged in place.

use crate::core::diagnosis::{Diagnosis, RelieveStep};
use crate::core::text::grouped;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::pidfd::PidFd;
use crate::signals::relieve;

/// Carries out a diagnosis's plan. Returns a sentence about each pipe: what was done, or why not.
pub fn relieve(diagnosis: &Diagnosis) -> Vec<String> {
    if diagnosis.relieve.is_empty() {
        return vec![
            "there is no full pipe to enlarge: this hang can only be reported or interrupted".to_owned(),
        ];
    }
    let carried_out = |step: &RelieveStep| match enlarge(step) {
        Ok(done) => format!(
            "enlarged pipe:[{}] from {} to {} bytes so that pid {} can continue; this does not remove the cause",
            step.pipe_ino,
            grouped(done.before),
            grouped(done.after),
            step.pid
        ),
        Err(error) => format!("pipe:[{}] cannot be enlarged: {error}", step.pipe_ino),
    };
    diagnosis.relieve.iter().map(carried_out).collect()
}

fn enlarge(step: &RelieveStep) -> Result<relieve::PipeEnlargement, String> {
    let root = ProcRoot::system();
    let process = PidFd::open(step.process(), |tgid| table::start_ticks(&root, tgid))
        .map_err(|error| error.to_string())?;
    relieve::relieve(&process, step.fd, step.pipe_ino, step.to_bytes).map_err(|error| error.to_string())
}
