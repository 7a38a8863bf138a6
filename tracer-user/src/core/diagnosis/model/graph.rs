//! The part of the wait-for graph that a report draws: its processes, its resources and the edges between
//! them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceRef {
    /// Its kind.
    pub kind: ResourceKind,
    /// `pipe:[23425]`, a path, `[::1]:80 -> …`.
    pub id: String,
}

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// Anonymous pipe.
    Pipe,
    /// Named pipe.
    Fifo,
    /// UNIX socket.
    UnixSocket,
    /// TCP, UDP or raw IP socket.
    IpSocket,
    /// Socket of another family.
    Socket,
    /// Pseudo-terminal.
    Pty,
    /// Other terminal.
    Tty,
    /// File or directory.
    File,
    /// Device.
    Device,
    /// eventfd, epoll, timer and the like.
    Anonymous,
    /// POSIX message queue.
    MessageQueue,
    /// SysV semaphore set.
    SysvSemaphore,
    /// SysV message queue.
    SysvQueue,
    /// Could not be read.
    Unknown,
}

impl ResourceKind {
    /// Its name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Fifo => "fifo",
            Self::UnixSocket => "unix-socket",
            Self::IpSocket => "ip-socket",
            Self::Socket => "socket",
            Self::Pty => "pty",
            Self::Tty => "tty",
            Self::File => "file",
            Self::Device => "device",
            Self::Anonymous => "anonymous",
            Self::MessageQueue => "message-queue",
            Self::SysvSemaphore => "sysv-semaphore",
            Self::SysvQueue => "sysv-queue",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that processes wait on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// Which kind, and its name.
    #[serde(flatten)]
    pub reference: ResourceRef,
    /// Bytes in it; null when unknown.
    pub used: Option<u64>,
    /// Its capacity, bytes; null when unknown.
    pub capacity: Option<u64>,
    /// Pipe buffers in use.
    pub slots_used: Option<u32>,
    /// Pipe buffers in total.
    pub slots: Option<u32>,
    /// The fds that can read from it, or that share it where it has no modes (then `writers` is empty).
    pub readers: Vec<End>,
    /// The fds that can write to it.
    pub writers: Vec<End>,
}

/// An fd on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Process number.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// fd.
    pub fd: u32,
}

/// `from` cannot continue until `to` acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// Node id: `812/815` (process/thread) or a resource's id.
    pub from: String,
    /// Node id.
    pub to: String,
    /// What connects them: `fd 1`, `pipe:[23425]`, `child`.
    pub via: String,
    /// What has to happen: `write`, `read`, `exit`, `lock`, …
    pub op: String,
}

/// The graph of all that waits in the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// Threads and resources.
    pub nodes: Vec<Node>,
    /// What waits for what.
    pub edges: Vec<Edge>,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Unique in the graph.
    pub id: String,
    /// What it stands for.
    pub kind: NodeKind,
    /// Its name for people.
    pub label: String,
    /// The state of a thread; null for a resource.
    pub state: Option<NodeState>,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A thread.
    Thread,
    /// An object.
    Resource,
    /// A party beyond this machine's processes.
    Outside,
}

/// The liveness of a thread, as the graph shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It has ended.
    Dead,
    /// Every alternative leads to stuck threads, or to no releaser.
    Stuck,
    /// The releaser has no reason to act.
    Orphaned,
    /// At rest.
    Idle,
    /// It wakes by its time-out and goes back to sleep.
    Ticking,
    /// The next step is up to a party outside.
    External,
    /// Its wait ends within seconds.
    Soon,
    /// It makes progress.
    Active,
}
