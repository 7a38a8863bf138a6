//! Real hangs and healthy work that looks like one, diagnosed by the built tool.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that calls them, and report why one is skipped"
)]

mod corpus;
mod false_alarms;
mod field;
mod pytest_recipe;
mod recorded;
mod runner;
mod stacks;
#[path = "../support/mod.rs"]
mod support;
