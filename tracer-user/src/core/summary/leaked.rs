//! Processes that outlived a session.

use crate::core::identity::ProcessId;
use crate::core::record::{Origin, ProcessKey};
use crate::core::session_state::Tracker;
use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process that was alive when the session was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakedProcess {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// Its name; null when unknown.
    pub comm: Option<ByteString>,
    /// Its arguments, secrets redacted; empty when they could not be read.
    #[serde(default)]
    pub cmdline: Vec<String>,
    /// When it was forked, CLOCK_BOOTTIME nanoseconds; null when it was found running.
    #[serde(default)]
    pub forked_boot_ns: Option<u64>,
    /// When it was forked, milliseconds after the session began; null when it was found running.
    #[serde(default)]
    pub forked_after_ms: Option<u64>,
    /// The process that forked it, the one that forked that, and so on: the nearest, at most eight.
    #[serde(default)]
    pub lineage: Vec<LeakedAncestor>,
    /// Its descriptors that are the job's output; null when that was not examined.
    #[serde(default)]
    pub output_fds: Option<Vec<u32>>,
}

/// A process that forked the leaked process, or one of its ancestors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakedAncestor {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// Its name when it forked; null when unknown.
    pub comm: Option<ByteString>,
    /// It had ended when the session was over.
    pub ended: bool,
}

impl LeakedProcess {
    /// What the session recorded of a living process.
    pub fn of(tracker: &Tracker, process: ProcessId) -> Self {
        let member = tracker.member(process);
        let forked = member.filter(|member| member.origin == Origin::Fork).map(|it| it.joined_boot_ns);
        let after = forked.zip(tracker.first_boot_ns()).map(|(at, began)| at.saturating_sub(began));
        let ancestors = member.map(|member| member.ancestors.as_slice()).unwrap_or_default();
        Self {
            process: process.into(),
            comm: member.and_then(|member| member.comm().cloned()),
            cmdline: Vec::new(),
            forked_boot_ns: forked,
            forked_after_ms: after.map(|ns| ns / 1_000_000),
            lineage: ancestors
                .iter()
                .map(|it| LeakedAncestor {
                    process: it.process.into(),
                    comm: it.comm.clone(),
                    ended: tracker.member(it.process).is_none(),
                })
                .collect(),
            output_fds: None,
        }
    }
}
