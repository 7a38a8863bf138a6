//! Who holds an object: the other end of a pipe, socket or terminal, and everything that shares an end.
//!
//! A pipe ends for its reader when the last write end is closed, and a port is free when its last socket is.
//! This lists what stands in the way, from the evidence of one moment.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::evidence::{Evidence, Fd, ObjectFacts, ObjectId, Process, PtySide};
use super::identity::NS_PER_TICK;
use super::redact;
use super::text::{ByteString, printable};

/// What `holders` is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderQuery {
    /// A descriptor of a process.
    Descriptor {
        /// The process.
        pid: u32,
        /// The descriptor.
        fd: u32,
    },
    /// An object of the file system that is not a socket.
    Object(ObjectId),
    /// A UNIX socket, by the names that it may have been bound with.
    UnixPath(Vec<ByteString>),
    /// The sockets that are bound to a port.
    Port(u16),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// No process has this pid.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// Its descriptors cannot be read.
    #[error("the descriptors of process {0} cannot be read: run as root or as its user")]
    Unreadable(u32),
    /// It has no such descriptor.
    #[error("process {pid} has no descriptor {fd} open")]
    NoDescriptor {
        /// The process.
        pid: u32,
        /// The descriptor.
        fd: u32,
    },
}

/// The answer of `holders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HoldersReport {
    /// `tracer.holders/1`.
    pub schema: String,
    /// The objects that were asked about, one per socket for a port.
    pub objects: Vec<HeldObject>,
    /// Processes whose descriptors could not be read: any of them may be a further holder.
    pub unseen: u64,
    /// What else could not be read, one line each.
    pub problems: Vec<String>,
}

/// An object and the processes that hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeldObject {
    /// What it is: pipe, fifo, unix-socket, ip-socket, pty, file and others.
    pub kind: String,
    /// Its name: a path, an address, or the kernel's number.
    pub name: String,
    /// The processes that have the other end, such as the readers of a pipe for its writer.
    pub other_end: Vec<ObjectHolder>,
    /// The processes that share the end that was asked about; the process itself is not among them.
    pub same_end: Vec<ObjectHolder>,
}

/// A process that holds an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ObjectHolder {
    /// Its pid.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// Its name.
    pub comm: ByteString,
    /// Its arguments, with what looks like a secret redacted; empty when they cannot be read.
    pub cmdline: Vec<String>,
    /// The descriptors through which it holds the object.
    pub fds: Vec<u32>,
    /// What the descriptors allow.
    pub access: HolderAccess,
    /// For how long the process has existed, milliseconds.
    pub age_ms: u64,
    /// The nearest ancestor that holds the same end: the descriptor was inherited from it at a fork. Null
    /// when the process opened it itself, or the ancestor has ended or closed it.
    pub inherited_from: Option<HolderAncestor>,
}

/// A process that passed a descriptor on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HolderAncestor {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub comm: ByteString,
}

/// What a descriptor allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HolderAccess {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    Both,
    /// Neither (O_PATH), or unknown.
    Unknown,
}

impl HoldersReport {
    /// Whether any process but the one that was asked about holds an object.
    pub fn is_held(&self) -> bool {
        self.objects.iter().any(|object| !object.other_end.is_empty() || !object.same_end.is_empty())
    }
}

/// Which descriptors are meant: those of an object, with an access.
type End<'a> = (&'a dyn Fn(&Fd) -> bool, Option<u32>);

/// Answers a query from evidence of the whole machine.
///
/// # Errors
/// When the descriptor of the query is not there.
pub fn holders(evidence: &Evidence, query: &HolderQuery) -> Result<HoldersReport, HolderError> {
    let objects = match query {
        HolderQuery::Descriptor { pid, fd } => vec![of_descriptor(evidence, *pid, *fd)?],
        HolderQuery::Object(id) => vec![whole(evidence, *id)],
        HolderQuery::UnixPath(paths) => {
            let bound = |facts: &ObjectFacts| matches!(facts, ObjectFacts::Unix(unix) if unix.path.as_ref().is_some_and(|path| paths.contains(path)));
            with_facts(evidence, bound)
        }
        HolderQuery::Port(port) => {
            let bound = |facts: &ObjectFacts| matches!(facts, ObjectFacts::Inet(inet) if inet.local.is_some_and(|local| local.port == *port));
            with_facts(evidence, bound)
        }
    };
    let unseen = evidence.processes.iter().filter(|process| process.fds.is_none() && !process.zombie).count();
    let problem = |problem: &super::evidence::Problem| match problem.process {
        Some(process) => format!("process {}: {}: {}", process.tgid, problem.what, problem.why),
        None => format!("{}: {}", problem.what, problem.why),
    };
    // A process whose descriptors cannot be read is counted; the others are named.
    let others = evidence.problems.iter().filter(|problem| problem.process.is_none());
    Ok(HoldersReport {
        schema: "tracer.holders/1".to_owned(),
        objects,
        unseen: unseen as u64,
        problems: others.map(problem).collect(),
    })
}

