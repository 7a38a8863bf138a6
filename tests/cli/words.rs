//! The command line as a shell sees it: one clear line, exit statuses, broken pipes, the environment.

use std::process::{Command, Output, Stdio};

use crate::support::TRACER;
use crate::support::child::{TestChild, output};

fn tracer() -> Command {
    let mut command = Command::new(TRACER);
    command.env_remove("TRACER_FORMAT");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

#[track_caller]
fn one_line_and(output: &Output, code: i32) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("tracer-user: ") && text.ends_with('\n'), "{text:?}");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(output.stdout.is_empty(), "something on standard output");
    text
}

#[test]
fn invalid_arguments_are_refused_with_2() {
    for words in [&["bogus"][..], &["completions", "no-shell"], &["man", "no-verb"], &["man", "--bogus"]] {
        one_line_and(&output(tracer().args(words)), 2);
    }
}

#[test]
fn without_a_verb_the_help_is_on_standard_error() {
    let output = output(&mut tracer());
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && stderr(&output).contains("Commands:"), "{output:?}");
}

#[test]
fn an_error_names_a_variable_of_the_environment() {
    let text = one_line_and(&output(tracer().args(["sessions", "list"]).env("TRACER_LIMIT", "x")), 2);
    assert!(text.contains("for 'TRACER_LIMIT (environment)'"), "{text}");
}

#[test]
fn foreign_bytes_in_an_error_are_escaped() {
    let text = one_line_and(&output(tracer().arg("bo\x1b[31mgus\nsecond line")), 2);
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn help_version_completions_and_manual_go_to_standard_output() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["man", "completions"],
        &["man", "sessions", "list"],
        &["help", "run"],
        &["completions", "bash"],
        &["completions", "zsh"],
    ] {
        let output = output(tracer().args(words));
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = tracer();
    command.args(["completions", "bash"]).stdout(writer).stderr(Stdio::piped());
    let (status, stderr) = TestChild::start(&mut command).finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut command = tracer();
    command.arg("man").stdout(full).stderr(Stdio::piped());
    let (status, text) = TestChild::start(&mut command).finish();
    assert_eq!((status.code(), text.lines().count()), (Some(125), 1), "{text}");
    assert!(text.contains("standard output"), "{text}");
}

#[test]
fn no_color_reaches_a_pipe() {
    let output = output(tracer().arg("--help").env("CLICOLOR_FORCE", "1"));
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.contains('\x1b'), "{text:?}");
}
