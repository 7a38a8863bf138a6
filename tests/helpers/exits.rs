//! A job whose processes end in every possible manner, and which reports each end as `waitpid` reports it.
//!
//! A line for each end: `end`, the row, the pid, its start, the wait status, and what else is known
//! (`killer=TGID`, `reaper=TGID`, `inner=PID`, `execs=COUNT`, `by=TID`, `oom=1`).

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use crate::parent::{receive, send};
use crate::proc::{start_ticks, stat_field};
use crate::{command, end};

/// All rows, one after the other.
pub fn exits(_: &[String]) {
    codes();
    signals();
    threads();
    kinds_of_birth();
    families();
    out_of_memory();
    unreaped();
}

/// Ends with the code given, at once.
pub fn ends_with(words: &[String]) {
    end(words[0].parse().expect("a code"));
}

/// Words: how many times to execute itself. Then ends with 21.
pub fn execs_again(words: &[String]) {
    let left: u32 = words[0].parse().expect("a number");
    match left {
        0 => end(21),
        _ => become_helper("execs_again", &[&(left - 1).to_string()]),
    }
}

fn become_helper(name: &str, words: &[&str]) -> ! {
    use std::os::unix::process::CommandExt;
    let error = command(name, words).exec();
    panic!("exec: {error}");
}

/// A child that does `body`, and ends with 99 should that return.
fn child(body: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread, so that the child may do anything.
    match unsafe { libc::fork() } {
        -1 => panic!("fork"),
        0 => {
            body();
            end(99)
        }
        pid => pid,
    }
}

/// As [`child`], with flags of clone(2) and no stack of its own.
fn clone_child(flags: i32, body: impl FnOnce()) -> i32 {
    // SAFETY: without CLONE_VM this is fork with other relations; one thread, as above.
    match unsafe { libc::syscall(libc::SYS_clone, i64::from(flags | libc::SIGCHLD), 0, 0, 0, 0) } {
        -1 => panic!("clone: {}", std::io::Error::last_os_error()),
        0 => {
            body();
            end(99)
        }
        pid => pid as i32,
    }
}

/// Waits for a child and reports how it ended.
fn ended(row: &str, pid: i32, more: &str) -> i32 {
    // SAFETY: plain out-parameters of this frame.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: as above; the child stays a zombie.
    while unsafe { libc::waitid(libc::P_PID, pid as u32, &mut info, options) } != 0 {}
    let ticks = start_ticks(pid as u32).expect("a zombie is still in /proc");
    let mut status = 0;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    send(&format!("end\t{row}\t{pid}\t{ticks}\t{status}\t{more}"));
    status
}

fn row(name: &str, more: &str, body: impl FnOnce()) {
    ended(name, child(body), more);
}

fn me() -> u32 {
    std::process::id()
}

fn parent() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getppid() }
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved. The process is ourselves or an unreaped child.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Sends itself a signal, with its default effect, with or without a core file.
fn die_of(signal: i32, core: bool) {
    let most = if core { libc::RLIM_INFINITY } else { 0 };
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: plain values; this process runs nothing else.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_CORE, &limit), 0);
        libc::signal(signal, libc::SIG_DFL);
    }
    kill(me() as i32, signal);
}

fn codes() {
    for code in
        [0, 1, 2, 3, 5, 7, 42, 63, 64, 77, 101, 124, 125, 126, 127, 128, 129, 137, 143, 200, 254, 255, 256]
    {
        row(&format!("_exit({code})"), "", || end(code));
    }
    row("exits in _exit of one of many threads", "", || {
        for _ in 0..8 {
            std::thread::spawn(std::thread::park);
        }
        std::thread::spawn(|| end(31));
        std::thread::park();
    });
}

