//! The tool as its users see it: verbs, exit statuses, signals, terminals, messages.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that calls them, and report why one is skipped"
)]

mod anomalies;
mod attach;
mod blocked_output;
mod doctor;
mod escalation;
mod hang;
mod isolated;
mod job;
mod job_first;
mod leftover;
mod mute_files;
mod no_kernel;
mod pytest_fixture;
mod reap_limits;
mod report_files;
mod reports;
mod schemas;
mod sessions;
mod sessions_verb;
mod shells;
mod suite;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tidy;
mod tree;
mod watch;
mod words;
