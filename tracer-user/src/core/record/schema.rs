//! JSON schemas of everything that is written.

use super::sidecar::Enrollment;
use super::{
    AnomalyLine, DiagnosisLine, ExecLine, ExitLine, FooterLine, ForkLine, HeaderLine, Line, LostLine,
    NoteLine, SampleLine, SignalLine, SnapshotLine, StallLine,
};
use crate::core::leftover::{Preflight, Reaped};
use crate::core::requirements::Doctor;
use crate::core::summary::{IndexRow, Meta, Summary};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

/// What [`schema`] knows: the kinds of trace lines, then the other files.
pub const SCHEMA_KINDS: [&str; 22] = [
    "trace",
    "header",
    "snapshot",
    "sample",
    "fork",
    "exec",
    "exit",
    "signal",
    "stall",
    "anomaly",
    "diagnosis",
    "lost",
    "note",
    "footer",
    "enrollment",
    "summary",
    "index",
    "meta",
    "doctor",
    "preflight",
    "reap",
    "all",
];

/// The JSON schema (2020-12) of one of [`SCHEMA_KINDS`]: `trace` is any line, `all` an object with all of them.
/// `None` for another name.
pub fn schema(kind: &str) -> Option<Value> {
    Some(match kind {
        "trace" => schema_for!(Line).to_value(),
        "header" => line::<HeaderLine>(kind),
        "snapshot" => line::<SnapshotLine>(kind),
        "sample" => line::<SampleLine>(kind),
        "fork" => line::<ForkLine>(kind),
        "exec" => line::<ExecLine>(kind),
        "exit" => line::<ExitLine>(kind),
        "signal" => line::<SignalLine>(kind),
        "stall" => line::<StallLine>(kind),
        "anomaly" => line::<AnomalyLine>(kind),
        "diagnosis" => line::<DiagnosisLine>(kind),
        "lost" => line::<LostLine>(kind),
        "note" => line::<NoteLine>(kind),
        "footer" => line::<FooterLine>(kind),
        "enrollment" => schema_for!(Enrollment).to_value(),
        "summary" => schema_for!(Summary).to_value(),
        "index" => schema_for!(IndexRow).to_value(),
        "meta" => schema_for!(Meta).to_value(),
        "doctor" => schema_for!(Doctor).to_value(),
        "preflight" => schema_for!(Preflight).to_value(),
        "reap" => schema_for!(Reaped).to_value(),
        "all" => SCHEMA_KINDS
            .iter()
            .filter(|name| **name != "all")
            .filter_map(|name| Some(((*name).to_owned(), schema(name)?)))
            .collect(),
        _ => return None,
    })
}

/// The head of every line, and the fields of one kind.
fn line<T: JsonSchema>(kind: &str) -> Value {
    let mut schema = schema_for!(T).to_value();
    let head = json!({
        "v": { "type": "integer", "const": super::TRACE_VERSION },
        "kind": { "const": kind },
        "seq": { "type": "integer", "minimum": 0, "description": "Number of the line in its session, from 0." },
        "ts": { "type": "string", "format": "date-time", "description": "Wall clock, UTC, microseconds." },
        "ts_adjusted": { "type": "boolean", "description": "Moved forward because the clock was set back." },
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
