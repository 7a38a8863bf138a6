//! The enrollment sidecar: who is traced, by whom, and where the kernel's own record of it is.
//!
//! Schema 3 is written. Schemas 1 and 2 are AutoSkillit's and read only; they say less, and what they do not say is
//! `None`. A newer schema is refused: to guess at it could end in filing a session that still runs.

use super::session_id::SessionId;
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema that is written.
pub const SIDECAR_SCHEMA: u64 = 3;

/// Bytes of the largest sidecar that is read.
pub const MAX_SIDECAR_BYTES: usize = 1024 * 1024;

/// A sidecar of schema 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrollment {
    /// [`SIDECAR_SCHEMA`].
    pub schema_version: u64,
    /// The session.
    pub session_id: String,
    /// What the user said of it.
    pub labels: BTreeMap<String, String>,
    /// Which boot; null when it could not be read.
    pub boot_id: Option<String>,
    /// The root.
    pub pid: u32,
    /// Its start in clock ticks; null when it could not be read, never 0 for that.
    pub starttime_ticks: Option<u64>,
    /// Its start, nanoseconds of CLOCK_BOOTTIME.
    pub start_boottime_ns: Option<u64>,
    /// Inode of its pidfd, from Linux 6.14 on.
    pub pidfd_ino: Option<u64>,
    /// Inode of the pid namespace in which `pid` is its number.
    pub pidns_ino: Option<u64>,
    /// Its number in its own pid namespace.
    pub ns_pid: Option<u32>,
    /// Its name when it was enrolled.
    pub comm: Option<ByteString>,
    /// Its arguments.
    pub cmdline: Vec<ByteString>,
    /// Its working directory.
    pub cwd: Option<ByteString>,
    /// Its user.
    pub uid: Option<u32>,
    /// When it was enrolled, RFC 3339.
    pub enrolled_at: String,
    /// The tracer.
    pub owner: Owner,
    /// Where the kernel's maps of the session are pinned; null without kernel events.
    pub bpf_pins: Option<String>,
    /// Milliseconds between samples.
    pub interval_ms: u64,
    /// Where the finished session goes; null for the default.
    pub log_dir: Option<String>,
}

/// The tracer that keeps a session. For people: whether it lives is told by its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks.
    pub starttime_ticks: Option<u64>,
    /// Version of the tracer.
    pub version: String,
}

impl Enrollment {
    /// The root, when its start is known.
    pub fn root(&self) -> Option<ProcessId> {
        Some(ProcessId { tgid: self.pid, start_ticks: self.starttime_ticks? })
    }
}

/// A sidecar of AutoSkillit, schema 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignEnrollment {
    /// 1 or 2.
    pub schema_version: u64,
    /// The traced process.
    pub pid: u32,
    /// Null, and 0 there, mean unknown.
    pub starttime_ticks: Option<u64>,
    /// Which boot.
    pub boot_id: Option<String>,
    /// Its session id; "" there means none.
    pub session_id: Option<String>,
    /// `kitchen_id` and `order_id`, when not empty.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled.
    pub enrolled_at: Option<String>,
    /// Its name when it was enrolled.
    pub comm: Option<ByteString>,
}

/// Any sidecar that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// Schema 3.
    Own(Box<Enrollment>),
    /// Schema 1 or 2.
    Foreign(Box<ForeignEnrollment>),
}

/// Why a sidecar was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SidecarError {
    /// Larger than [`MAX_SIDECAR_BYTES`].
    #[error("larger than {MAX_SIDECAR_BYTES} bytes")]
    TooLarge,
    /// Not the JSON object it has to be.
    #[error("not a sidecar: {0}")]
    Malformed(String),
    /// Written by a newer version.
    #[error("schema {0} is newer than {SIDECAR_SCHEMA}: use the version of tracer-user that wrote it")]
    Newer(u64),
    /// Its session id may not become a name.
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
    /// Reads a sidecar.
    ///
    /// # Errors
    /// Says what is wrong with it; no input panics.
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
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        let labels = [("kitchen_id", told(raw.kitchen_id)), ("order_id", told(raw.order_id))]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        Self {
            schema_version,
            pid: raw.pid,
            starttime_ticks: raw.starttime_ticks.filter(|ticks| *ticks != 0),
            boot_id: told(raw.boot_id),
            session_id: told(raw.session_id),
            labels,
            enrolled_at: told(raw.enrolled_at),
            comm: raw.comm.filter(|comm| !comm.0.is_empty()),
        }
    }
}
