//! Jobs that make processes by every means, each of which reports its presence. Jobs whose processes end at
//! once, by the thousand. Jobs that outlive their tracer.

use crate::parent::{receive, send};
use crate::proc::start_ticks;
use crate::{command, end};

/// Reports this process: `member ROLE PID START`.
fn here(role: &str) {
    let pid = std::process::id();
    send(&format!("member {role} {pid} {}", start_ticks(pid).expect("alive")));
}

/// A child that does `body`.
fn child(body: impl FnOnce()) -> i32 {
    // SAFETY: in a process with threads the child only allocates, which the C library makes safe, writes, and
    // ends.
    match unsafe { libc::fork() } {
        -1 => panic!("fork"),
        0 => {
            body();
            end(0)
        }
        pid => pid,
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: a plain out-parameter of this frame.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// Words: a role. Reports its presence and ends.
pub fn leaf(words: &[String]) {
    here(&words[0]);
}

/// Reports its presence and those of its descendants, all of which end before it does.
pub fn tree(_: &[String]) {
    here("root");
    // Each descendant holds the write end, so the pipe ends when the last of them has ended.
    let mut fds = [0; 2];
    // SAFETY: two descriptors into an array of two.
    assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
    let [read, write] = fds;

    // Reparented: its parent is gone before it reports itself.
    let middle = child(|| {
        // SAFETY: plain calls.
        let above = unsafe {
            libc::setsid();
            libc::getpid()
        };
        here("middle");
        child(|| {
            // SAFETY: cannot fail.
            while unsafe { libc::getppid() } == above {
                std::thread::yield_now();
            }
            here("orphan");
            wait(child(|| here("below the orphan")));
        });
    });
    wait(middle);

    // Threads that fork.
    wait(child(|| {
        here("threaded");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..3 {
                        wait(child(|| here("of a thread")));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("joined"));
    }));

    // A thread that becomes the process.
    wait(child(|| {
        std::thread::spawn(|| {
            use std::os::unix::process::CommandExt;
            panic!("{}", command("leaf", &["after exec"]).exec());
        });
        loop {
            std::thread::park();
        }
    }));
    assert!(command("leaf", &["spawned"]).status().expect("spawned").success());

    // SAFETY: descriptors and memory of this frame.
    unsafe {
        libc::close(write);
        let mut byte = [0u8];
        assert_eq!(libc::read(read, byte.as_mut_ptr().cast(), 1), 0);
    }
}

/// Words: a command. Runs it, a session within this one, and a process beside it.
pub fn nest(words: &[String]) {
    here("outer root");
    wait(child(|| here("outer only")));
    let status = std::process::Command::new(&words[0]).args(&words[1..]).status().expect("runs");
    send(&format!("inner {}", status.code().expect("exits")));
}

/// Reports its presence, and ends with 3 when it receives a line.
pub fn waits(_: &[String]) {
    here("waiting");
    receive();
    end(3);
}

/// Reports its presence. When it receives a line, makes a child that ends with 5, and ends with 7.
pub fn outlives(_: &[String]) {
    here("survivor");
    receive();
    wait(child(|| {
        here("late");
        end(5)
    }));
    end(7);
}

/// Words: a number of processes. Two children make half of them each, as fast as they can, and report how
/// many ended with 0, 1, 2 and 3.
pub fn storm(words: &[String]) {
    let count: u32 = words[0].parse().expect("a number");
    let halves = [(0, count / 2), (1, count - count / 2)].map(|(which, count)| {
        child(|| {
            let mut codes = [0u32; 4];
            for number in 0..count {
                let status = wait(child(|| end((number % 4) as i32)));
                assert_eq!(status & 0xff, 0);
                codes[(status >> 8) as usize] += 1;
            }
            send(&format!("storm {which} {} {} {} {}", codes[0], codes[1], codes[2], codes[3]));
        })
    });
    for half in halves {
        assert_eq!(wait(half), 0);
    }
}

/// Words: a kind of file system, a path. Holds a mount namespace, which other processes enter, with such a
/// file system at the path, until its input ends.
pub fn holds_namespace(words: &[String]) {
    let c_string = |word: &String| std::ffi::CString::new(word.as_str()).expect("no NUL");
    let (kind, at) = (c_string(&words[0]), c_string(&words[1]));
    // SAFETY: plain calls with strings that outlive them.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0, "{}", std::io::Error::last_os_error());
        let null = std::ptr::null();
        let private = libc::mount(null, c"/".as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, null.cast());
        assert_eq!(private, 0, "{}", std::io::Error::last_os_error());
        let mounted = libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, c"mode=700".as_ptr().cast());
        assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
    }
    send("open");
    receive();
}

/// Words: a session. Opens it from its pins, reports what became of its processes, and finishes it.
pub fn takes_over(words: &[String]) {
    use tracer_user::core::event::EventBody;
    use tracer_user::kernel::KernelTracer;
    use tracer_user::procfs_view::{ProcRoot, table};

    let own = table::own_namespaces(&ProcRoot::system());
    let mut tracer = KernelTracer::open(&words[0], 1_000_000_000, own).expect("the pins exist");
    let mut events = Vec::new();
    tracer.drain_keeping_fates(&mut events);
    for event in &events {
        if let EventBody::Exit(exit) = &event.body {
            send(&format!("event {} {}", exit.process, exit.status.map_or(-1, |status| i64::from(status.0))));
        }
    }
    for fate in tracer.fates() {
        let status = fate.ended.and_then(|(_, exit)| exit.status);
        send(&format!("fate {} {}", fate.process, status.map_or(-1, |status| i64::from(status.0))));
    }
    send(&format!("lost {}", tracer.lost().total()));
    tracer.finish().expect("finished");
    send("end");
}
