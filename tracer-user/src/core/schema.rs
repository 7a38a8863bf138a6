//! The JSON schemas of everything that is written.

use super::diagnosis::Diagnosis;
use super::evidence::Evidence;
use super::holders::HoldersReport;
use super::leftover::{PreflightReport, ReapReport};
use super::record::sidecar::Enrollment;
use super::record::{
    AnomalyLine, DiagnosisLine, ExecLine, ExitLine, FooterLine, ForkLine, HeaderLine, Line, LostLine,
    NoteLine, SampleLine, SignalLine, SnapshotLine, StallLine, TRACE_VERSION,
};
use super::requirements::DoctorReport;
use super::summary::{IndexRow, SessionMeta, Summary};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};
use strum::{EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr, VariantNames};

/// What has a schema: the kinds of trace lines, then the other documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum SchemaKind {
    /// Any line of a trace.
    Trace,
    /// `header` lines.
    Header,
    /// `snapshot` lines.
    Snapshot,
    /// `sample` lines.
    Sample,
    /// `fork` lines.
    Fork,
    /// `exec` lines.
    Exec,
    /// `exit` lines.
    Exit,
    /// `signal` lines.
    Signal,
    /// `stall` lines.
    Stall,
    /// `anomaly` lines.
    Anomaly,
    /// `diagnosis` lines.
    Diagnosis,
    /// `lost` lines.
    Lost,
    /// `note` lines.
    Note,
    /// `footer` lines.
    Footer,
    /// The sidecar of a live session.
    Enrollment,
    /// `summary.json`.
    Summary,
    /// Rows of `sessions.jsonl`.
    Index,
    /// `meta.json`.
    Meta,
    /// The report of `diagnose`, `tracer.diagnosis/1`.
    Diagnose,
    /// What `diagnose --format evidence` writes, `tracer.evidence/1`.
    Evidence,
    /// The report of `doctor`.
    Doctor,
    /// The report of `preflight`.
    Preflight,
    /// The report of `reap`.
    Reap,
    /// The report of `holders`.
    Holders,
    /// An object with all other schemas, by name.
    All,
}

/// The JSON schema (2020-12) of one kind.
pub fn schema(kind: SchemaKind) -> Value {
    let name: &'static str = kind.into();
    let schema = match kind {
        SchemaKind::Trace => schema_for!(Line).to_value(),
        SchemaKind::Header => line::<HeaderLine>(name),
        SchemaKind::Snapshot => line::<SnapshotLine>(name),
        SchemaKind::Sample => line::<SampleLine>(name),
        SchemaKind::Fork => line::<ForkLine>(name),
        SchemaKind::Exec => line::<ExecLine>(name),
        SchemaKind::Exit => line::<ExitLine>(name),
        SchemaKind::Signal => line::<SignalLine>(name),
        SchemaKind::Stall => line::<StallLine>(name),
        SchemaKind::Anomaly => line::<AnomalyLine>(name),
        SchemaKind::Diagnosis => line::<DiagnosisLine>(name),
        SchemaKind::Lost => line::<LostLine>(name),
        SchemaKind::Note => line::<NoteLine>(name),
        SchemaKind::Footer => line::<FooterLine>(name),
        SchemaKind::Enrollment => schema_for!(Enrollment).to_value(),
        SchemaKind::Summary => schema_for!(Summary).to_value(),
        SchemaKind::Index => schema_for!(IndexRow).to_value(),
        SchemaKind::Meta => schema_for!(SessionMeta).to_value(),
        SchemaKind::Diagnose => schema_for!(Diagnosis).to_value(),
        SchemaKind::Evidence => schema_for!(Evidence).to_value(),
        SchemaKind::Doctor => schema_for!(DoctorReport).to_value(),
        SchemaKind::Preflight => schema_for!(PreflightReport).to_value(),
        SchemaKind::Reap => schema_for!(ReapReport).to_value(),
        SchemaKind::Holders => schema_for!(HoldersReport).to_value(),
        SchemaKind::All => {
            return SchemaKind::iter()
                .filter(|kind| *kind != SchemaKind::All)
                .map(|kind| (<&str>::from(kind).to_owned(), schema(kind)))
                .collect();
        }
    };
    identified(schema, name)
}

/// The schema with an identifier of its own, by which others can refer to it.
pub fn identified(mut schema: Value, name: &str) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("$id".to_owned(), format!("urn:tracer-user:schema:{name}").into());
    }
    schema
}

/// The schema of a line: the common head, and the fields of one kind.
fn line<T: JsonSchema>(kind: &str) -> Value {
    let mut schema = schema_for!(T).to_value();
    let head = json!({
        "v": { "type": "integer", "const": TRACE_VERSION },
        "kind": { "const": kind },
        "seq": { "type": "integer", "minimum": 0, "description": "Number of the line in its session, from 0." },
        "ts": { "type": "string", "format": "date-time", "description": "Wall clock, UTC, microseconds." },
        "ts_adjusted": { "type": "boolean", "description": "Moved forward because the wall clock was set back." },
        "boot_ns": { "type": "integer", "minimum": 0, "description": "CLOCK_BOOTTIME, nanoseconds." },
    });
    if let Some(object) = schema.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let (Some(properties), Value::Object(head)) = (properties.as_object_mut(), head) {
            properties.extend(head);
        }
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.extend(["v", "kind", "seq", "ts", "boot_ns"].map(Value::from));
        }
    }
    schema
}
