//! The JSON schemas of what verbs print, beside those of `core`.

use schemars::schema_for;
use serde_json::Value;
use strum::{EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr, VariantNames};

use super::recover::RecoveryReport;
use super::sessions::{PruneReport, SessionListing, StoredTrace};
use crate::core::schema::{SchemaKind, identified, schema};

/// The documents of the session layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ReportKind {
    /// The report of `recover`.
    Recover,
    /// The report of `sessions list`.
    List,
    /// The report of `sessions show`, without snapshots.
    Show,
    /// The document of `sessions export`.
    Export,
    /// The report of `sessions prune`.
    Prune,
}

/// The names of all schemas.
pub fn names() -> impl Iterator<Item = &'static str> {
    SchemaKind::VARIANTS.iter().chain(ReportKind::VARIANTS).copied()
}

/// The schema with this name; `None`: there is none. `all` is an object with every other one.
pub fn named(name: &str) -> Option<Value> {
    if let Ok(kind) = name.parse::<ReportKind>() {
        return Some(of_report(kind));
    }
    let kind: SchemaKind = name.parse().ok()?;
    let mut found = schema(kind);
    if kind == SchemaKind::All
        && let Some(all) = found.as_object_mut()
    {
        all.extend(ReportKind::iter().map(|kind| (<&str>::from(kind).to_owned(), of_report(kind))));
    }
    Some(found)
}

fn of_report(kind: ReportKind) -> Value {
    let found = match kind {
        ReportKind::Recover => schema_for!(RecoveryReport),
        ReportKind::List => schema_for!(SessionListing),
        ReportKind::Show | ReportKind::Export => schema_for!(StoredTrace),
        ReportKind::Prune => schema_for!(PruneReport),
    };
    identified(found.to_value(), kind.into())
}
