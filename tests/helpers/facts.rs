//! Processes that report what `/proc` shows of themselves.

use std::os::unix::fs::MetadataExt as _;

use crate::parent::{receive, send};
use crate::proc::start_ticks;
use crate::{command, end};

/// Executes itself in twelve children, each with a name of its own, which report about themselves.
pub fn facts(_: &[String]) {
    for number in 0..12 {
        let status = command("named", &[&format!("fact-{number}")]).status().unwrap();
        assert_eq!(status.code(), Some(number));
    }
}

/// Takes a name and reports pid, start, name, pid namespace, pid in that, and CPU time in ns. Ends with the
/// number in the name.
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
    send(&format!("{pid} {} {} {namespace} {inner} {used}", start_ticks(pid).unwrap(), words[0]));
    end(words[0].trim_start_matches("fact-").parse().unwrap());
}

/// Ends when it receives a line.
pub fn idles(_: &[String]) {
    receive();
}

/// Maps a file whose content never comes, prints `ready`, and sleeps for the time that is written there.
pub fn mute_argument(words: &[String]) {
    let file = std::fs::File::open(&words[0]).expect("the file");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: maps a page at an address that the kernel chooses.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) };
    assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    send("ready");
    // SAFETY: the kernel reads the page, and gives an error when it cannot.
    unsafe { libc::syscall(libc::SYS_nanosleep, page, std::ptr::null_mut::<libc::timespec>()) };
}

/// A set-user-ID program that becomes the other user wholly, as sudo does. Ends with 11 after a line.
pub fn becomes_root_until_a_line(_: &[String]) {
    // SAFETY: takes numbers.
    let changed = unsafe { libc::setresuid(0, 0, 0) };
    assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
    send("ready");
    receive();
    end(11);
}
