//! The loader finds the kernel's fields where they are: what the kernel programs read of processes and files
//! agrees with what the kernel itself shows of them.

use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::support::helper::{self, HELPER};
use crate::support::proc::start_ticks;
use crate::traced::{NO_STALLS, Traced};
use tracer_user::core::event::{EventBody, ResourceKind};

#[test]
fn facts_of_processes_are_what_proc_shows() {
    let mut child = helper::held("facts", &[]);
    let root = child.process();
    let Some(mut traced) = Traced::of(&mut child, NO_STALLS) else { return };
    let lines = child.lines();
    assert!(child.wait().success());
    traced.until_exit(root);
    assert_eq!(lines.len(), 12);
    for (number, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let [pid, ticks, name, namespace, inner, used] = words[..] else { panic!("{line}") };
        let fork = traced.forks().find(|fork| fork.child.tgid.to_string() == pid).expect("forked");
        assert_eq!(fork.child.start_ticks.to_string(), ticks);
        assert_eq!(fork.extras.start_boottime_ns.unwrap() / 10_000_000, fork.child.start_ticks);
        assert_eq!((fork.parent, fork.parent_tid), (root, Some(root.tgid)));
        assert_eq!(fork.extras.pidns_ino.unwrap().to_string(), namespace);
        assert_eq!(fork.extras.ns_pid.unwrap().to_string(), inner);
        let exec = traced.execs().find(|exec| exec.process == fork.child).expect("executed");
        assert_eq!(exec.filename.as_deref(), Some(HELPER.as_bytes()));
        assert_eq!(exec.comm, b"test-helper");
        let exit = traced.exits().find(|exit| exit.process == fork.child).expect("ended");
        assert_eq!(exit.comm, name.as_bytes());
        assert_eq!(exit.status.unwrap().exit_code(), Some(number as u8));
        let used: u64 = used.parse().unwrap();
        // The scheduler brings its account up to date at least every tick.
        assert!(exit.cpu_ns.unwrap() + 12_000_000 >= used, "{:?} against {used}", exit.cpu_ns);
    }
    traced.finish();
}

#[test]
fn facts_of_a_pipe_are_what_its_owner_knows() {
    let Some(traced) = Traced::start(NO_STALLS) else { return };
    traced.finish();
    // An inspector needs no session.
    let inspector = tracer_user::kernel::Inspector::load().expect("the programs load");
    for (size, writes, bytes) in [(4096, 1, 100), (65536, 3, 4096), (65536, 7, 2049), (1 << 20, 200, 3000)] {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::pipe::fcntl_setpipe_size(&write, size).unwrap();
        for _ in 0..writes {
            assert_eq!(rustix::io::write(&write, &vec![7; bytes]), Ok(bytes));
        }
        let found = inspector.own_fd(write.as_fd()).expect("a pipe").stall;
        let stat = rustix::fs::fstat(&write).unwrap();
        assert_eq!(found.kind, ResourceKind::Pipe);
        assert_eq!(found.inode, Some(stat.st_ino));
        let device = (libc::major(stat.st_dev) << 20) | libc::minor(stat.st_dev);
        assert_eq!(found.device, Some(device));
        assert_eq!(found.used_bytes, Some((writes * bytes) as u64), "{found:?}");
        assert_eq!(found.capacity_bytes, Some(size as u64));
        let (used, all) = found.slots.unwrap();
        assert_eq!((used, all as usize), (writes as u32, size / 4096));
        assert_eq!(found.ends, Some((1, 1)));
        let other = inspector.own_fd(read.as_fd()).expect("its other end");
        assert_eq!(other.stall.inode, found.inode);
    }
}

#[test]
fn the_peer_of_a_unix_socket_is_what_its_owner_knows() {
    let Some(traced) = Traced::start(NO_STALLS) else { return };
    traced.finish();
    let inspector = tracer_user::kernel::Inspector::load().expect("the programs load");
    let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_ino;
    let peer = |fd: BorrowedFd<'_>| inspector.own_fd(fd).expect("a file").unix_peer;
    let (one, other) = UnixStream::pair().unwrap();
    assert_eq!(peer(one.as_fd()), Some(inode(other.as_fd())));
    assert_eq!(peer(other.as_fd()), Some(inode(one.as_fd())));
    let place = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(place.path().join("socket")).unwrap();
    assert_eq!(peer(listener.as_fd()), Some(0));
    let client = UnixStream::connect(place.path().join("socket")).unwrap();
    assert_eq!(peer(client.as_fd()), None, "not accepted yet");
    let (server, _) = listener.accept().unwrap();
    assert_eq!(peer(client.as_fd()), Some(inode(server.as_fd())));
    let unconnected = UnixDatagram::unbound().unwrap();
    assert_eq!(peer(unconnected.as_fd()), Some(0));
    for other in [OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()), std::io::pipe().unwrap().0.into()] {
        assert_eq!(peer(other.as_fd()), None, "not a UNIX socket");
    }
}

#[test]
fn the_sender_of_a_signal_is_identified() {
    let mut child = helper::held("idles", &[]);
    let Some(mut traced) = Traced::start(NO_STALLS) else { return };
    let target = child.process();
    traced.enroll(target);
    let me = std::process::id();
    child.kill();
    child.wait();
    let exit = traced.until_exit(target);
    let killer = exit.killer.expect("a killer");
    assert_eq!((killer.tgid, killer.signal), (me, 9));
    let sent = traced.events.iter().find_map(|event| match &event.body {
        EventBody::Signal(signal) => Some(signal),
        _ => None,
    });
    let sent = sent.expect("a signal");
    assert_eq!(sent.target, target);
    assert_eq!(
        sent.sender.map(|sender| (sender.tgid, Some(sender.start_ticks))),
        Some((me, start_ticks(me)))
    );
    let thread = std::fs::read("/proc/thread-self/comm").unwrap();
    assert_eq!(sent.sender_comm, thread.trim_ascii_end());
    assert_eq!((sent.signal, sent.code, sent.delivered, sent.group), (9, 0, true, true));
    traced.finish();
}
