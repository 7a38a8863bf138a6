//! What the kernel programs record, compared with what the kernel itself shows of the same processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that calls them, and report why one is skipped"
)]

#[macro_use]
mod play;

mod absent;
mod exit;
mod exit_parts;
mod layout;
mod load;
mod offsets;
mod runs;
mod sandbox;
mod slots;
mod stall;
mod stall_parts;
mod traced;
mod tree_parts;
mod window;
mod wire;
mod writer;

helpers! {
    "exits" => exit_parts::exits,
    "ends_with" => exit_parts::ends_with,
    "execs_again" => exit_parts::execs_again,
    "facts" => layout::facts,
    "named" => layout::named,
    "idles" => layout::idles,
    "leaf" => tree_parts::leaf,
    "tree" => tree_parts::tree,
    "nest" => tree_parts::nest,
    "waits" => tree_parts::waits,
    "outlives" => tree_parts::outlives,
    "storm" => tree_parts::storm,
    "holds_namespace" => tree_parts::holds_namespace,
    "takes_over" => tree_parts::takes_over,
    "stalls" => stall_parts::stalls,
    "stalls_when_told" => stall_parts::stalls_when_told,
    "sleeps" => stall_parts::sleeps,
    "two_writers" => stall_parts::two_writers,
    "polls_lock" => window::polls_lock,
    "reads_again" => window::reads_again,
    "waits_for_a_line" => window::waits_for_a_line,
    "many_threads" => window::many_threads,
    "unknown_calls" => window::unknown_calls,
    "five_errors" => window::five_errors,
    "counts_own_calls" => window::counts_own_calls,
}
