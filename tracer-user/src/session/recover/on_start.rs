//! Recovery at the beginning of a session: in the background, waited for only a moment.

use super::{RecoverConfig, RecoveryOutcome, RecoveryReport, recover};
use std::sync::mpsc;
use std::time::Duration;

/// The result of a recovery at the beginning of a session.
#[derive(Debug)]
pub struct StartRecovery {
    /// One line for the user; `None` when nothing was recovered.
    pub notice: Option<String>,
    /// It continues in the background.
    pub unfinished: bool,
}

/// Recovers in a thread of its own, and waits at most `budget` for it. The rest is done beside the new
/// session. If that is over first, the next recovery finds what is left: at any moment a session is whole in
/// one place.
pub fn on_start(config: RecoverConfig, budget: Duration) -> StartRecovery {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::Builder::new().name("recover".to_owned()).spawn(move || {
        // The receiver is gone once the budget is spent.
        let _ = send.send(recover(&config, &mut || true));
    });
    if thread.is_err() {
        return StartRecovery { notice: None, unfinished: false };
    }
    match receive.recv_timeout(budget) {
        Ok(report) => StartRecovery { notice: notice(&report), unfinished: false },
        Err(_) => StartRecovery {
            notice: Some("recovering sessions whose tracer died, in the background".to_owned()),
            unfinished: true,
        },
    }
}

/// One line about a recovery that finished sessions, or failed to; `None` when there were none.
fn notice(report: &RecoveryReport) -> Option<String> {
    let (filed, failed) = (report.filed(), report.failed());
    if filed + failed == 0 {
        return None;
    }
    let names: Vec<_> = (report.sessions.iter())
        .filter_map(|entry| match &entry.outcome {
            RecoveryOutcome::Filed { dir_name, termination_reason, .. } => {
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
