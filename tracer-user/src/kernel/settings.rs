//! What a session asks of the kernel side.

use std::path::PathBuf;

use crate::core::identity::OwnNamespaces;

/// Settings of a new session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The session's name, a file name without dots.
    pub session: String,
    /// Shorter stalls are not reported, nanoseconds.
    pub stall_threshold_ns: u64,
    /// Whether the kernel programs write their debug log.
    pub kernel_log: bool,
    /// The directory in which the session's sidecar will be. When both the owner and this directory are gone,
    /// any process of this user may remove the pins. `None`: there will be no sidecar.
    pub traces: Option<PathBuf>,
    /// The namespaces of this process.
    pub namespaces: OwnNamespaces,
}
