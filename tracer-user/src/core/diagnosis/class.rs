//! The classes of hangs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($variant:ident = $id:literal: $doc:literal,)*) => {
/// The kind of a hang. `docs/diagnosis.md` has a section for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Class {
            $(#[doc = $doc] #[serde(rename = $id)] $variant,)*
        }

        impl Class {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in reports.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

/// A short description.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

classes! {
    PipeFull = "pipe-full": "a full pipe that nobody drains",
    EofNever = "eof-never": "an end of file that never comes",
    MutualRead = "mutual-read": "readers that wait for each other, or a prompt",
    SelfPipe = "self-pipe": "a pipe whose both ends the waiter holds itself",
    UnixSocketFull = "unix-socket-full": "a full UNIX socket that nobody drains",
    PtyFull = "pty-full": "a full terminal that nobody drains",
    FileLock = "file-lock": "a file lock that is not released",
    DatabaseLock = "database-lock": "a database lock whose holder waits for its client",
    FutexOrphan = "futex-orphan": "a lock in memory whose owner is gone",
    UnreapedChild = "unreaped-child": "a dead child that nobody collects",
    Leftover = "leftover": "something that an earlier run left behind",
    SignalIneffective = "signal-ineffective": "a signal that cannot have an effect",
    Uninterruptible = "uninterruptible": "an uninterruptible sleep in the kernel",
    Stopped = "stopped": "a stopped, traced or frozen process",
    NetworkPeer = "network-peer": "a peer on the network that does not act",
    FifoOpen = "fifo-open": "a FIFO whose other end nobody opens",
    QuiescentLoops = "quiescent-loops": "event loops that wait for each other alone",
    ExitWait = "exit-wait": "a wait for the end of a process",
    SysvIpc = "sysv-ipc": "a semaphore or message queue whose last user is gone",
    TokenLoss = "token-loss": "tokens that were taken and not given back",
    Livelock = "livelock": "a busy loop without progress",
    WorkerKilled = "worker-killed": "a worker that was killed and is still waited for",
    WorkerDied = "worker-died": "a worker that failed and is still waited for",
    DiedAtBoot = "died-at-boot": "a peer that ended before it was ready",
    InProcessWait = "in-process-wait": "threads of one process that wait for each other",
    SlowProgress = "slow-progress": "slow, not hung",
    Exhaustion = "exhaustion": "a limit that was reached",
    PollingSleep = "polling-sleep": "a sleep between looks at something that does not come",
    HiddenHolder = "hidden-holder": "an end that is in no process's table",
    AtRest = "at-rest": "a program at rest until something comes from outside",
    NotSeen = "not-seen": "what decides could not be looked at",
    AsksUserspace = "asks-userspace": "a request of the kernel that a program does not answer",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_documented_and_has_recorded_evidence() {
        let page = include_str!("../../../../docs/diagnosis.md");
        let tests = [
            include_str!("tests/blocked_reads.rs"),
            include_str!("tests/blocked_writes.rs"),
            include_str!("tests/exits.rs"),
            include_str!("tests/kernel_waits.rs"),
            include_str!("tests/locks.rs"),
            include_str!("tests/others.rs"),
        ]
        .concat();
        for class in Class::ALL {
            assert!(page.contains(&format!("\n### {}\n", class.id())), "{} has no section", class.id());
            assert!(tests.contains(&format!("Class::{class:?}")), "{} has no recorded evidence", class.id());
        }
    }

    #[test]
    fn the_name_in_json_is_the_id() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), serde_json::json!(class.id()));
        }
    }
}
