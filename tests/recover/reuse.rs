//! A reused pid: the kernel is made to give a dead root's pid to another process, and no recovery takes that
//! for the root, whether the root's end was recorded or not.

use std::process::Stdio;
use std::time::Instant;

use tracer_user::core::gates::{GateReason, RecoveryAction, RecoveryPolicy};
use tracer_user::core::identity::{NS_PER_TICK, ProcessId};
use tracer_user::core::record::sidecar::Enrollment;
use tracer_user::session::recover::RecoverConfig;
use tracer_user::signals::pidfd::PidFd;

use crate::sessions::*;
use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, helper, proc, skip};

/// A process that does nothing, under the pid of a process that is gone.
struct Successor(TestChild);

impl Successor {
    /// `None`: without the right to choose pids, or when another process has this one already.
    fn with_pid_of(gone: ProcessId) -> Option<Self> {
        // In another tick than its predecessor: numbers wrap far too slowly for anything else.
        while anchor().boot_ns / NS_PER_TICK <= gone.start_ticks + 1 {
            std::thread::yield_now();
        }
        let mut child = TestChild::with_pipes(helper::command("takes_pid", &[&gone.tgid.to_string()]));
        let answer = child.line();
        if answer == "made" {
            return Some(Self(child));
        }
        skip(format!("pid {} cannot be given out again: {answer}", gone.tgid));
        None
    }

    fn is_alive(&mut self) -> bool {
        self.0.send_line("state");
        self.0.line() == "alive"
    }
}

#[test]
fn without_a_kernel_record_another_process_under_the_roots_pid_is_not_the_root() {
    let place = Place::new();
    let config =
        RecoverConfig { policy: RecoveryPolicy { adopt: true, ..place.config().policy }, ..place.config() };
    for (id, with_inode) in [("by-start", false), ("by-inode", true)] {
        let (sleeper, root) = sleeper();
        let inode = PidFd::of_number(root.tgid).unwrap().inode().filter(|_| with_inode);
        leave(&place.traces, live_with(&place, Enrollment { pidfd_ino: inode, ..enrollment(id, root) }));
        let report = recover(&RecoverConfig { dry_run: true, ..config.clone() }, &mut || true);
        assert_eq!(entry(&report, id).verdict.action, RecoveryAction::Adopt, "{id}: the root itself runs");
        drop(sleeper);
        let Some(mut successor) = Successor::with_pid_of(root) else { return };
        assert_ne!(proc::identify(root.tgid), root);
        let report = recover(&config, &mut || true);
        assert_eq!(reasons(&report, id), [GateReason::OwnerDied, GateReason::RootEnded(None)], "{id}");
        assert!(is_filed(&report, id) && report.adopted.is_empty(), "{report:#?}");
        assert_eq!(place.summary(id).termination_reason, "UNKNOWN");
        assert!(successor.is_alive());
    }
}

#[test]
fn the_kernel_record_is_the_roots_whichever_process_has_its_pid_now() {
    if !has_kernel_events() {
        return;
    }
    let place = Place::new();
    let words = ["run", "--quiet", "--session-id", "s", "--", "sh", "-c", "echo $$; read -r line; exit 7"];
    let mut owner =
        TestChild::start(tracer(place.temp.path(), &words).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let root = proc::identify(owner.line().parse().unwrap());
    owner.kill();
    // An orphan now: the process that adopted it reaps it, which makes its pid free.
    owner.send_line("end");
    let deadline = Instant::now() + PATIENCE;
    while std::path::Path::new(&format!("/proc/{}", root.tgid)).exists() {
        assert!(Instant::now() < deadline, "the job was not reaped");
        std::thread::yield_now();
    }
    let Some(mut successor) = Successor::with_pid_of(root) else { return };
    let output = output(&mut tracer(place.temp.path(), &["recover", "--adopt", "--min-age", "0s"]));
    assert!(output.status.success(), "{output:?}");
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.processes.leaked.len()), ("EXITED 7", 0));
    assert_eq!(place.trace_names(), Vec::<String>::new());
    assert!(successor.is_alive());
}
