//! Where the loader finds the kernel's fields is where they are: what the kernel programs read of processes
//! and files agrees with what the kernel itself shows of them.

use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::play::{self, Player, end, hear, say, start_ticks};
use crate::traced::{NO_STALLS, Traced};
use tracer_user::core::event::{EventBody, ResourceKind};

/// Executes itself in children, a name each, which tell what `/proc` shows of them.
pub fn facts(_: &[String]) {
    for number in 0..12 {
        let status = play::command("named", &[&format!("fact-{number}")]).status().unwrap();
        assert_eq!(status.code(), Some(number));
    }
}

/// Takes a name and tells about itself: number, start, name, pid namespace, number in it, CPU time.
pub fn named(words: &[String]) {
    let name = std::ffi::CString::new(words[0].as_str()).unwrap();
    rustix::thread::set_name(&name).unwrap();
    let mut turns = 0u64;
    let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    while cpu().tv_nsec < 20_000_000 && cpu().tv_sec == 0 {
        turns += 1;
    }
    std::hint::black_box(turns);
    let pid = std::process::id();
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let inner = inner.split_whitespace().next_back().unwrap();
    let used = cpu().tv_sec as u64 * 1_000_000_000 + cpu().tv_nsec as u64;
    say(&format!("{pid} {} {} {namespace} {inner} {used}", start_ticks(pid).unwrap(), words[0]));
    end(words[0].trim_start_matches("fact-").parse().unwrap());
}

#[test]
fn what_is_read_of_processes_is_what_proc_shows() {
    let mut player = Player::held("facts", &[]);
    let root = player.process();
    let Some(mut traced) = Traced::of(&mut player, NO_STALLS) else { return };
    let lines: Vec<String> = std::iter::from_fn(|| player.line_within(play::PATIENCE)).collect();
    assert!(player.wait().success());
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
        let exe = std::env::current_exe().unwrap();
        assert_eq!(exec.filename.as_deref(), Some(exe.as_os_str().as_encoded_bytes()));
        let file_name = exe.file_name().unwrap().as_encoded_bytes();
        assert_eq!(exec.comm, file_name[..file_name.len().min(15)]);
        let exit = traced.exits().find(|exit| exit.process == fork.child).expect("ended");
        assert_eq!(exit.comm, name.as_bytes());
        assert_eq!(exit.status.unwrap().exit_code(), Some(number as u8));
        let used: u64 = used.parse().unwrap();
        // The scheduler's own account, brought up to date at least every tick.
        assert!(exit.cpu_ns.unwrap() + 12_000_000 >= used, "{:?} against {used}", exit.cpu_ns);
    }
    traced.finish();
}

#[test]
fn what_is_read_of_a_pipe_is_what_its_owner_knows() {
    let Some(traced) = Traced::start(NO_STALLS) else { return };
    traced.finish();
    // Needs no session.
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
fn who_is_at_the_other_end_of_a_unix_socket_is_read_as_its_owner_knows() {
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
    assert_eq!(peer(client.as_fd()), None, "nobody has accepted it yet");
    let (server, _) = listener.accept().unwrap();
    assert_eq!(peer(client.as_fd()), Some(inode(server.as_fd())));
    let unconnected = UnixDatagram::unbound().unwrap();
    assert_eq!(peer(unconnected.as_fd()), Some(0));
    for stranger in
        [OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()), std::io::pipe().unwrap().0.into()]
    {
        assert_eq!(peer(stranger.as_fd()), None, "no UNIX socket");
    }
}

#[test]
fn who_sends_a_signal_is_read_as_who_it_is() {
    let mut player = Player::held("idles", &[]);
    let Some(mut traced) = Traced::start(NO_STALLS) else { return };
    let target = player.process();
    traced.enroll(target);
    let me = std::process::id();
    player.kill();
    player.wait();
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

/// Waits to be told, and ends.
pub fn idles(_: &[String]) {
    hear();
}
