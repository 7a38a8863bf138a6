//! Evidence of a `/proc` made of files: states that no test can arrange on a live machine.

use super::collect::FirstReading;
use super::{Ask, Request, collect};
use crate::core::evidence::NoCallWindow;
use crate::core::evidence::{
    Access, ByteString, Evidence, ObjectFacts, ObjectId, Process, Scope, Timeout, Wait,
};
use crate::core::identity::ProcessId;
use crate::core::syscalls::{self, Architecture};
use crate::procfs_view::ProcRoot;
use crate::procfs_view::fake_proc::{FakeProc, FakeProcess, FakeThread};

const O_WRONLY: u32 = 1;

fn evidence(proc: &FakeProc, ask: Ask) -> Evidence {
    let request = Request { ask, quiet_window: std::time::Duration::ZERO };
    collect(&ProcRoot::at(proc.path()), &request, &mut |_| None, &mut NoCallWindow).unwrap()
}

/// Evidence of every process, with a change to the machine between the two readings.
fn evidence_across(proc: &FakeProc, ask: &Ask, change: impl FnOnce()) -> Evidence {
    let proc_root = ProcRoot::at(proc.path());
    let root = proc_root.open().unwrap();
    let first = FirstReading::take(&proc_root, &root, ask, &mut |_| None, &mut NoCallWindow).unwrap();
    change();
    first.complete(None)
}

fn pids(evidence: &Evidence) -> Vec<u32> {
    evidence.processes.iter().map(|process| process.id.tgid).collect()
}

fn only(evidence: &Evidence) -> &Process {
    let [process] = evidence.processes.as_slice() else { panic!("{:?}", pids(evidence)) };
    process
}

/// The number of a system call on this architecture.
fn number(name: &str) -> u64 {
    syscalls::number(Architecture::native().unwrap(), name).unwrap()
}

#[test]
fn a_name_may_hold_any_bytes() {
    let proc = FakeProc::new();
    for name in [&b"a) S 1 (b"[..], b"two words", b"line\nend", b"\xff\xfe", b""] {
        FakeProcess::new(7).comm(name).parent(3).start(4242).write(&proc);
        let evidence = evidence(&proc, Ask::All);
        let process = only(&evidence);
        assert_eq!((process.comm.as_bytes(), process.ppid), (name, 3));
        assert_eq!(process.id, ProcessId { tgid: 7, start_ticks: 4242 });
    }
}

#[test]
fn a_process_that_vanishes_while_it_is_sampled_is_left_out() {
    let proc = FakeProc::new();
    for pid in [7, 8, 9, 10, 11] {
        FakeProcess::new(pid).write(&proc);
    }
    proc.remove("7/task").remove("8/task/8").remove("9/task/9/stat").remove("10/task/10/status");
    proc.file("11/task/11/stat", "11 (cut) S 1 1");
    assert_eq!(pids(&evidence(&proc, Ask::All)), Vec::<u32>::new());
}

#[test]
fn a_process_that_vanishes_after_its_sample_is_not_in_the_evidence() {
    let proc = FakeProc::new();
    FakeProcess::new(7).write(&proc);
    FakeProcess::new(8).write(&proc);
    let evidence = evidence_across(&proc, &Ask::All, || {
        proc.remove("7");
    });
    assert_eq!(pids(&evidence), [8]);
    assert_eq!(evidence.processes[0].threads[0].moved, Some(false));
}

#[test]
fn a_pid_that_is_reused_in_the_window_is_another_process_that_moved() {
    let proc = FakeProc::new();
    FakeProcess::new(7).start(100).comm(b"old").write(&proc);
    let evidence = evidence_across(&proc, &Ask::All, || {
        FakeProcess::new(7).start(200).comm(b"new").write(&proc);
    });
    let process = only(&evidence);
    assert_eq!((process.id.start_ticks, process.comm.as_bytes()), (200, &b"new"[..]));
    assert_eq!(process.threads[0].moved, Some(true));
}

#[test]
fn a_child_born_in_the_window_is_in_scope_and_moved() {
    let proc = FakeProc::new();
    FakeProcess::new(7).write(&proc);
    let evidence = evidence_across(&proc, &Ask::Tree(7), || {
        FakeProcess::new(8).parent(7).write(&proc);
        FakeProcess::new(9).parent(1).write(&proc);
    });
    let born: Vec<_> =
        evidence.processes.iter().map(|p| (p.id.tgid, p.in_scope, p.threads[0].moved)).collect();
    assert_eq!(born, [(7, true, Some(false)), (8, true, Some(true)), (9, false, Some(true))]);
}