fn signals() {
    let names = [
        ("SIGHUP", libc::SIGHUP),
        ("SIGINT", libc::SIGINT),
        ("SIGQUIT", libc::SIGQUIT),
        ("SIGILL", libc::SIGILL),
        ("SIGTRAP", libc::SIGTRAP),
        ("SIGABRT", libc::SIGABRT),
        ("SIGBUS", libc::SIGBUS),
        ("SIGFPE", libc::SIGFPE),
        ("SIGKILL", libc::SIGKILL),
        ("SIGUSR1", libc::SIGUSR1),
        ("SIGSEGV", libc::SIGSEGV),
        ("SIGPIPE", libc::SIGPIPE),
        ("SIGALRM", libc::SIGALRM),
        ("SIGTERM", libc::SIGTERM),
        ("SIGXCPU", libc::SIGXCPU),
        ("SIGSYS", libc::SIGSYS),
        ("SIGRTMIN+3", 37),
    ];
    for (name, signal) in names {
        let pid = child(|| {
            die_of(signal, false);
        });
        // Real-time signals are not recorded: some programs send thousands.
        let more = if signal < 32 { format!("killer={pid}") } else { String::new() };
        ended(&format!("kills itself with {name}"), pid, &more);
    }
    for (name, signal) in [("SIGSEGV", libc::SIGSEGV), ("SIGABRT", libc::SIGABRT), ("SIGQUIT", libc::SIGQUIT)]
    {
        row(&format!("{name} with a core file"), "", || die_of(signal, true));
    }
    row("reads address 8", "killer=none", || {
        die_of(libc::SIGCONT, false);
        // SAFETY: not sound: the process is meant to die of it.
        std::hint::black_box(unsafe { std::ptr::with_exposed_provenance::<u8>(8).read_volatile() });
    });
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let pid = child(|| {
            loop {
                std::thread::park();
            }
        });
        kill(pid, signal);
        ended(&format!("parent sends {signal}"), pid, &format!("killer={}", me()));
    }
    let pid = child(|| {
        kill(me() as i32, libc::SIGSTOP);
        end(98)
    });
    let mut status = 0;
    // SAFETY: a plain out-parameter.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) }, pid);
    kill(pid, libc::SIGKILL);
    ended("killed while stopped", pid, &format!("killer={}", me()));
    row("a system call that seccomp forbids", "killer=none", || {
        die_of(libc::SIGCONT, false);
        // SAFETY: plain values; the next call but four ends the process.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT), 0);
            libc::syscall(libc::SYS_getpid);
        }
    });
    row("ignores a signal, then exits", "killer=none", || {
        // SAFETY: plain values.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        kill(me() as i32, libc::SIGTERM);
        end(17)
    });
}

/// Ends the calling thread alone, with a code.
fn end_thread(code: i32) -> ! {
    // SAFETY: the thread is gone after this, and with it its stack; nothing of it is borrowed.
    unsafe { libc::syscall(libc::SYS_exit, i64::from(code)) };
    unreachable!()
}

/// Waits until the leader of this process is a zombie.
fn leader_ended() {
    let path = format!("/proc/self/task/{}/stat", me());
    while stat_field(&path, 3).as_deref() != Some("Z") {
        std::thread::yield_now();
    }
}

/// The leader ends alone with 5. A thread does `then` afterwards.
fn after_leader(then: fn()) {
    std::thread::spawn(move || {
        leader_ended();
        then();
        end(99)
    });
    end_thread(5);
}

fn threads() {
    row("leader exit(5), a thread exit_group(3)", "", || after_leader(|| end(3)));
    row("leader exit(5), last thread exit(9)", "", || after_leader(|| end_thread(9)));
    row("leader exit(5), a thread dies of SIGTERM", "", || after_leader(|| die_of(libc::SIGTERM, false)));
    row("leader exit(5), a thread dies of SIGSEGV", "", || after_leader(|| die_of(libc::SIGSEGV, false)));
    row("leader exit(5), a thread execs and exits 0", "execs=1", || {
        after_leader(|| become_helper("ends_with", &["0"]));
    });
    row("a thread execs and exits 0", "execs=1 by=thread", || {
        std::thread::spawn(|| become_helper("ends_with", &["0"]));
        loop {
            std::thread::park();
        }
    });
    row("a thread execs, the program exits 44", "execs=1 by=thread", || {
        for _ in 0..4 {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        std::thread::spawn(|| become_helper("ends_with", &["44"]));
        loop {
            std::thread::park();
        }
    });
    row("many threads end before it", "", || {
        let threads: Vec<_> = (0..40).map(|_| std::thread::spawn(|| {})).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("joined"));
        end(33)
    });
    for turn in 0..60 {
        row(&format!("two last threads race ({turn})"), "", || {
            let start = Arc::new(AtomicU32::new(0));
            let other = Arc::clone(&start);
            std::thread::spawn(move || {
                meet(&other);
                end_thread(9)
            });
            meet(&start);
            end_thread(7)
        });
    }
    for turn in 0..20 {
        row(&format!("exit_group races exit_group ({turn})"), "", || {
            let start = Arc::new(Barrier::new(4));
            for code in 41..44 {
                let start = Arc::clone(&start);
                std::thread::spawn(move || {
                    start.wait();
                    end(code)
                });
            }
            start.wait();
            end(40)
        });
    }
}

/// Two threads leave this function as nearly at once as two processors can.
fn meet(count: &AtomicU32) {
    count.fetch_add(1, Ordering::SeqCst);
    while count.load(Ordering::SeqCst) < 2 {
        std::hint::spin_loop();
    }
}

