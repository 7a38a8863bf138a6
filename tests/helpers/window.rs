//! Processes whose system calls are counted.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use tracer_user::kernel::WindowCounter;
use tracer_user::procfs_view::{ProcRoot, table};

use crate::parent::{receive, send};

/// Threads of `many_threads`.
const THREADS: usize = 8;
const CALLS_EACH: u64 = 20_000;

/// First of a range of numbers without a call.
const UNKNOWN: i64 = 100_000;

const PAUSE: Duration = Duration::from_millis(50);

/// Tries a lock that another process holds, twenty times a second.
pub fn polls_lock(words: &[String]) {
    let file = File::open(&words[0]).unwrap();
    send("polls");
    loop {
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        std::thread::sleep(PAUSE);
    }
}

/// Reads seven bytes of a file again and again, in a second thread.
pub fn reads_again(words: &[String]) {
    let path = words[0].clone();
    let reader = std::thread::spawn(move || {
        let mut file = File::open(path).unwrap();
        let thread = rustix::thread::gettid();
        send(&thread.as_raw_nonzero().to_string());
        loop {
            file.read_exact(&mut [0; 7]).or_else(|_| file.read(&mut [0; 7]).map(drop)).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    reader.join().unwrap();
}

/// Sleeps in a read until a line comes, and says so.
pub fn waits_for_a_line(_: &[String]) {
    send("waits");
    receive();
    send("awake");
    receive();
}

/// Makes as many system calls that no kernel knows as it is given, each of another number.
pub fn unknown_calls(words: &[String]) {
    let calls: i64 = words[0].parse().unwrap();
    send("ready");
    receive();
    for number in 0..calls {
        // SAFETY: no kernel has a call of these numbers.
        assert_eq!(unsafe { libc::syscall(UNKNOWN + number) }, -1);
    }
    send("done");
    receive();
}

/// Makes many calls in several threads at once, when the test asks for it.
pub fn many_threads(_: &[String]) {
    let wait = std::sync::Arc::new(std::sync::Barrier::new(THREADS + 1));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let wait = wait.clone();
            std::thread::spawn(move || {
                wait.wait();
                for _ in 0..CALLS_EACH {
                    // SAFETY: the call has no arguments and cannot fail.
                    unsafe { libc::syscall(libc::SYS_getppid) };
                }
            })
        })
        .collect();
    send("ready");
    receive();
    wait.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    send("done");
    receive();
}

/// Opens files in five ways that fail, the first twice.
pub fn five_errors(words: &[String]) {
    let place = std::path::Path::new(&words[0]);
    std::fs::write(place.join("file"), "").unwrap();
    std::os::unix::fs::symlink("file", place.join("link")).unwrap();
    send("ready");
    receive();
    let tries = [
        ("missing", OFlags::RDONLY),
        ("missing", OFlags::RDONLY),
        ("file/inside", OFlags::RDONLY),
        (".", OFlags::WRONLY),
        ("file", OFlags::CREATE | OFlags::EXCL),
        ("link", OFlags::NOFOLLOW),
    ];
    for (name, flags) in tries {
        assert!(openat(CWD, place.join(name), flags, Mode::RUSR).is_err(), "{name}");
    }
    send("done");
    receive();
}

/// Counts calls itself, until the test ends the window.
pub fn counts_own_calls(_: &[String]) {
    let counter =
        WindowCounter::start(&[std::process::id()], table::own_namespaces(&ProcRoot::system())).unwrap();
    send("counts");
    receive();
    drop(counter);
    send("ended");
    receive();
}
