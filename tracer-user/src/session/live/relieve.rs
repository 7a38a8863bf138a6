//! Relieves a stalled run: the full pipes that a diagnosis names are enlarged in place.

use crate::core::diagnosis::{Diagnosis, Role};
use crate::core::identity::ProcessId;
use crate::procfs_view::machine::MachineView;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::pidfd::PidFd;
use crate::signals::relieve;

/// The kernel's default for `fs.pipe-max-size`, bytes (`pipe_max_size`, fs/pipe.c).
const PIPE_MAX_SIZE: u64 = 1 << 20;

/// Enlarges the full pipes of the hangs in a diagnosis. Returns a sentence about each: what was done, or why
/// not.
pub fn relieve(diagnosis: &Diagnosis) -> Vec<String> {
    let limit = MachineView::system().sysctl("fs/pipe-max-size").unwrap_or(PIPE_MAX_SIZE);
    let mut sentences = Vec::new();
    for finding in diagnosis.findings.iter().filter(|finding| finding.verdict.is_hang()) {
        let waiters: Vec<u32> = finding
            .processes
            .iter()
            .filter(|party| party.role == Role::Waiter)
            .map(|party| party.pid)
            .collect();
        for resource in &finding.resources {
            let Some(ino) = inode_of_pipe(&resource.id) else { continue };
            let Some(writer) = resource.writers.iter().find(|end| waiters.contains(&end.pid)) else {
                continue;
            };
            let process = ProcessId { tgid: writer.pid, start_ticks: writer.start_ticks };
            sentences.push(match enlarge(process, writer.fd, ino, limit) {
                Ok(done) => format!(
                    "enlarged {} from {} to {} bytes so that pid {} can continue; this does not remove the cause",
                    resource.id, done.before, done.after, writer.pid
                ),
                Err(error) => format!("{} cannot be enlarged: {error}", resource.id),
            });
        }
    }
    if sentences.is_empty() {
        sentences.push(
            "there is no full pipe to enlarge: this hang can only be reported or interrupted".to_owned(),
        );
    }
    sentences
}

fn enlarge(process: ProcessId, fd: u32, ino: u64, limit: u64) -> anyhow::Result<relieve::PipeEnlargement> {
    let root = ProcRoot::system();
    let process = PidFd::open(process, |tgid| table::start_ticks(&root, tgid))?;
    Ok(relieve::relieve(&process, fd, ino, limit)?)
}

/// The inode in `pipe:[inode]`; `None` for another resource.
fn inode_of_pipe(id: &str) -> Option<u64> {
    id.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::inode_of_pipe;

    #[test]
    fn the_inode_of_a_pipe_is_parsed() {
        assert_eq!(inode_of_pipe("pipe:[42]"), Some(42));
        assert_eq!(inode_of_pipe("socket:[42]"), None);
        assert_eq!(inode_of_pipe("pipe:[]"), None);
    }
}