fn kinds_of_birth() {
    // The standard library's spawn is vfork and exec, by clone(CLONE_VFORK | CLONE_VM).
    let spawned = |command: &mut Command| command.spawn().expect("spawned").id() as i32;
    ended("vfork and exec", spawned(&mut command("ends_with", &["6"])), "execs=1");
    row("exec storm", "execs=100", || become_helper("execs_again", &["99"]));
    row("failed exec", "execs=0", || {
        use std::os::unix::process::CommandExt;
        let _ = Command::new("/no/such/program").exec();
        end(127)
    });
    let mut sibling = [0i32; 2];
    // SAFETY: two descriptors into an array of two.
    assert_eq!(unsafe { libc::pipe2(sibling.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    let maker = child(|| {
        let pid = clone_child(libc::CLONE_PARENT, || end(23));
        let bytes = pid.to_ne_bytes();
        // SAFETY: four bytes of this frame.
        assert_eq!(unsafe { libc::write(sibling[1], bytes.as_ptr().cast(), 4) }, 4);
        end(22)
    });
    let mut bytes = [0; 4];
    // SAFETY: as above.
    assert_eq!(unsafe { libc::read(sibling[0], bytes.as_mut_ptr().cast(), 4) }, 4);
    ended("clone(CLONE_PARENT)", i32::from_ne_bytes(bytes), &format!("parent={maker}"));
    ended("its maker", maker, "");
}

/// Orphans, their new parents, and pid namespaces, all below a subreaper.
fn families() {
    row("adopts orphans", "", || {
        // SAFETY: plain values.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
        let adopter = me();
        let middle = child(|| {
            // SAFETY: plain call.
            unsafe { libc::setsid() };
            child(|| {
                while parent() != adopter as i32 {
                    std::thread::yield_now();
                }
                end(11)
            });
            end(10)
        });
        ended("forks and leaves", middle, &format!("reaper={adopter}"));
        ended("orphan of a double fork with setsid", any_child(), &format!("reaper={adopter}"));

        let init = clone_child(libc::CLONE_NEWPID, || {
            let inner = child(|| end(12));
            assert_eq!(inner, 2, "the namespace's own number");
            // SAFETY: a plain out-parameter.
            unsafe { libc::waitpid(inner, std::ptr::null_mut(), 0) };
            child(|| {
                loop {
                    std::thread::park();
                }
            });
            end(13)
        });
        // No process outside can wait for the two below it: the kernel's records are the only source for
        // them.
        ended("init of a pid namespace", init, &format!("inner=1 namespace={init}"));
        end(0)
    });
}

/// Any child that has ended, not reaped.
fn any_child() -> i32 {
    // SAFETY: plain out-parameters of this frame.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOWAIT) }, 0);
    // SAFETY: waitid filled in that a child ended.
    unsafe { info.si_pid() }
}

/// A memory cgroup, of either version, too small for what runs in it. `None`: none can be made.
fn small_memory() -> Option<std::path::PathBuf> {
    let name = format!("tracer-test-{}", me());
    let (v1, v2) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup");
    let limit = "16777216";
    if std::path::Path::new(v1).join("memory.limit_in_bytes").exists() {
        let group = std::path::Path::new(v1).join(name);
        std::fs::create_dir(&group).ok()?;
        std::fs::write(group.join("memory.limit_in_bytes"), limit).ok()?;
        let _ = std::fs::write(group.join("memory.memsw.limit_in_bytes"), limit);
        return Some(group);
    }
    let _ = std::fs::write(format!("{v2}/cgroup.subtree_control"), "+memory");
    let group = std::path::Path::new(v2).join(name);
    std::fs::create_dir(&group).ok()?;
    let _ = std::fs::write(group.join("memory.swap.max"), "0");
    if std::fs::write(group.join("memory.max"), limit).is_err() {
        let _ = std::fs::remove_dir(&group);
        return None;
    }
    Some(group)
}

fn out_of_memory() {
    let Some(group) = small_memory() else {
        send("without\tout of memory: no memory cgroup can be made");
        return;
    };
    let pid = child(|| {
        std::fs::write(group.join("cgroup.procs"), "0\n").expect("joined");
        let mut hoard = Vec::new();
        loop {
            let mut block = vec![0u8; 1 << 20];
            block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            hoard.push(std::hint::black_box(block));
        }
    });
    ended("out of memory", pid, "killer=none oom=1");
    let _ = std::fs::remove_dir(&group);
}

/// A zombie, reaped once the test has seen its end.
fn unreaped() {
    let pid = child(|| end(51));
    let ticks = start_ticks(pid as u32).expect("not reaped");
    send(&format!("zombie\t{pid}\t{ticks}"));
    receive();
    ended("a zombie, reaped later", pid, "");
}
