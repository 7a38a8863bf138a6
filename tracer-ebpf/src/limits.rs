//! Capacities of maps and buffers, and lengths of strings.

/// Bytes of one session's event ring (a power of two and a multiple of the page size).
///
/// A storm of new processes on two cores makes about 2 MiB of records per second, and the ring is read at
/// least every 50 ms.
pub const RING_BYTES: u32 = 4 * 1024 * 1024;

/// Unread bytes of the ring from which on a record wakes the reader. Below that the reader's own timer is
/// soon enough, and the traced job does not pay for a wake-up per event.
pub const RING_WAKE_BYTES: u64 = RING_BYTES as u64 / 8;

/// Living processes of one session, and fates that are not yet collected.
pub const SESSION_PROCESSES: u32 = 65_536;

/// Slots for sleeping writers, indexed by the low bits of the thread id.
pub const WRITER_SLOTS: u32 = 65_536;

/// Sleeping writers whose slot is taken by another thread with the same low bits.
pub const WRITER_COLLISIONS: u32 = 4_096;

/// Ended stalls kept for all sessions to read. A reader that falls further behind counts what it missed.
pub const STALL_LOG_RECORDS: u32 = 8_192;

/// Processes whose system calls are counted in one window.
pub const WATCHED_PROCESSES: u32 = 16_384;

/// Pairs of thread and system call that one window counts.
pub const CALLS: u32 = 8_192;

/// Bytes of a comm, with its terminating NUL (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Most bytes of an executed file's name that are kept.
pub const FILENAME_BYTES: usize = 256;

/// Most ancestors among which the subreaper that inherits a dying process's children is searched.
pub const REAPER_DEPTH: u32 = 32;

/// Pipe buffers whose bytes are added up in one run of the program. The verifier compares each round of a
/// loop with all rounds before it: 256 rounds took it 20 times as long as 32. Most pipes have 16 buffers.
pub const PIPE_BUFFERS: u32 = 32;

/// Nanoseconds of a clock tick of `/proc` (USER_HZ is 100 on both architectures).
pub const NS_PER_TICK: u64 = 10_000_000;

/// CPUs that have a part of the stall log.
pub const CPUS: u32 = 1024;
