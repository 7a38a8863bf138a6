//! A listing of sessions as a table.

use crate::core::redact;
use crate::core::summary::{IndexRow, OwnerFate};
use crate::core::text::printable;
use crate::session::sessions::SessionListing;

/// Longer cells move what follows them; a name in a file of another version may have any length.
const WIDEST_COLUMN: usize = 64;

/// One line per session, under a head.
pub fn table(listing: &SessionListing) -> String {
    if listing.sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let head = ["SESSION", "BEGAN", "TOOK", "OUTCOME", "STALLS", "ANOMALIES", "LABELS", "COMMAND"]
        .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(listing.sessions.iter().map(row)).collect();
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(WIDEST_COLUMN);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(row: &IndexRow) -> [String; 8] {
    let labels: Vec<_> =
        row.labels.iter().map(|(key, value)| format!("{key}={}", redact::line(value))).collect();
    let began = row.timestamp.get(..19).unwrap_or(&row.timestamp).replace('T', " ");
    [
        printable(&row.dir_name),
        printable(&began),
        row.duration_seconds.map_or_else(|| "?".to_owned(), took),
        outcome(row),
        row.stall_count.to_string(),
        row.anomaly_count.to_string(),
        printable(labels.join(",")),
        redact::line(&row.command.escaped()),
    ]
}

fn outcome(row: &IndexRow) -> String {
    let owner = match row.owner_fate {
        OwnerFate::Finished => "",
        OwnerFate::Died => ", tracer died",
        OwnerFate::Adopted => ", taken over",
    };
    printable(format!("{} ({}{owner})", row.subtype, row.termination_reason))
}

/// A duration in at most two units.
pub fn took(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}
