//! The processes that tests trace: a program that is one of the helpers below, by the name of its first
//! argument.
//!
//! So a test needs no compiler and no other program on the machine. The program is built for tests alone: no
//! other build has the feature that it requires.
//!
//! A helper begins on the only thread there is. A leader that ends alone, and a fork that must not meet the
//! locks of another thread, are then as simple as in C.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a helper that cannot go on fails its test"
)]

mod exits;
mod facts;
mod parent;
#[path = "../support/proc.rs"]
#[allow(dead_code, reason = "shared with the tests, which use the rest")]
mod proc;
mod reuse;
mod stalls;
mod trees;
mod window;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// This program's path.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn main() {
    // `/proc/self` is of no use once the leader has ended.
    PROGRAM.get_or_init(|| std::env::current_exe().expect("this program's path"));
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: sets a default action. Rust's runtime has set others, which a program in C would not have.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--held") {
        words.remove(0);
        parent::receive();
    }
    let name = words.remove(0);
    let work: fn(&[String]) = match name.as_str() {
        "becomes_root_until_a_line" => facts::becomes_root_until_a_line,
        "exits" => exits::exits,
        "ends_with" => exits::ends_with,
        "execs_again" => exits::execs_again,
        "facts" => facts::facts,
        "mute_argument" => facts::mute_argument,
        "named" => facts::named,
        "idles" => facts::idles,
        "leaf" => trees::leaf,
        "tree" => trees::tree,
        "nest" => trees::nest,
        "waits" => trees::waits,
        "outlives" => trees::outlives,
        "storm" => trees::storm,
        "holds_namespace" => trees::holds_namespace,
        "takes_over" => trees::takes_over,
        "stalls" => stalls::stalls,
        "stalls_on_request" => stalls::stalls_on_request,
        "sleeps" => stalls::sleeps,
        "two_writers" => stalls::two_writers,
        "polls_lock" => window::polls_lock,
        "reads_again" => window::reads_again,
        "waits_for_a_line" => window::waits_for_a_line,
        "many_threads" => window::many_threads,
        "unknown_calls" => window::unknown_calls,
        "five_errors" => window::five_errors,
        "counts_own_calls" => window::counts_own_calls,
        "takes_pid" => reuse::takes_pid,
        other => panic!("no helper {other}"),
    };
    work(&words);
    end(0);
}

/// Ends the process at once, with all its threads.
fn end(code: i32) -> ! {
    // SAFETY: ends the process; nothing is left to be sound.
    unsafe { libc::_exit(code) }
}

/// This program as another helper.
fn command(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM.get().expect("set first"));
    command.arg(name).args(words);
    command
}
