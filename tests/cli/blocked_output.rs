//! Standard error is a full pipe that nobody reads: the time limit, signals and the job's status are the same
//! as with a reader.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::isolated::isolate;
use crate::support::TRACER;
use crate::support::child::TestChild;

/// Far longer than any of these runs takes with a reader.
const AT_MOST: Duration = Duration::from_secs(60);

/// Both ends of a pipe without room. The writer blocks.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("non-blocking");
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("blocking");
    (reader, writer)
}

/// `run --events` with a full standard error. Every event is a message that cannot be written.
fn run(options: &[&str], job: &str) -> (TestChild, OwnedFd) {
    let (reader, writer) = full_pipe();
    let mut command = Command::new(TRACER);
    command.args(["run", "--events"]).args(options).args(["--", "sh", "-c", job]);
    isolate(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer);
    (TestChild::start(&mut command), reader)
}

#[test]
fn a_full_pipe_does_not_stop_the_time_limit_and_the_trace_counts_what_was_lost() {
    let log = tempfile::tempdir().expect("a directory");
    let place = log.path().to_str().expect("text");
    let options = ["--timeout", "300ms", "--grace", "200ms", "--log-dir", place];
    let (mut tracer, _reader) = run(&options, "exec sleep 1000");
    assert_eq!(tracer.wait_within(AT_MOST).map(|status| status.code()), Some(Some(124)));
    let sessions = log.path().join("sessions");
    let session = std::fs::read_dir(sessions).expect("filed").next().expect("one").expect("read").path();
    assert!(holds(&session, "messages_lost"), "{session:?} does not count the lost messages");
}

/// A file of the directory contains the text.
fn holds(directory: &Path, text: &str) -> bool {
    let mut files = std::fs::read_dir(directory).expect("a directory").flatten();
    files.any(|file| std::fs::read(file.path()).is_ok_and(|it| String::from_utf8_lossy(&it).contains(text)))
}

#[test]
fn a_full_pipe_does_not_stop_signals_and_the_status() {
    let job = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut tracer, _reader) = run(&[], job);
    tracer.expect("ready");
    tracer.signal(Signal::TERM);
    assert_eq!(tracer.wait_within(AT_MOST).map(|status| status.code()), Some(Some(9)));
}

#[test]
fn a_pipe_that_is_read_at_last_gets_every_message_in_order() {
    let (mut tracer, reader) = run(&[], "true; echo ready; read line; exit 3");
    tracer.expect("ready");
    // Its standard input has ended, so that it ends by itself. The reader comes before the time at the end is
    // over, which begins anew with every message that is read.
    let text = std::thread::spawn(move || std::io::read_to_string(std::fs::File::from(reader)));
    assert_eq!(tracer.wait_within(AT_MOST).map(|status| status.code()), Some(Some(3)));
    drop(tracer);
    let text = text.join().expect("no panic").expect("text");
    let events = text.trim_start_matches('x');
    let at = |word: &str| events.find(word).unwrap_or_else(|| panic!("no {word:?} in {events}"));
    assert!(
        at(" begins: ") < at(" exited 3\n") && at(" exited 3\n") < at("tracer-user: exited 3"),
        "{events}"
    );
    assert!(!events.contains("were lost"), "{events}");
}
