//! Finds the session that somebody means: by its name, the beginning of its name, or its place from the end.

use anyhow::{Context as _, bail};

use super::sessions::{SessionFilter, list};
use crate::core::summary::IndexRow;
use crate::store::LogConfig;

/// At most this many names are in an error.
const MAX_NAMES: usize = 5;

/// The name of the session that `word` means.
///
/// # Errors
/// When no session, or more than one, is meant, or the log cannot be read.
pub fn resolve(config: &LogConfig, word: &str) -> anyhow::Result<String> {
    let filter = SessionFilter { include_cleared: true, ..SessionFilter::default() };
    let rows = list(config, &filter)?.sessions;
    // A session whose row is damaged has its directory, so an unknown name is tried as it is.
    match find(&rows, word) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Ok(word.to_owned()),
        Err(error) => Err(error).with_context(|| format!("session {word}")),
    }
}

fn find(rows: &[IndexRow], word: &str) -> anyhow::Result<Option<String>> {
    if let Some(back) = from_the_end(word) {
        let index = rows.len().checked_sub(back);
        let Some(row) = index.and_then(|index| rows.get(index)) else {
            bail!("there are only {} sessions: see `tracer-user sessions list --all`", rows.len());
        };
        return Ok(Some(row.dir_name.clone()));
    }
    if rows.iter().any(|row| row.dir_name == word) {
        return Ok(Some(word.to_owned()));
    }
    let matching: Vec<&str> =
        rows.iter().map(|row| row.dir_name.as_str()).filter(|name| name.starts_with(word)).collect();
    match matching.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        many => {
            let newest: Vec<_> = many.iter().rev().take(MAX_NAMES).copied().collect();
            let more = if many.len() > newest.len() { ", …" } else { "" };
            bail!(
                "{} sessions begin like this: {}{more}: write more of the name",
                many.len(),
                newest.join(", ")
            )
        }
    }
}

/// `last` is 1, `-1` is 1, `-2` is 2.
fn from_the_end(word: &str) -> Option<usize> {
    if word == "last" {
        return Some(1);
    }
    word.strip_prefix('-')?.parse().ok().filter(|back| *back > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Vec<IndexRow> {
        let row = |name: &&str| {
            let row = serde_json::json!({
                "v": 1, "session_id": name, "dir_name": name, "timestamp": "2026-01-01T00:00:00Z", "cwd": null,
                "command": "true", "labels": {}, "success": true, "subtype": "success", "exit_code": 0,
                "termination_reason": "EXITED 0", "owner_fate": "finished", "duration_seconds": 1.0,
                "snapshot_count": 0, "anomaly_count": 0, "stall_count": 0, "peak_rss_kb": null,
                "peak_oom_score": null, "tracked_comm": null, "tracked_comm_drift": false,
            });
            serde_json::from_value(row).unwrap()
        };
        names.iter().map(row).collect()
    }

    fn found(word: &str) -> Result<Option<String>, String> {
        find(&rows(&["ci-1", "ci-12", "nightly"]), word).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_its_beginning_or_its_place_from_the_end_is_enough() {
        for (word, name) in [
            ("ci-1", "ci-1"),
            ("ci-12", "ci-12"),
            ("n", "nightly"),
            ("last", "nightly"),
            ("-1", "nightly"),
            ("-3", "ci-1"),
        ] {
            assert_eq!(found(word), Ok(Some(name.to_owned())), "{word}");
        }
        assert_eq!(found("other"), Ok(None));
    }

    #[test]
    fn what_is_ambiguous_or_too_far_back_is_an_error() {
        let text = found("ci").unwrap_err();
        assert_eq!(text, "2 sessions begin like this: ci-12, ci-1: write more of the name");
        assert!(found("-4").unwrap_err().contains("only 3"));
    }
}