fn of_descriptor(evidence: &Evidence, pid: u32, number: u32) -> Result<HeldObject, HolderError> {
    let process = evidence.process(pid).ok_or(HolderError::NoProcess(pid))?;
    let fds = process.fds.as_ref().ok_or(HolderError::Unreadable(pid))?;
    let missing = HolderError::NoDescriptor { pid, fd: number };
    let own = fds.iter().find(|fd| fd.number == number).ok_or(missing)?;
    let id = own.object;
    let facts = evidence.object(&id).map(|object| &object.facts);
    let peer = match (id, facts) {
        (ObjectId::Unix { .. }, Some(ObjectFacts::Unix(unix))) => unix.peer.map(|ino| ObjectId::Unix { ino }),
        (ObjectId::Inet { .. }, Some(ObjectFacts::Inet(inet))) => inet.peer.map(|ino| ObjectId::Inet { ino }),
        (ObjectId::Pty { index, side }, _) => Some(ObjectId::Pty { index, side: other_side(side) }),
        _ => None,
    };
    let (same, other): (Vec<_>, Vec<_>) = match id {
        ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => {
            let faces = |fd: &Fd| {
                fd.object == id
                    && (own.access.reads() && fd.access.writes() || own.access.writes() && fd.access.reads())
            };
            let shares = |fd: &Fd| fd.object == id && !faces(fd);
            (find(evidence, (&shares, Some(pid))), find(evidence, (&faces, None)))
        }
        _ => {
            let shares = |fd: &Fd| fd.object == id;
            let faces = |fd: &Fd| Some(fd.object) == peer;
            (find(evidence, (&shares, Some(pid))), find(evidence, (&faces, None)))
        }
    };
    Ok(HeldObject { kind: kind(&id).to_owned(), name: name(evidence, &id), other_end: other, same_end: same })
}

fn other_side(side: PtySide) -> PtySide {
    match side {
        PtySide::Master => PtySide::Slave,
        PtySide::Slave => PtySide::Master,
    }
}

/// An object without a point of view: all its holders.
fn whole(evidence: &Evidence, id: ObjectId) -> HeldObject {
    let same_end = find(evidence, (&|fd: &Fd| fd.object == id, None));
    HeldObject { kind: kind(&id).to_owned(), name: name(evidence, &id), other_end: Vec::new(), same_end }
}

fn with_facts(evidence: &Evidence, wanted: impl Fn(&ObjectFacts) -> bool) -> Vec<HeldObject> {
    evidence
        .objects
        .iter()
        .filter(|object| wanted(&object.facts))
        .map(|object| whole(evidence, object.id))
        .collect()
}

fn find(evidence: &Evidence, (is_meant, without): End<'_>) -> Vec<ObjectHolder> {
    let mut meant: HashMap<u32, Vec<&Fd>> = HashMap::new();
    for process in &evidence.processes {
        let fds: Vec<&Fd> = process.fds.iter().flatten().filter(|fd| is_meant(fd)).collect();
        if !fds.is_empty() {
            meant.insert(process.id.tgid, fds);
        }
    }
    let holders = evidence.processes.iter().filter(|process| Some(process.id.tgid) != without);
    let holder = |process: &Process| {
        let fds = meant.get(&process.id.tgid)?;
        let started_ns = process.id.start_ticks.saturating_mul(NS_PER_TICK);
        Some(ObjectHolder {
            pid: process.id.tgid,
            start_ticks: process.id.start_ticks,
            comm: process.comm.clone(),
            cmdline: redact::argv(process.cmdline.as_deref().unwrap_or_default()),
            fds: fds.iter().map(|fd| fd.number).collect(),
            access: access(fds),
            age_ms: evidence.clock.boot_ns.saturating_sub(started_ns) / 1_000_000,
            inherited_from: ancestor(evidence, process, &meant),
        })
    };
    holders.filter_map(holder).collect()
}

