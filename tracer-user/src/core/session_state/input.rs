//! What a session learns, as ordered inputs of the fold.

use crate::core::event::{Event, Exit, IdentityExtras};
use crate::core::identity::ProcessId;
use crate::core::record::{EndReason, ExitSource, ForkLine, HeaderLine, LostPlace, Origin};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;

/// One thing that a session learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The session begins, or continues with another owner.
    Header(Box<HeaderLine>),
    /// A process joined without a fork event: the root, or a process found by attaching or polling.
    Joined(Join),
    /// A kernel event. Its own time is used.
    Kernel(Event),
    /// A process ended, learned from something else than a kernel event.
    Ended(Box<Exit>, ExitSource),
    /// All processes of the session were sampled.
    Sample(SampleSet),
    /// Something is missing from the trace.
    Lost {
        /// How many events, snapshots or lines.
        count: u64,
        /// Where they were lost.
        place: LostPlace,
    },
    /// A diagnosis, in the schema `tracer.diagnosis/1`.
    Diagnosis(serde_json::Value),
    /// A remark of the tracer.
    Note {
        /// A short name for programs, such as `adopted`.
        code: String,
        /// A sentence for people.
        text: String,
    },
    /// The session is over.
    End(EndReason),
}

/// A process that joined without a fork event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The process.
    pub process: ProcessId,
    /// How it joined.
    pub origin: Origin,
    /// Its parent; `None` when unknown.
    pub parent: Option<ProcessId>,
    /// Further facts that identify it.
    pub extras: IdentityExtras,
    /// Its name; `None` when unknown.
    pub comm: Option<ByteString>,
}

impl Join {
    /// A process of which only its identity is known.
    pub fn new(process: ProcessId, origin: Origin) -> Self {
        Self { process, origin, parent: None, extras: IdentityExtras::default(), comm: None }
    }
}

impl From<Join> for ForkLine {
    fn from(join: Join) -> Self {
        Self {
            process: join.process.into(),
            origin: join.origin,
            parent: join.parent.map(Into::into),
            parent_tid: None,
            start_boottime_ns: join.extras.start_boottime_ns,
            pidns_ino: join.extras.pidns_ino,
            ns_pid: join.extras.ns_pid,
            pidfd_ino: join.extras.pidfd_ino,
            comm: join.comm,
        }
    }
}

/// The snapshots of one sample of all processes of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleSet {
    /// The processes that could be read. Members of the session that are absent count as unread.
    pub snapshots: Vec<ProcSnapshot>,
}
