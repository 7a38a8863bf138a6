//! System calls without a safe wrapper, for what no file in `/proc` shows. None of them changes a process.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The processor time of a process with all its threads, nanoseconds; `None` when there is no such process.
/// The clock of another process is named by its pid (`MAKE_PROCESS_CPUCLOCK`,
/// include/linux/posix-timers_types.h).
pub(crate) fn processor_time_ns(tgid: u32) -> Option<u64> {
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    let clock = (!libc::clockid_t::try_from(tgid).ok()? << 3) | CPUCLOCK_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct it is given.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

/// The process that operated last on a SysV semaphore of this IPC namespace; `None` when none did, or this
/// process may not know.
pub(crate) fn last_semaphore_operator(set: u32, number: u32) -> Option<u32> {
    let (set, number) = (i32::try_from(set).ok()?, i32::try_from(number).ok()?);
    // SAFETY: GETPID takes no further argument and writes to no memory of this process.
    let pid = unsafe { libc::semctl(set, number, libc::GETPID) };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// `F_SETSIG` (include/uapi/asm-generic/fcntl.h), which the libc crate does not have.
const F_SETSIG: i32 = 10;

/// Takes a write lease on a regular file, and gives it back at once. The kernel grants it only while no other
/// process has the file open or mapped.
///
/// # Errors
/// `WouldBlock` when another process has it open or mapped. Any other error means that the kernel did not
/// answer.
pub(crate) fn try_write_lease(file: BorrowedFd<'_>) -> io::Result<()> {
    try_lease(file, libc::F_WRLCK)
}

/// A process has this file open for writing. The kernel's count has every process of the machine, also those
/// of other users and other pid namespaces: a read lease is granted only on a file without writers
/// (`check_conflicting_open` in fs/locks.c). The descriptor has to be open for reading only.
///
/// # Errors
/// When the file system has no leases, or this user may not take one on the file.
pub fn is_written(file: BorrowedFd<'_>) -> io::Result<bool> {
    match try_lease(file, libc::F_RDLCK) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

fn try_lease(file: BorrowedFd<'_>, kind: i32) -> io::Result<()> {
    // A process that opens the file during the lease makes the kernel signal this one: with a signal that
    // does nothing.
    // SAFETY: sets a number in the open file; no pointer is passed.
    unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) };
    // SAFETY: asks for a lease on a descriptor that is open; no pointer is passed.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: gives it back; no pointer is passed.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_clock_of_a_process_advances_while_it_runs() {
        let before = processor_time_ns(std::process::id()).unwrap();
        while processor_time_ns(std::process::id()).unwrap() < before + 1_000_000 {}
        assert_eq!(processor_time_ns(0x0040_0001), None, "above the largest pid");
        assert_eq!(processor_time_ns(u32::MAX), None);
    }

    #[test]
    fn a_missing_set_has_no_operator() {
        assert_eq!(
            (last_semaphore_operator(u32::MAX, 0), last_semaphore_operator(i32::MAX as u32, 0)),
            (None, None)
        );
    }

    #[test]
    fn a_mapped_file_gets_no_lease() {
        let mapped = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(mapped.path(), [0; 4096]).unwrap();
        let path = mapped.into_temp_path();
        let lease = || try_write_lease(std::fs::File::open(&path).unwrap().as_fd());
        lease().unwrap();
        let file = std::fs::File::open(&path).unwrap();
        // SAFETY: a new mapping, at an address the kernel chooses, of a file that is long enough.
        let address = unsafe {
            let (protection, flags) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::SHARED);
            rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, flags, &file, 0)
        };
        drop(file);
        assert_eq!(lease().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // SAFETY: the mapping made above, which nothing refers to.
        unsafe { rustix::mm::munmap(address.unwrap(), 4096) }.unwrap();
        lease().unwrap();
    }
}
