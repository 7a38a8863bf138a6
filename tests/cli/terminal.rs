//! A terminal's job control under `run`: Ctrl-C once, Ctrl-Z and `fg`, background jobs that read.

use std::process::Command;

use crate::talk::{self, Talk};

const TRACER: &str = env!("CARGO_BIN_EXE_tracer-user");

/// Counts interrupts; ends when told by a line.
const COUNTS: &str = "n=0; trap 'n=$((n+1)); echo INT' INT; echo ready
while read -r line; do echo got $line; [ \"$line\" = end ] && break; done; echo counted $n; exit 33";

/// A shell with job control on a terminal of its own, with `$T` the tracer and `$J` the job's text.
fn shell(job: &str) -> Talk {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("T", TRACER).env("J", job).env("PS1", "").env("TERM", "dumb").env_remove("PROMPT_COMMAND");
    talk::isolate(&mut command);
    let mut talk = Talk::on_terminal(command);
    talk.type_in("stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; echo shell''-ready\n");
    talk.hear("shell-ready");
    talk
}

#[test]
fn ctrl_c_reaches_the_job_once() {
    let mut talk = shell(COUNTS);
    talk.type_in("$T run --quiet -- bash -c \"$J\"; echo status $?\n");
    talk.hear("ready");
    talk.type_in("\x03");
    // A shell that is about to read notices the signal only when it has read.
    talk.type_in("more\n");
    let heard = talk.hear("got more");
    assert!(heard.contains("INT") || talk.output_has("INT", talk::PATIENCE), "{heard}");
    talk.type_in("end\n");
    talk.hear("counted 1");
    talk.hear("status 33");
}

#[test]
fn ctrl_c_ends_a_job_that_does_not_care() {
    let mut talk = shell("echo ready; exec sleep 1000");
    talk.type_in("(trap 'true' INT; $T run --quiet -- bash -c \"$J\"; echo status $?)\n");
    talk.hear("ready");
    talk.type_in("\x03");
    talk.hear("status 130");
}

#[test]
fn ctrl_z_stops_both_and_fg_goes_on() {
    let mut talk = shell(COUNTS);
    talk.type_in("$T run --quiet -- bash -c \"$J\"\n");
    talk.hear("ready");
    talk.type_in("\x1a");
    talk.hear("Stopped");
    talk.type_in("echo prompt''-back; jobs -p\n");
    talk.hear("prompt-back");
    talk.type_in("fg >/dev/null; echo status $?\n");
    talk.type_in("end\n");
    talk.hear("got end");
    talk.hear("counted 0");
    talk.hear("status 33");
}

#[test]
fn a_job_that_ignores_ctrl_z_is_not_stopped_by_us() {
    let mut talk = shell("trap '' TSTP; echo ready; read -r line; echo got $line");
    talk.type_in("$T run --quiet -- bash -c \"$J\"; echo status $?\n");
    talk.hear("ready");
    talk.type_in("\x1a");
    talk.type_in("hello\n");
    talk.hear("got hello");
    talk.hear("status 0");
}

#[test]
fn a_background_job_that_reads_is_stopped_and_goes_on_in_the_foreground() {
    let mut talk = shell("echo ready; read -r line; echo got $line");
    talk.type_in("$T run --quiet -- bash -c \"$J\" &\n");
    talk.hear("ready");
    talk.type_in("wait -n; echo waited\n");
    talk.hear("waited");
    talk.type_in("jobs\n");
    talk.hear("Stopped");
    talk.type_in("fg >/dev/null; echo status $?\n");
    talk.type_in("hello\n");
    talk.hear("got hello");
    talk.hear("status 0");
}

#[test]
fn an_interactive_shell_works_inside() {
    let mut talk = shell("");
    talk.type_in("PS1='inner''-prompt>' $T run --quiet -- bash --norc --noprofile -i; echo status $?\n");
    talk.hear("inner-prompt>");
    talk.type_in("sh -c 'echo sleep\"\"s; exec sleep 1000'\n");
    talk.hear("sleeps");
    talk.type_in("\x03");
    talk.hear("inner-prompt>");
    talk.type_in("echo in''ner $?; exit 5\n");
    talk.hear("inner 130");
    talk.hear("status 5");
}
