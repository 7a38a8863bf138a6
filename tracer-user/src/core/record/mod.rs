//! The lines of a trace, as types that are written and read.
//!
//! Every line is one JSON object with the same head (`v`, `kind`, `seq`, `ts`, `boot_ns`) and the fields of
//! its kind. Readers accept lines with fields they do not know. A line of a newer version, or of an unknown
//! kind, is refused with a reason and never stops the reading of the others.

mod from_event;
mod lines;
pub mod session_id;
pub mod sidecar;

pub use lines::*;
pub use session_id::{SessionId, SessionIdError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Version of the line format that is written.
pub const TRACE_VERSION: u32 = 1;

/// The longest line that is read, bytes. A longer one is reported and skipped.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// [`TRACE_VERSION`].
    pub v: u32,
    /// Number of the line in its session, from 0.
    pub seq: u64,
    /// Wall clock, RFC 3339 in UTC with microseconds; never earlier than the line before.
    pub ts: String,
    /// `ts` was moved forward because the wall clock was set back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ts_adjusted: bool,
    /// CLOCK_BOOTTIME, nanoseconds: the order of events.
    pub boot_ns: u64,
    /// The kind, and its fields.
    #[serde(flatten)]
    pub body: Body,
}

/// The kind of a line, and its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Body {
    /// First line of a trace: the tracer, the root and the configuration.
    Header(Box<HeaderLine>),
    /// A process at the time of a sample.
    Snapshot(Box<SnapshotLine>),
    /// Ends the snapshots of one sample.
    Sample(SampleLine),
    /// A process joined the session.
    Fork(Box<ForkLine>),
    /// A process executed a program.
    Exec(ExecLine),
    /// A process ended.
    Exit(Box<ExitLine>),
    /// A signal was sent to a process of the session.
    Signal(SignalLine),
    /// A write is blocked, or continued.
    Stall(Box<StallLine>),
    /// An anomaly.
    Anomaly(Box<AnomalyLine>),
    /// A diagnosis, in the schema `tracer.diagnosis/1`.
    Diagnosis(DiagnosisLine),
    /// Something is missing from the trace.
    Lost(LostLine),
    /// A remark of the tracer.
    Note(NoteLine),
    /// Last line of a trace.
    Footer(FooterLine),
}

impl Body {
    /// The name in the field `kind`.
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// The line may be dropped from a trace that has grown too large.
    pub fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Snapshot(_) | Self::Sample(_))
    }
}

/// Why a line was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Nothing but white space.
    #[error("empty line")]
    Empty,
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("line of {0} bytes, more than {MAX_LINE_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Written by a newer version.
    #[error("line version {0} is newer than {TRACE_VERSION}")]
    Newer(u64),
    /// Not JSON, or a required field is missing.
    #[error("{0}")]
    Malformed(String),
}

impl Line {
    /// The line with its newline, ready for one `write`.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A Line holds only strings, numbers and maps with string keys, which always serialize; f64 that are
        // not finite become null.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one line, with or without its newline.
    ///
    /// # Errors
    /// When the line is not understood. No input panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        if bytes.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| LineError::NotUtf8(error.valid_up_to()))?;
        if text.trim().is_empty() {
            return Err(LineError::Empty);
        }
        serde_json::from_str::<Self>(text).map_err(|error| newer_or(text, &error)).and_then(|line| {
            if line.v > TRACE_VERSION { Err(LineError::Newer(line.v.into())) } else { Ok(line) }
        })
    }
}

/// A newer version is a better explanation of a line that is not understood than the parser's message.
fn newer_or(text: &str, error: &serde_json::Error) -> LineError {
    #[derive(Deserialize)]
    struct Head {
        v: u64,
    }
    match serde_json::from_str::<Head>(text) {
        Ok(head) if head.v > u64::from(TRACE_VERSION) => LineError::Newer(head.v),
        _ => LineError::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
