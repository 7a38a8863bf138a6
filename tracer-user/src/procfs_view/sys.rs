//! What no file in `/proc` tells and a system call without a safe wrapper does. Nothing here changes anything.

/// The processor time of a process and all its threads, nanoseconds; `None` when there is none. The clock of another process
/// is named by its number (`MAKE_PROCESS_CPUCLOCK`, include/linux/posix-timers_types.h).
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

/// Who operated last on a SysV semaphore of this IPC namespace; `None` when nobody did or we may not know.
pub(crate) fn last_semaphore_operator(set: u32, number: u32) -> Option<u32> {
    let (set, number) = (i32::try_from(set).ok()?, i32::try_from(number).ok()?);
    // SAFETY: GETPID takes no further argument and writes to no memory of ours.
    let pid = unsafe { libc::semctl(set, number, libc::GETPID) };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_goes_on_while_it_runs() {
        let before = processor_time_ns(std::process::id()).unwrap();
        while processor_time_ns(std::process::id()).unwrap() < before + 1_000_000 {}
        assert_eq!(processor_time_ns(0x0040_0001), None, "a number no process has");
        assert_eq!(processor_time_ns(u32::MAX), None);
    }

    #[test]
    fn a_set_that_is_not_there_has_no_operator() {
        assert_eq!(
            (last_semaphore_operator(u32::MAX, 0), last_semaphore_operator(i32::MAX as u32, 0)),
            (None, None)
        );
    }
}
