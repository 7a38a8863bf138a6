//! The quick recovery at the beginning of a run: in the background, waited for only a moment.

use super::{Outcome, RecoverConfig, Report, recover};
use std::sync::mpsc;
use std::time::Duration;

/// What a quick recovery came to.
#[derive(Debug)]
pub struct Quick {
    /// One line for the user; `None` when there was nothing to say.
    pub notice: Option<String>,
    /// It goes on in the background.
    pub unfinished: bool,
}

/// Recovers in a thread of its own, and waits no longer than `budget` for it. What is not done by then goes on beside the
/// run; if the run is over first, the next recovery finds the rest, since a session is whole in one place at any moment.
pub fn quick(config: RecoverConfig, budget: Duration) -> Quick {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::Builder::new().name("recover".to_owned()).spawn(move || {
        // Nobody listens any more when the budget was spent.
        let _ = send.send(recover(&config, &mut || true));
    });
    if thread.is_err() {
        return Quick { notice: None, unfinished: false };
    }
    match receive.recv_timeout(budget) {
        Ok(report) => Quick { notice: notice(&report), unfinished: false },
        Err(_) => Quick {
            notice: Some("recovering sessions whose tracer died, in the background".to_owned()),
            unfinished: true,
        },
    }
}

/// One line about a recovery that found something to do; `None` when it did not.
fn notice(report: &Report) -> Option<String> {
    let (filed, failed) = (report.filed(), report.failed());
    if filed + failed == 0 {
        return None;
    }
    let names: Vec<_> = (report.sessions.iter())
        .filter_map(|entry| match &entry.outcome {
            Outcome::Filed { dir_name, termination_reason, .. } => {
                Some(format!("{dir_name} ({termination_reason})"))
            }
            _ => None,
        })
        .take(3)
        .collect();
    let more = if filed > names.len() { ", …" } else { "" };
    let listed = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
    let trouble = if failed > 0 {
        format!("; {failed} could not be finished, see `tracer-user recover`")
    } else {
        String::new()
    };
    Some(format!("finished {filed} session(s) whose tracer had died{listed}{trouble}"))
}
