//! The enrollment sidecar: the traced process, its tracer, and the place of the kernel's own record.
//!
//! Schema 3 is written. Schemas 1 and 2 are AutoSkillit's and only read. They contain less, and what they
//! lack is `None`. A newer schema is refused: a guess at it could end in filing a session that still runs.

use super::session_id::SessionId;
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema that is written.
pub const SIDECAR_SCHEMA: u64 = 3;

/// The largest sidecar that is read, bytes.
pub const MAX_SIDECAR_BYTES: usize = 1024 * 1024;

/// A sidecar of schema 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrollment {
    /// [`SIDECAR_SCHEMA`].
    pub schema_version: u64,
    /// Id of the session.
    pub session_id: String,
    /// Labels of the session.
    pub labels: BTreeMap<String, String>,
    /// Id of the boot; null when it could not be read.
    pub boot_id: Option<String>,
    /// Pid of the root.
    pub pid: u32,
    /// Start time of the root, clock ticks since boot; null (never 0) when it could not be read.
    pub starttime_ticks: Option<u64>,
    /// Start time of the root, CLOCK_BOOTTIME nanoseconds; null when unknown.
    pub start_boottime_ns: Option<u64>,
    /// Inode of the root's pidfd; null before Linux 6.14.
    pub pidfd_ino: Option<u64>,
    /// Inode of the pid namespace in which `pid` is a number; null when unknown.
    pub pidns_ino: Option<u64>,
    /// Pid of the root in its own pid namespace; null when unknown.
    pub ns_pid: Option<u32>,
    /// Name of the root when it was enrolled; null when unknown.
    pub comm: Option<ByteString>,
    /// Arguments of the root.
    pub cmdline: Vec<ByteString>,
    /// Working directory of the root; null when unknown.
    pub cwd: Option<ByteString>,
    /// User id of the tracer; null when unknown.
    pub uid: Option<u32>,
    /// When the session was enrolled, RFC 3339.
    pub enrolled_at: String,
    /// The tracer that owns the session.
    pub owner: Owner,
    /// Directory of the session's kernel pins; null without kernel events.
    pub bpf_pins: Option<String>,
    /// Time between two samples, milliseconds.
    pub interval_ms: u64,
    /// Directory of the session log; null for the default.
    pub log_dir: Option<String>,
}

/// The tracer that owns a session, for people. The lock alone says whether it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// Start time, clock ticks since boot; null when unknown.
    pub starttime_ticks: Option<u64>,
    /// Version of the tracer.
    pub version: String,
}

impl Enrollment {
    /// The root; `None` when its start time is unknown.
    pub fn root(&self) -> Option<ProcessId> {
        Some(ProcessId { tgid: self.pid, start_ticks: self.starttime_ticks? })
    }
}

/// A sidecar of AutoSkillit, schema 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignEnrollment {
    /// 1 or 2.
    pub schema_version: u64,
    /// Pid of the traced process.
    pub pid: u32,
    /// Its start time, clock ticks since boot; `None` for null and 0, which mean unknown.
    pub starttime_ticks: Option<u64>,
    /// Id of the boot; `None` when unknown.
    pub boot_id: Option<String>,
    /// Its session id; `None` for "", which means none.
    pub session_id: Option<String>,
    /// `kitchen_id` and `order_id`, when not empty.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled; `None` when unknown.
    pub enrolled_at: Option<String>,
    /// Its name when it was enrolled; `None` when unknown.
    pub comm: Option<ByteString>,
}

/// A sidecar of any supported schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// Schema 3.
    Own(Box<Enrollment>),
    /// Schema 1 or 2.
    Foreign(Box<ForeignEnrollment>),
}

/// Why a sidecar is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SidecarError {
    /// It is larger than [`MAX_SIDECAR_BYTES`].
    #[error("larger than {MAX_SIDECAR_BYTES} bytes")]
    TooLarge,
    /// It is not JSON, or lacks a field.
    #[error("not a sidecar: {0}")]
    Malformed(String),
    /// A newer version wrote it.
    #[error("schema {0} is newer than {SIDECAR_SCHEMA}: use the version of tracer-user that wrote it")]
    Newer(u64),
    /// Its session id may not become a file name.
    #[error("{0}")]
    SessionId(#[from] super::session_id::SessionIdError),
}

#[derive(Deserialize)]
struct RawForeign {
    pid: u32,
    #[serde(default)]
    starttime_ticks: Option<u64>,
    #[serde(default)]
    boot_id: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    kitchen_id: Option<String>,
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default)]
    enrolled_at: Option<String>,
    #[serde(default)]
    comm: Option<ByteString>,
}

impl Sidecar {
    /// Parses a sidecar.
    ///
    /// # Errors
    /// When the sidecar is refused. No input panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, SidecarError> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u64,
        }
        if bytes.len() > MAX_SIDECAR_BYTES {
            return Err(SidecarError::TooLarge);
        }
        let malformed = |error: serde_json::Error| SidecarError::Malformed(error.to_string());
        let version = serde_json::from_slice::<Version>(bytes).map_err(malformed)?.schema_version;
        match version {
            1 | 2 => {
                let raw = serde_json::from_slice::<RawForeign>(bytes).map_err(malformed)?;
                Ok(Self::Foreign(Box::new(ForeignEnrollment::from_raw(version, raw))))
            }
            SIDECAR_SCHEMA => {
                let own = serde_json::from_slice::<Enrollment>(bytes).map_err(malformed)?;
                SessionId::parse(&own.session_id)?;
                Ok(Self::Own(Box::new(own)))
            }
            0 => Err(SidecarError::Malformed("schema_version 0".to_owned())),
            newer => Err(SidecarError::Newer(newer)),
        }
    }
}

impl ForeignEnrollment {
    fn from_raw(schema_version: u64, raw: RawForeign) -> Self {
        let known = |text: Option<String>| text.filter(|text| !text.is_empty());
        let labels = [("kitchen_id", known(raw.kitchen_id)), ("order_id", known(raw.order_id))]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        Self {
            schema_version,
            pid: raw.pid,
            starttime_ticks: raw.starttime_ticks.filter(|ticks| *ticks != 0),
            boot_id: known(raw.boot_id),
            session_id: known(raw.session_id),
            labels,
            enrolled_at: known(raw.enrolled_at),
            comm: raw.comm.filter(|comm| !comm.0.is_empty()),
        }
    }
}
