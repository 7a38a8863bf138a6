//! The escalation of signals and the relief of pipes, on real processes.

use std::io::{PipeReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tracer_user::core::escalation::{EscalationStep, Obstacle, Termination, TerminationOutcome};
use tracer_user::core::identity::ProcessId;
use tracer_user::procfs_view::{ProcRoot, table};
use tracer_user::session::live::terminate::end;
use tracer_user::signals::pidfd::{PidFd, PidFdError};
use tracer_user::signals::relieve::{RelieveError, relieve};

use crate::isolated::isolate;
use crate::support::child::TestChild;
use crate::support::{PATIENCE, proc};

const GRACE: Duration = Duration::from_secs(10);

fn sh(text: &str) -> TestChild {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    isolate(&mut command);
    let mut child = TestChild::with_output(command);
    child.expect("ready");
    child
}

fn id_of(pid: Pid) -> ProcessId {
    proc::identify(pid.as_raw_nonzero().get().unsigned_abs())
}

fn escalate(meant: impl FnMut() -> Vec<ProcessId>, grace: Duration) -> Vec<Termination> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(end(meant, grace, |_| {}))
}

fn escalate_one(child: &TestChild, grace: Duration) -> Termination {
    let id = id_of(child.pid());
    let mut all = escalate(|| vec![id], grace);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn the_first_step_that_works_is_the_last() {
    let mut child = sh("trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done");
    let it = escalate_one(&child, GRACE);
    assert_eq!(it.outcome, TerminationOutcome::Ended { by: EscalationStep::Interrupt }, "{}", it.sentence());
    assert_eq!(child.wait().code(), Some(3));
}

#[test]
fn a_step_that_cannot_work_is_not_waited_for() {
    let mut child = sh("trap '' INT TERM; echo ready; exec sleep 1000");
    let began = Instant::now();
    let it = escalate_one(&child, GRACE);
    assert!(began.elapsed() < GRACE, "waited for a step that could not work");
    assert_eq!(it.outcome, TerminationOutcome::Ended { by: EscalationStep::Kill }, "{}", it.sentence());
    let seen: Vec<_> = it.tried.iter().map(|tried| (tried.step, tried.obstacles.clone())).collect();
    let ignored = vec![Obstacle::Ignored];
    assert_eq!(
        seen,
        [
            (EscalationStep::Interrupt, ignored.clone()),
            (EscalationStep::Terminate, ignored),
            (EscalationStep::Kill, vec![])
        ]
    );
    assert_eq!(child.wait().signal(), Some(9));
}

#[test]
fn a_handler_that_does_not_end_the_process_costs_one_grace_period() {
    let mut child = sh("trap : INT; echo ready; while :; do sleep 0.01; done");
    let grace = Duration::from_millis(300);
    let began = Instant::now();
    let it = escalate_one(&child, grace);
    assert!(began.elapsed() >= grace, "the grace period was cut short");
    assert_eq!(it.outcome, TerminationOutcome::Ended { by: EscalationStep::Terminate }, "{}", it.sentence());
    assert_eq!(child.wait().signal(), Some(15));
}

#[test]
fn a_stopped_process_is_continued_to_let_it_end() {
    let mut child = sh("trap 'exit 4' INT; echo ready; while :; do sleep 0.01; done");
    child.signal(Signal::STOP);
    let pid = child.process().tgid;
    let deadline = Instant::now() + PATIENCE;
    while proc::state(pid).as_deref() != Some("T") {
        assert!(Instant::now() < deadline, "never stopped");
        std::thread::yield_now();
    }
    let it = escalate_one(&child, GRACE);
    assert!(it.continued, "{}", it.sentence());
    assert_eq!(it.outcome, TerminationOutcome::Ended { by: EscalationStep::Interrupt });
    assert_eq!(child.wait().code(), Some(4));
}

#[test]
fn children_that_appear_during_the_escalation_are_included() {
    // On SIGINT it starts another process, which ignores SIGINT and SIGTERM.
    let mut child = sh("trap 'sh -c \"trap \\\"\\\" INT TERM; echo late \\$\\$; exec sleep 1000\" &' INT
        echo ready; while :; do sleep 0.01; done");
    let first = id_of(child.pid());
    let mut late = None;
    let all = escalate(
        || {
            if late.is_none() && child.prints_within("late", Duration::from_millis(1)) {
                let pid = child.expect_number("late");
                late = Some(id_of(child.track(pid)));
            }
            [first].into_iter().chain(late).collect()
        },
        Duration::from_secs(1),
    );
    let late = late.expect("it appeared within the grace period");
    assert_eq!(all.iter().map(|it| it.pid).collect::<Vec<_>>(), [first.tgid, late.tgid], "{all:?}");
    assert_eq!(all[0].outcome, TerminationOutcome::Ended { by: EscalationStep::Terminate });
    assert_eq!(all[1].outcome, TerminationOutcome::Ended { by: EscalationStep::Kill });
    assert!(child.tracked_ends_within(0, PATIENCE));
    child.wait();
}

#[test]
fn a_reused_pid_is_left_alone() {
    let mut child = sh("echo ready; exec sleep 1000");
    let mut id = id_of(child.pid());
    id.start_ticks -= 1;
    // The sampler does not show it, and opening the pidfd is refused.
    assert_eq!(escalate(|| vec![id], Duration::from_millis(10)), []);
    let opened = PidFd::open(id, |tgid| table::start_ticks(&ProcRoot::system(), tgid));
    assert!(matches!(opened, Err(PidFdError::Gone)), "{opened:?}");
    let unreadable = PidFd::open(id_of(child.pid()), |_| Err(std::io::ErrorKind::PermissionDenied.into()));
    assert!(matches!(unreadable, Err(PidFdError::Unproved)), "{unreadable:?}");
    child.signal(Signal::KILL);
    child.wait();
}

#[test]
fn neither_the_tool_nor_init_is_ever_ended() {
    let own = id_of(rustix::process::getpid());
    let init = ProcessId { tgid: 1, start_ticks: proc::start_ticks(1).expect("init exists") };
    assert_eq!(escalate(|| vec![own, init], Duration::from_millis(10)), []);
}

/// A child that writes 100 000 bytes into a pipe that is not read, the pipe, and its inode.
fn stalled_writer() -> (TestChild, PipeReader, u64) {
    let text = "import os,sys; os.write(1, b'x'*60000); print('begun', file=sys.stderr, flush=True); \
                os.write(1, b'y'*40000)";
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("python3");
    command.args(["-c", text]).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let mut child = TestChild::start(&mut command);
    child.expect("begun");
    let inode = rustix::fs::fstat(&reader).expect("fstat").st_ino;
    (child, reader, inode)
}

#[test]
fn an_enlarged_pipe_lets_its_writer_go_on_and_loses_nothing() {
    let (mut child, mut reader, inode) = stalled_writer();
    let process = PidFd::of_number(child.process().tgid).expect("our child");
    // 100 000 bytes do not fit into 65 536: it cannot end before the pipe grows.
    assert!(!process.wait_ended(Duration::from_millis(100)).expect("poll"));
    let relieved = relieve(&process, 1, inode, 1 << 20).expect("relieved");
    assert!(relieved.after > relieved.before && relieved.after >= 100_000, "{relieved:?}");
    assert!(process.wait_ended(PATIENCE).expect("poll"), "the writer did not go on");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("read: no other copy of the write end is open");
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes[..60_000].iter().all(|b| *b == b'x') && bytes[60_000..].iter().all(|b| *b == b'y'));
    assert!(child.wait().success());
}

#[test]
fn another_file_under_the_same_descriptor_is_not_touched() {
    let (mut child, _reader, inode) = stalled_writer();
    let process = PidFd::of_number(child.process().tgid).expect("our child");
    assert!(matches!(relieve(&process, 1, inode + 1, 1 << 20), Err(RelieveError::Changed)));
    assert!(matches!(relieve(&process, 0, inode, 1 << 20), Err(RelieveError::Changed)));
    assert!(matches!(relieve(&process, 999, inode, 1 << 20), Err(RelieveError::Changed)));
    assert!(matches!(relieve(&process, 1, inode, 65_536), Err(RelieveError::AtLimit(65_536))));
    child.kill();
    child.wait();
    assert!(matches!(relieve(&process, 1, inode, 1 << 20), Err(RelieveError::Gone)));
}
