//! The plan that lets a stalled run continue: the full pipes of its hangs, enlarged in place. It is made from
//! the evidence. The session executes it.

use super::case::Case;
use super::model::RelieveStep;
use super::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::Op;

/// Linux' default for `fs.pipe-max-size`, bytes.
const DEFAULT_LIMIT: u64 = 1 << 20;

/// The pipes on which threads of these cases are blocked, each once.
pub(super) fn plan<'c>(view: &View<'_>, cases: impl Iterator<Item = &'c Case>) -> Vec<RelieveStep> {
    let limit = view.evidence().host.pipe_max_size.unwrap_or(DEFAULT_LIMIT);
    let mut out: Vec<RelieveStep> = Vec::new();
    for key in cases.flat_map(|case| case.waiters.iter().chain(&case.members)) {
        for alternative in view.graph.node(*key).alternatives.iter().filter(|a| a.op == Op::Write) {
            let (Some(ObjectId::Pipe { ino }), Some(fd)) = (alternative.object, alternative.fd) else {
                continue;
            };
            if out.iter().any(|step| step.pipe_ino == ino) {
                continue;
            }
            let process = view.process(key.process).id;
            let facts = view.graph.index.pipe(&ObjectId::Pipe { ino });
            out.push(RelieveStep {
                pipe_ino: ino,
                pid: process.tgid,
                start_ticks: process.start_ticks,
                fd,
                from_bytes: facts.and_then(|facts| facts.capacity_bytes),
                to_bytes: limit,
            });
        }
    }
    out
}