#[test]
fn a_thread_that_slept_again_moved_and_is_read_again() {
    let proc = FakeProc::new();
    let read = number("read");
    let asleep = FakeThread::new(7).switches(5).syscall(read, [0; 6]);
    FakeProcess::new(7).threads([asleep.clone(), FakeThread::new(8)]).write(&proc);
    let evidence = evidence_across(&proc, &Ask::All, || {
        let again = asleep.switches(7).syscall(read, [3, 0, 0, 0, 0, 0]);
        FakeProcess::new(7).threads([again, FakeThread::new(8), FakeThread::new(9)]).write(&proc);
    });
    let threads = &only(&evidence).threads;
    assert_eq!(
        threads.iter().map(|t| (t.tid, t.moved)).collect::<Vec<_>>(),
        [(7, Some(true)), (8, Some(false)), (9, Some(true))]
    );
    assert_eq!(threads[0].wait, Wait::Read { fd: 3, timeout: Timeout::Never });
    assert_eq!(threads[0].progress.map(|progress| progress.switches), Some(2));
    assert_eq!(threads[2].progress, None, "there is nothing to compare a new thread with");
}

#[test]
fn what_cannot_be_read_of_a_process_in_scope_is_a_problem_each() {
    let proc = FakeProc::new();
    FakeProcess::new(7).write(&proc);
    FakeProcess::new(8).write(&proc);
    FakeProcess::new(9).write(&proc);
    for pid in [7, 8, 9] {
        // A file where a directory belongs: the tables cannot be listed.
        proc.remove(&format!("{pid}/fd")).file(&format!("{pid}/fd"), "");
        proc.unreadable(&format!("{pid}/environ")).unreadable(&format!("{pid}/task/{pid}/syscall"));
    }
    let evidence = evidence(&proc, Ask::Tree(7));
    let process = evidence.process(7).unwrap();
    assert_eq!((&process.fds, &process.env), (&None, &None));
    assert_eq!(process.threads[0].wait, Wait::Unreadable);
    let problems: Vec<_> =
        evidence.problems.iter().map(|it| (it.process.map(|id| id.tgid), it.what.as_str())).collect();
    assert_eq!(problems, [(Some(7), "fds"), (Some(7), "syscall"), (None, "fds")]);
    assert!(evidence.problems[2].why.contains("2 processes"), "{}", evidence.problems[2].why);
}

#[test]
fn the_whole_machine_is_seen_unless_proc_hides_some_of_it() {
    let proc = FakeProc::new();
    FakeProcess::new(7).write(&proc);
    let sees_all = || evidence(&proc, Ask::All).reach.whole_machine;
    for (options, whole) in [
        ("rw", true),
        ("rw,hidepid=0", true),
        ("rw,hidepid=off", true),
        ("rw,gid=5,hidepid=2", false),
        ("rw,hidepid=invisible", false),
        ("rw,hidepid=ptraceable", false),
    ] {
        proc.mounted_with(options);
        assert_eq!(sees_all(), whole, "{options}");
    }
    proc.remove("self/mountinfo");
    assert!(!sees_all());
    proc.mounted_with("rw").link("self/ns/pid", b"pid:[4026532000]");
    assert!(!sees_all());
}

#[test]
fn a_zombie_shows_how_it_ended_and_holds_nothing() {
    let proc = FakeProc::new();
    FakeProcess::new(7).zombie(7 << 8).write(&proc);
    let evidence = evidence(&proc, Ask::All);
    let process = only(&evidence);
    assert!(process.zombie);
    assert_eq!(process.exit_status.and_then(|status| status.exit_code()), Some(7));
    assert_eq!((&process.fds, &process.cmdline), (&Some(Vec::new()), &Some(Vec::new())));
    assert_eq!(evidence.problems, []);
}

#[test]
fn a_process_whose_leader_has_ended_is_read_through_a_living_thread() {
    let proc = FakeProc::new();
    let threads = [FakeThread::new(7).state('Z'), FakeThread::new(8)];
    let process = FakeProcess::new(7).threads(threads).fd(5, "pipe:[77]", O_WRONLY).arguments(&[b"run"]);
    process.write(&proc);
    let evidence = evidence(&proc, Ask::All);
    let process = only(&evidence);
    assert!(!process.zombie);
    assert_eq!(process.cmdline, Some(vec![ByteString::from("run")]));
    let fd = process.fd(5).unwrap();
    assert_eq!((fd.object, fd.access), (ObjectId::Pipe { ino: 77 }, Access::Write));
    assert_eq!(process.threads.iter().map(|thread| thread.tid).collect::<Vec<_>>(), [7, 8]);
}

