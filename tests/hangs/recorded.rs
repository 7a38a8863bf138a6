//! Evidence recorded from the corpora, judged again: without privileges, processes or waiting.
//!
//! `tests/fixtures/evidence` has the evidence, and `expectations.tsv` there the answers: a row for each file
//! with its name, the verdict, and `class/verdict/confidence` of each finding in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tracer_user::core::schema::{SchemaKind, schema};
use tracer_user::diagnosis::Class;
use tracer_user::{Evidence, diagnose};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/evidence")
}

/// The expected verdict and findings of each file, by its name.
fn expectations() -> BTreeMap<String, (String, String)> {
    let table = std::fs::read_to_string(folder().join("expectations.tsv")).expect("the table");
    let rows = table.lines().map(|row| {
        let [name, verdict, findings] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a row of three columns, not {row:?}");
        };
        (name.to_owned(), (verdict.to_owned(), findings.to_owned()))
    });
    rows.collect()
}

fn read(name: &str) -> Evidence {
    let text = std::fs::read(folder().join(name).with_extension("json")).expect("recorded evidence");
    Evidence::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The word of a verdict, class or confidence in JSON.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).expect("a word")
}

/// The verdict of this evidence, and its findings, as the table writes them.
fn judged(evidence: &Evidence) -> (String, String) {
    let diagnosis = diagnose(evidence);
    let findings = diagnosis.findings.iter().map(|finding| {
        format!("{}/{}/{}", word(finding.class), word(finding.verdict), word(finding.confidence))
    });
    let findings = findings.collect::<Vec<_>>().join(" ");
    (word(diagnosis.verdict), if findings.is_empty() { "-".to_owned() } else { findings })
}

#[test]
fn recorded_evidence_gets_the_recorded_answer() {
    let wrong: Vec<String> = expectations()
        .into_iter()
        .filter_map(|(name, expected)| {
            let now = judged(&read(&name));
            (now != expected).then(|| format!("{name}: {now:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    let rows: BTreeSet<String> = expectations().into_keys().collect();
    assert_eq!(files, rows);
}

/// Classes that no scenario shows yet. The list only becomes shorter.
const NOT_RECORDED: [&str; 6] =
    ["leftover", "uninterruptible", "exit-wait", "slow-progress", "not-seen", "asks-userspace"];

#[test]
fn every_class_but_a_few_is_recorded() {
    let recorded: BTreeSet<String> = expectations()
        .values()
        .flat_map(|(_, findings)| findings.split(' '))
        .filter_map(|finding| finding.split('/').next().map(str::to_owned))
        .collect();
    let missing: Vec<&str> =
        Class::ALL.iter().map(|class| class.id()).filter(|id| !recorded.contains(*id)).collect();
    assert_eq!(missing, NOT_RECORDED);
}

#[test]
fn recorded_evidence_passes_its_schema() {
    let validator = jsonschema::validator_for(&schema(SchemaKind::Evidence)).expect("a schema");
    for name in expectations().into_keys() {
        let value = serde_json::to_value(read(&name)).expect("JSON");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn healthy_evidence_is_no_hang() {
    let healthy: Vec<_> = expectations().into_iter().filter(|(name, _)| name.contains("healthy")).collect();
    assert!(healthy.len() > 12, "{healthy:?}");
    for (name, (verdict, findings)) in healthy {
        assert!(["not-hung", "idle"].contains(&verdict.as_str()), "{name}: {verdict}");
        assert!(
            !findings.contains("/deadlock/") && !findings.contains("/orphaned-wait/"),
            "{name}: {findings}"
        );
    }
}

#[test]
fn evidence_survives_being_written_again() {
    for name in ["two_pipes_swapped", "unix_backlog_full", "idle_workers_are_healthy"] {
        let evidence = read(name);
        let again = Evidence::from_json(evidence.to_json().expect("written").as_bytes()).expect("read");
        assert_eq!(again, evidence, "{name}");
    }
}
