//! Job control of a terminal under `run`: Ctrl-C once, Ctrl-Z and `fg`, background jobs that read.

use std::process::Command;

use crate::isolated::isolate;
use crate::support::child::TestChild;
use crate::support::{PATIENCE, TRACER};

/// Counts interrupts until it reads the line `end`.
const COUNTS: &str = "n=0; trap 'n=$((n+1)); echo INT' INT; echo ready
while read -r line; do echo got $line; [ \"$line\" = end ] && break; done; echo counted $n; exit 33";

/// A shell with job control on a terminal of its own. `$T` is the tracer and `$J` the job's script.
fn shell(job: &str) -> TestChild {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("T", TRACER).env("J", job).env("PS1", "").env("TERM", "dumb").env_remove("PROMPT_COMMAND");
    isolate(&mut command);
    let mut child = TestChild::on_terminal(command);
    child.type_in("stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; echo shell''-ready\n");
    child.expect("shell-ready");
    child
}

#[test]
fn ctrl_c_reaches_the_job_once() {
    let mut child = shell(COUNTS);
    child.type_in("$T run --quiet -- bash -c \"$J\"; echo status $?\n");
    child.expect("ready");
    child.type_in("\x03");
    // A shell that is about to read notices the signal only after it has read.
    child.type_in("more\n");
    let printed = child.expect("got more");
    assert!(printed.contains("INT") || child.prints_within("INT", PATIENCE), "{printed}");
    child.type_in("end\n");
    child.expect("counted 1");
    child.expect("status 33");
}

#[test]
fn ctrl_c_ends_a_job_without_a_handler() {
    let mut child = shell("echo ready; exec sleep 1000");
    child.type_in("(trap 'true' INT; $T run --quiet -- bash -c \"$J\"; echo status $?)\n");
    child.expect("ready");
    child.type_in("\x03");
    child.expect("status 130");
}

#[test]
fn ctrl_z_stops_both_and_fg_goes_on() {
    let mut child = shell(COUNTS);
    child.type_in("$T run --quiet -- bash -c \"$J\"\n");
    child.expect("ready");
    child.type_in("\x1a");
    child.expect("Stopped");
    child.type_in("echo prompt''-back; jobs -p\n");
    child.expect("prompt-back");
    child.type_in("fg >/dev/null; echo status $?\n");
    child.type_in("end\n");
    child.expect("got end");
    child.expect("counted 0");
    child.expect("status 33");
}

#[test]
fn a_job_that_ignores_ctrl_z_is_not_stopped() {
    let mut child = shell("trap '' TSTP; echo ready; read -r line; echo got $line");
    child.type_in("$T run --quiet -- bash -c \"$J\"; echo status $?\n");
    child.expect("ready");
    child.type_in("\x1a");
    child.type_in("hello\n");
    child.expect("got hello");
    child.expect("status 0");
}

#[test]
fn a_background_job_that_reads_is_stopped_and_goes_on_in_the_foreground() {
    let mut child = shell("echo ready; read -r line; echo got $line");
    child.type_in("$T run --quiet -- bash -c \"$J\" &\n");
    child.expect("ready");
    child.type_in("wait -n; echo waited\n");
    child.expect("waited");
    child.type_in("jobs\n");
    child.expect("Stopped");
    child.type_in("fg >/dev/null; echo status $?\n");
    child.type_in("hello\n");
    child.expect("got hello");
    child.expect("status 0");
}

#[test]
fn an_interactive_shell_works_inside() {
    let mut child = shell("");
    child.type_in("PS1='inner''-prompt>' $T run --quiet -- bash --norc --noprofile -i; echo status $?\n");
    child.expect("inner-prompt>");
    child.type_in("sh -c 'echo sleep\"\"s; exec sleep 1000'\n");
    child.expect("sleeps");
    child.type_in("\x03");
    child.expect("inner-prompt>");
    child.type_in("echo in''ner $?; exit 5\n");
    child.expect("inner 130");
    child.expect("status 5");
}
