//! The holder of an address that a failed job may have needed: `EADDRINUSE`, explained by the listener's
//! owner.
//!
//! No tracepoint reports that a bind failed, examining the result of every system call is too expensive, and
//! the output of the job is not read. So this claims no more than it knows: the job failed, and a process was
//! listening since before it began, on a port that its command line names or as a leftover of an earlier run.
//! The job's own message says whether that is the reason.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::mpsc;
use std::time::Duration;

use crate::core::leftover::{LeftoverFinding, named_ports};
use crate::core::text::ByteString;
use crate::session::options::Places;

/// The end of a failed job waits at most this long. On a crowded machine the listing takes long.
const AT_MOST: Duration = Duration::from_secs(5);

/// One line for each listener that may have been in the way of a failed job, which ran for `ran_for`.
pub fn explain(places: &Places, command: &[OsString], ran_for: Duration) -> Vec<String> {
    let mut words: Vec<ByteString> =
        command.iter().map(|word| ByteString(word.as_bytes().to_vec())).collect();
    words.extend(std::env::var_os("PORT").map(|port| ByteString(port.as_bytes().to_vec())));
    let ports = named_ports(&words);
    let places = places.clone();
    let (send, receive) = mpsc::channel();
    let looking = std::thread::Builder::new().name("listeners".to_owned()).spawn(move || {
        // The receiver is gone when this took too long.
        let _ = send.send(super::listeners(&places, ports.into_iter().collect()));
    });
    let found = looking.ok().and_then(|_| receive.recv_timeout(AT_MOST).ok()?.ok()).unwrap_or_default();
    // A listener that is younger than the job was not in its way at its beginning.
    let older =
        |finding: &LeftoverFinding| finding.processes.iter().any(|it| it.age_seconds >= ran_for.as_secs());
    found.iter().filter(|finding| older(finding)).map(line).collect()
}

fn line(finding: &LeftoverFinding) -> String {
    let remedy = finding.command.as_ref().map_or_else(String::new, |command| format!("; do: {command}"));
    format!("the job failed; if it reported that an address is in use: {}{remedy}", finding.sentence)
}