/// The nearest ancestor among the holders.
fn ancestor(
    evidence: &Evidence,
    process: &Process,
    holders: &HashMap<u32, Vec<&Fd>>,
) -> Option<HolderAncestor> {
    let mut ppid = process.ppid;
    // A tree is not deeper than there are processes; the numbers of one moment make no circle, but may be
    // wrong.
    for _ in 0..evidence.processes.len() {
        let parent = evidence.process(ppid)?;
        if holders.contains_key(&ppid) {
            return Some(HolderAncestor { pid: ppid, comm: parent.comm.clone() });
        }
        ppid = parent.ppid;
    }
    None
}

fn access(fds: &[&Fd]) -> HolderAccess {
    let reads = fds.iter().any(|fd| fd.access.reads());
    let writes = fds.iter().any(|fd| fd.access.writes());
    match (reads, writes) {
        (true, true) => HolderAccess::Both,
        (true, false) => HolderAccess::Read,
        (false, true) => HolderAccess::Write,
        (false, false) => HolderAccess::Unknown,
    }
}

fn kind(id: &ObjectId) -> &'static str {
    match id {
        ObjectId::Pipe { .. } => "pipe",
        ObjectId::Fifo { .. } => "fifo",
        ObjectId::Unix { .. } => "unix-socket",
        ObjectId::Inet { .. } => "ip-socket",
        ObjectId::Socket { .. } => "socket",
        ObjectId::Pty { .. } => "pty",
        ObjectId::Tty { .. } => "tty",
        ObjectId::File { .. } => "file",
        ObjectId::Device { .. } => "device",
        ObjectId::Anon { .. } => "anonymous",
        ObjectId::MessageQueue { .. } => "message-queue",
        ObjectId::SysVSem { .. } => "sysv-semaphore",
        ObjectId::SysVMsg { .. } => "sysv-queue",
        ObjectId::Unknown => "unknown",
    }
}

/// A path or an address where there is one, else the kernel's number.
fn name(evidence: &Evidence, id: &ObjectId) -> String {
    let path = match evidence.object(id).map(|object| &object.facts) {
        Some(ObjectFacts::Pipe(pipe)) => pipe.path.as_ref().map(ByteString::printable),
        Some(ObjectFacts::Unix(unix)) => unix.path.as_ref().map(ByteString::printable),
        Some(
            ObjectFacts::Terminal { path, .. }
            | ObjectFacts::File { path, .. }
            | ObjectFacts::Device { path },
        ) => path.as_ref().map(ByteString::printable),
        Some(ObjectFacts::Inet(inet)) => match (inet.local, inet.remote) {
            (Some(local), Some(remote)) if remote.port != 0 => Some(format!("{local} -> {remote}")),
            (Some(local), _) => Some(local.to_string()),
            _ => None,
        },
        _ => None,
    };
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        return printable(path);
    }
    match id {
        ObjectId::Pipe { ino } => format!("pipe:[{ino}]"),
        ObjectId::Unix { ino } | ObjectId::Inet { ino } | ObjectId::Socket { ino } => {
            format!("socket:[{ino}]")
        }
        ObjectId::Pty { index, side: PtySide::Slave } => format!("/dev/pts/{index}"),
        ObjectId::Pty { index, side: PtySide::Master } => format!("master of /dev/pts/{index}"),
        ObjectId::Tty { major, minor } | ObjectId::Device { major, minor } => format!("{major}:{minor}"),
        ObjectId::Fifo { dev, ino } | ObjectId::File { dev, ino } | ObjectId::MessageQueue { dev, ino } => {
            format!("{dev}:{ino}")
        }
        ObjectId::Anon { kind, id } => format!("{kind:?}:[{id}]").to_lowercase(),
        ObjectId::SysVSem { id } | ObjectId::SysVMsg { id } => id.to_string(),
        ObjectId::Unknown => "unknown".to_owned(),
    }
}