#[test]
fn arguments_of_a_call_are_read_from_memory() {
    let proc = FakeProc::new();
    let poll_set = [&3i32.to_ne_bytes()[..], &1u16.to_ne_bytes(), &0u16.to_ne_bytes()].concat();
    let timeout = [0i64.to_ne_bytes(), 500i64.to_ne_bytes()].concat();
    let call = FakeThread::new(7).syscall(number("ppoll"), [0x1000, 1, 0x2000, 0, 0, 0]);
    let process = FakeProcess::new(7).threads([call]).memory(0x1000, &poll_set);
    process.clone().memory(0x2000, &timeout).write(&proc);
    let wait = || only(&evidence(&proc, Ask::All)).threads[0].wait.clone();
    let Wait::Poll { set: Some(set), timeout } = wait() else { panic!() };
    assert_eq!((set[0].fd, timeout), (3, Timeout::After(Some(500))));
    // The time-out is behind the end of the readable memory.
    process.write(&proc);
    assert!(matches!(wait(), Wait::Poll { set: Some(_), timeout: Timeout::After(None) }));
    proc.remove("7/mem");
    assert!(matches!(wait(), Wait::Poll { set: None, timeout: Timeout::After(None) }));
}

#[test]
fn a_tree_has_descendants_and_the_orphans_of_its_login_session() {
    let proc = FakeProc::new();
    FakeProcess::new(7).start(100).write(&proc);
    FakeProcess::new(8).parent(7).session(7).start(101).write(&proc);
    FakeProcess::new(9).parent(8).session(9).start(102).write(&proc);
    FakeProcess::new(10).parent(1).session(7).start(103).write(&proc);
    // Older than the leader of that session: the number is from an earlier one.
    FakeProcess::new(11).parent(1).session(7).start(99).write(&proc);
    FakeProcess::new(12).parent(3).session(7).start(104).write(&proc);
    let evidence = evidence(&proc, Ask::Tree(7));
    let in_scope: Vec<_> = evidence.processes.iter().filter(|p| p.in_scope).map(|p| p.id.tgid).collect();
    assert_eq!(in_scope, [7, 8, 9, 10]);
    assert_eq!(evidence.scope, Scope::Tree(ProcessId { tgid: 7, start_ticks: 100 }));
}

#[test]
fn sockets_are_known_from_the_tables_and_joined_to_their_peers() {
    let proc = FakeProc::new();
    let row = |local: &str, remote: &str, inode: u32| {
        format!("   0: {local} {remote} 01 00000002:00000003 00:00000000 00000000 0 0 {inode} 1\n")
    };
    let (here, there) = ("0100007F:1F90", "0100007F:0016");
    proc.file("thread-self/net/tcp", format!("head\n{}{}", row(here, there, 70), row(there, here, 71)));
    FakeProcess::new(7).fd(3, "socket:[70]", 2).fd(4, "socket:[99]", 2).write(&proc);
    FakeProcess::new(8).fd(3, "socket:[71]", 2).write(&proc);
    let evidence = evidence(&proc, Ask::Tree(7));
    let process = evidence.process(7).unwrap();
    assert_eq!(process.fd(4).unwrap().object, ObjectId::Socket { ino: 99 });
    let own = process.fd(3).unwrap().object;
    let Some(ObjectFacts::Inet(facts)) = evidence.object(&own).map(|object| &object.facts) else { panic!() };
    assert_eq!((facts.peer, facts.send_queue, facts.receive_queue), (Some(71), Some(2), Some(3)));
    assert_eq!((facts.readable, facts.writable), (None, None), "no fd of a made up process is borrowed");
    assert!(evidence.object(&ObjectId::Inet { ino: 71 }).is_some(), "the other end matters too");
}

#[test]
fn numbers_of_the_host_come_from_below_the_root() {
    let proc = FakeProc::new();
    proc.file("sys/fs/pipe-max-size", "4096\n");
    let host = evidence(&proc, Ask::All).host;
    assert_eq!((host.pipe_max_size, host.pipe_user_pages_soft), (Some(4096), None));
    assert_eq!(host.boot_id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
}

#[test]
fn an_open_waits_at_the_fifo_that_its_path_leads_to() {
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let stat = rustix::fs::stat(&fifo).unwrap();
    let at_fifo = ObjectId::Fifo { dev: stat.st_dev, ino: stat.st_ino };
    let proc = FakeProc::new();
    let here = -100i32 as u32 as u64;
    let asleep = |wchan: &str, path: &str, base: &str| {
        let call = FakeThread::new(7).syscall(number("openat"), [here, 0x1000, 0, 0, 0, 0]).wchan(wchan);
        let path = format!("{path}\0");
        let process = FakeProcess::new(7).threads([call]).memory(0x1000, path.as_bytes());
        process.link(base, place.path().as_os_str().as_encoded_bytes()).write(&proc);
        let evidence = evidence(&proc, Ask::All);
        let Wait::Open { object, .. } = only(&evidence).threads[0].wait else { panic!() };
        assert_eq!(object.is_some(), object.is_some_and(|object| evidence.object(&object).is_some()));
        object
    };
    assert_eq!(asleep("wait_for_partner", "/fifo", "root"), Some(at_fifo));
    assert_eq!(asleep("wait_for_partner", "fifo", "cwd"), Some(at_fifo));
    assert_eq!(asleep("wait_for_partner", "/other", "root"), None);
    assert_eq!(asleep("nfs_wait_bit_killable", "/fifo", "root"), None, "following the path could hang");
}
