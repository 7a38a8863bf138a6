//! The formats of AutoSkillit, the tracer that this one's vocabulary derives from: its snapshots, and the
//! documents of a session in its log.
//!
//! It has a value for everything that is unknown (-1, 0, "", false) where this tracer has null. Reading turns
//! them into `None`; writing puts them back, so that its own readers find every field.

mod export;
mod import;
mod snapshot;
#[cfg(test)]
mod tests;

pub use export::{SessionDocuments, documents};
pub use import::{LoggedSession, index_row};
pub use snapshot::{SnapshotError, read_snapshot, snapshot_json};

/// A time as it writes it.
pub fn time_text(ts: &str) -> String {
    ts.strip_suffix('Z').map_or_else(|| ts.to_owned(), |time| format!("{time}+00:00"))
}
