//! The command line as a shell sees it: one clear line, exit statuses, pipes that break, the environment.

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn tracer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
    command.env_remove("TRACER_FORMAT").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

#[track_caller]
fn one_line_and(output: &Output, code: i32) -> String {
    let text = said(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("tracer-user: ") && text.ends_with('\n'), "{text:?}");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(output.stdout.is_empty(), "something on standard output");
    text
}

#[test]
fn what_makes_no_sense_is_refused_with_2() {
    for words in [&["bogus"][..], &[], &["completions", "no-shell"], &["man", "no-verb"], &["man", "--bogus"]]
    {
        one_line_and(&tracer().args(words).output().expect("runs"), 2);
    }
}

#[test]
fn foreign_bytes_in_an_error_are_escaped() {
    let text = one_line_and(&tracer().arg("bo\x1b[31mgus\nsecond line").output().expect("runs"), 2);
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn help_version_completions_and_manual_go_to_standard_output() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["man", "completions"],
        &["completions", "bash"],
        &["completions", "zsh"],
    ] {
        let output = tracer().args(words).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", said(&output));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = tracer().args(["completions", "bash"]).stdout(writer).output().expect("runs");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = tracer().arg("man").stdout(full).output().expect("runs");
    let text = one_line_and(&output, 125);
    assert!(text.contains("standard output"), "{text}");
}

#[test]
fn no_colour_reaches_a_pipe() {
    let mut child =
        tracer().arg("--help").env("CLICOLOR_FORCE", "1").stdout(Stdio::piped()).spawn().expect("runs");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("ends").success());
    assert!(!text.contains('\x1b'), "{text:?}");
}
