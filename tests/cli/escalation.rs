//! The ladder and the relief of pipes, on real processes.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::talk::{self, Talk};
use rustix::process::{Pid, Signal, kill_process};
use tracer_user::core::escalation::{EscalationStep, Obstacle, Outcome, Termination};
use tracer_user::core::identity::ProcessId;
use tracer_user::procfs_view::{ProcRoot, table};
use tracer_user::session::terminate::end;
use tracer_user::signals::pidfd::{PidFd, Unavailable};
use tracer_user::signals::relieve::{NotRelieved, relieve};

const GRACE: Duration = Duration::from_secs(10);

fn sh(text: &str) -> Talk {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    talk::isolate(&mut command);
    let mut talk = Talk::on_pipe(command);
    talk.hear("ready");
    talk
}

fn id_of(pid: Pid) -> ProcessId {
    let tgid = pid.as_raw_nonzero().get().unsigned_abs();
    ProcessId {
        tgid,
        start_ticks: table::start_ticks(&ProcRoot::system(), tgid).expect("read").expect("it lives"),
    }
}

fn escalate(meant: impl FnMut() -> Vec<ProcessId>, grace: Duration) -> Vec<Termination> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(end(meant, grace, |_| {}))
}

fn climb_one(talk: &Talk, grace: Duration) -> Termination {
    let id = id_of(talk.pid());
    let mut all = escalate(|| vec![id], grace);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn the_first_rung_that_works_is_the_last() {
    let mut talk = sh("trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done");
    let it = climb_one(&talk, GRACE);
    assert_eq!(it.outcome, Outcome::Ended { by: EscalationStep::Interrupt }, "{}", it.sentence());
    assert_eq!(talk.wait().code(), Some(3));
}

#[test]
fn a_rung_that_cannot_work_is_not_waited_for() {
    let mut talk = sh("trap '' INT TERM; echo ready; exec sleep 1000");
    let began = Instant::now();
    let it = climb_one(&talk, GRACE);
    assert!(began.elapsed() < GRACE, "waited for what could not work");
    assert_eq!(it.outcome, Outcome::Ended { by: EscalationStep::Kill }, "{}", it.sentence());
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
    assert_eq!(talk.wait().signal(), Some(9));
}

#[test]
fn a_handler_that_does_not_end_it_costs_one_grace() {
    let mut talk = sh("trap : INT; echo ready; while :; do sleep 0.01; done");
    let grace = Duration::from_millis(300);
    let began = Instant::now();
    let it = climb_one(&talk, grace);
    assert!(began.elapsed() >= grace, "the grace was not given");
    assert_eq!(it.outcome, Outcome::Ended { by: EscalationStep::Terminate }, "{}", it.sentence());
    assert_eq!(talk.wait().signal(), Some(15));
}

#[test]
fn a_stopped_process_is_continued_so_that_it_can_end() {
    let mut talk = sh("trap 'exit 4' INT; echo ready; while :; do sleep 0.01; done");
    kill_process(talk.pid(), Signal::STOP).expect("stopped");
    let stat = format!("/proc/{}/stat", talk.pid());
    let deadline = Instant::now() + talk::PATIENCE;
    while !std::fs::read_to_string(&stat).expect("it lives").contains(") T ") {
        assert!(Instant::now() < deadline, "never stopped");
    }
    let it = climb_one(&talk, GRACE);
    assert!(it.continued, "{}", it.sentence());
    assert_eq!(it.outcome, Outcome::Ended { by: EscalationStep::Interrupt });
    assert_eq!(talk.wait().code(), Some(4));
}

#[test]
fn children_that_appear_meanwhile_are_included() {
    // On SIGINT it starts another process that cares for neither SIGINT nor SIGTERM.
    let mut talk = sh("trap 'sh -c \"trap \\\"\\\" INT TERM; echo late \\$\\$; exec sleep 1000\" &' INT
        echo ready; while :; do sleep 0.01; done");
    let first = id_of(talk.pid());
    let mut late = None;
    let all = escalate(
        || {
            if late.is_none() && talk.output_has("late", Duration::from_millis(1)) {
                let pid = talk.hear_number("late");
                late = Some(id_of(talk.adopt(pid)));
            }
            [first].into_iter().chain(late).collect()
        },
        Duration::from_secs(1),
    );
    let late = late.expect("it appeared within the grace");
    assert_eq!(all.iter().map(|it| it.pid).collect::<Vec<_>>(), [first.tgid, late.tgid], "{all:?}");
    assert_eq!(all[0].outcome, Outcome::Ended { by: EscalationStep::Terminate });
    assert_eq!(all[1].outcome, Outcome::Ended { by: EscalationStep::Kill });
    assert!(talk.adopted_ended(0, talk::PATIENCE));
    talk.wait();
}

#[test]
fn a_recycled_number_is_left_alone() {
    let mut talk = sh("echo ready; exec sleep 1000");
    let mut id = id_of(talk.pid());
    id.start_ticks -= 1;
    // The sampler does not show it, and the pidfd is refused.
    assert_eq!(escalate(|| vec![id], Duration::from_millis(10)), []);
    let opened = PidFd::open(id, |tgid| table::start_ticks(&ProcRoot::system(), tgid));
    assert!(matches!(opened, Err(Unavailable::Gone)), "{opened:?}");
    let unreadable = PidFd::open(id_of(talk.pid()), |_| Err(std::io::ErrorKind::PermissionDenied.into()));
    assert!(matches!(unreadable, Err(Unavailable::Unproved)), "{unreadable:?}");
    talk.signal(Signal::KILL);
    talk.wait();
}

#[test]
fn ourselves_and_init_are_never_meant() {
    let us = id_of(rustix::process::getpid());
    let init = ProcessId {
        tgid: 1,
        start_ticks: table::start_ticks(&ProcRoot::system(), 1).expect("read").unwrap_or(0),
    };
    assert_eq!(escalate(|| vec![us, init], Duration::from_millis(10)), []);
}

/// A child that writes 100 000 bytes into a pipe nobody reads.
fn stalled_writer() -> (Child, u64) {
    let text = "import os,sys; os.write(1, b'x'*60000); sys.stderr.write('r'); sys.stderr.flush(); \
                os.write(1, b'y'*40000)";
    let mut child = Command::new("python3")
        .args(["-c", text])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    child.stderr.as_mut().expect("piped").read_exact(&mut [0]).expect("it has begun");
    let ino = rustix::fs::fstat(child.stdout.as_ref().expect("piped")).expect("fstat").st_ino;
    (child, ino)
}

#[test]
fn an_enlarged_pipe_lets_its_writer_go_on_and_loses_nothing() {
    let (mut child, ino) = stalled_writer();
    let process = PidFd::of_number(child.id()).expect("our child");
    // 100 000 bytes do not fit into 65 536: until the pipe grows it cannot end.
    assert!(!process.wait_ended(Duration::from_millis(100)).expect("poll"));
    let relieved = relieve(&process, 1, ino, 1 << 20).expect("relieved");
    assert!(relieved.after > relieved.before && relieved.after >= 100_000, "{relieved:?}");
    assert!(process.wait_ended(talk::PATIENCE).expect("poll"), "the writer did not go on");
    let mut bytes = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut bytes).expect("read: our copy is closed");
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes[..60_000].iter().all(|b| *b == b'x') && bytes[60_000..].iter().all(|b| *b == b'y'));
    assert!(child.wait().expect("ended").success());
}

#[test]
fn another_file_under_the_same_number_is_not_touched() {
    let (mut child, ino) = stalled_writer();
    let process = PidFd::of_number(child.id()).expect("our child");
    assert!(matches!(relieve(&process, 1, ino + 1, 1 << 20), Err(NotRelieved::Changed)));
    assert!(matches!(relieve(&process, 0, ino, 1 << 20), Err(NotRelieved::Changed)));
    assert!(matches!(relieve(&process, 999, ino, 1 << 20), Err(NotRelieved::Changed)));
    assert!(matches!(relieve(&process, 1, ino, 65_536), Err(NotRelieved::AtLimit(65_536))));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(matches!(relieve(&process, 1, ino, 1 << 20), Err(NotRelieved::Gone)));
}
