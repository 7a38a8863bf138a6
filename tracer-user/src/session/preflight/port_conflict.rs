//! ProcessKey held an address when a job failed: `EADDRINUSE`, explained by the listener's owner.
//!
//! No tracepoint tells that binding failed, what a system call returned is too dear to look at for every call there is,
//! and a job's output is none of ours. So this claims no more than it knows: that the job failed, and that somebody was
//! listening since before it began, on a port its command line names or as a leftover of an earlier run. Whether that
//! is why, the job's own message says.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::mpsc;
use std::time::Duration;

use crate::core::leftover::{Finding, named_ports};
use crate::core::text::ByteString;
use crate::session::options::Places;

/// A failed job's end waits no longer than this for it: much on a crowded machine, where a glance takes long.
const AT_MOST: Duration = Duration::from_secs(5);

/// One line for each listener that may have been in a failed job's way. `ran_for` is how long the job ran.
pub fn explain(places: &Places, command: &[OsString], ran_for: Duration) -> Vec<String> {
    let mut words: Vec<ByteString> =
        command.iter().map(|word| ByteString(word.as_bytes().to_vec())).collect();
    words.extend(std::env::var_os("PORT").map(|port| ByteString(port.as_bytes().to_vec())));
    let ports = named_ports(&words);
    let places = places.clone();
    let (send, receive) = mpsc::channel();
    let looking = std::thread::Builder::new().name("listeners".to_owned()).spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = send.send(super::listeners(&places, ports.into_iter().collect()));
    });
    let found = looking.ok().and_then(|_| receive.recv_timeout(AT_MOST).ok()?.ok()).unwrap_or_default();
    // ProcessKey came after the job had begun was not in its way when it asked first.
    let older = |finding: &Finding| finding.processes.iter().any(|it| it.age_seconds >= ran_for.as_secs());
    found.iter().filter(|finding| older(finding)).map(line).collect()
}

fn line(finding: &Finding) -> String {
    let remedy = finding.command.as_ref().map_or_else(String::new, |command| format!("; do: {command}"));
    format!("the job failed; if it said that an address is in use: {}{remedy}", finding.sentence)
}
