//! Reads that may never end, made by a process of their own.
//!
//! The memory of another process may lie on a file system that a program serves (FUSE), and so may every path
//! that starts at its directories. If that program does not answer, the kernel lets a reader wait where not
//! even SIGKILL ends it: `__access_remote_vm` faults without `FAULT_FLAG_KILLABLE` (mm/memory.c), and
//! `request_wait_answer` waits uninterruptibly once the server has taken the request (fs/fuse/dev.c). A
//! reader of `/proc/PID/mem` then holds the lock of that memory, for which the readers of `cmdline`,
//! `environ` and `maps` may have to wait, too. A thread of this process that waits there would keep all of
//! the process from ending. So these reads are made by a helper process with a deadline. A helper that misses
//! it is left behind and replaced, and what it was asked about is not read again for a while. The answer
//! without it names what was not read.

mod helper;

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use self::helper::{Answer, Helper};
pub(crate) use self::helper::{ForeignFile, ForeignStat};

/// The error of a read that nobody answered.
pub(crate) const MUTE: &str = "it lies on a file system whose server does not answer";

/// How long the first read may take. Each that misses it halves the time for the next ones.
const FIRST_DEADLINE: Duration = Duration::from_millis(500);
/// The shortest deadline.
const LAST_DEADLINE: Duration = Duration::from_millis(50);
/// How long a process is left alone after a read of it was not answered.
const MUTE_FOR: Duration = Duration::from_secs(30);

static READER: Mutex<Option<Reader>> = Mutex::new(None);
/// The helpers that were not reaped.
static HELPERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn helpers() -> MutexGuard<'static, Vec<u32>> {
    HELPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The helper, and what it could not read.
struct Reader {
    helper: Option<Helper>,
    deadline: Duration,
    /// By process: when a read of it was not answered.
    mute: HashMap<u32, Instant>,
    /// Helpers that were left behind.
    left: Vec<Helper>,
}

fn reader() -> MutexGuard<'static, Option<Reader>> {
    READER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process is a helper of this one. Never waits for a read.
pub(crate) fn is_helper(tgid: u32) -> bool {
    helpers().contains(&tgid)
}

/// A read of this process was not answered lately.
pub(crate) fn is_mute(tgid: u32) -> bool {
    let since = reader().as_ref().and_then(|reader| reader.mute.get(&tgid).copied());
    since.is_some_and(|since| since.elapsed() < MUTE_FOR)
}

/// Appends at most `limit` bytes of a file from a position on. What was read before an error counts.
///
/// # Errors
/// When the file cannot be opened, or nothing of it can be read; `TimedOut` when nobody answers.
pub(crate) fn read(
    file: ForeignFile<'_>,
    at: u64,
    limit: usize,
    into: &mut Vec<u8>,
) -> io::Result<ForeignStat> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    ask(file, flags, at, limit, into)
}

/// The `stat` of a file, which is not opened for reading.
///
/// # Errors
/// As [`read`].
pub(crate) fn stat(file: ForeignFile<'_>) -> io::Result<ForeignStat> {
    ask(file, OFlags::PATH | OFlags::CLOEXEC, 0, 0, &mut Vec::new())
}

fn ask(
    file: ForeignFile<'_>,
    flags: OFlags,
    at: u64,
    limit: usize,
    into: &mut Vec<u8>,
) -> io::Result<ForeignStat> {
    let mut guard = reader();
    let reader = guard.get_or_insert_with(|| Reader {
        helper: None,
        deadline: FIRST_DEADLINE,
        mute: HashMap::new(),
        left: Vec::new(),
    });
    reader.mute.retain(|_, since| since.elapsed() < MUTE_FOR);
    reader.left.retain(|helper| {
        let reaped = helper.reaped();
        if reaped {
            helpers().retain(|tgid| *tgid != helper.tgid());
        }
        !reaped
    });
    if reader.mute.contains_key(&file.tgid) {
        return Err(mute());
    }
    let helper = match &reader.helper {
        Some(helper) => helper,
        None => {
            let helper = Helper::start()?;
            helpers().push(helper.tgid());
            reader.helper.insert(helper)
        }
    };
    match helper.ask(file, flags, at, limit, into, reader.deadline) {
        Answer::Done(result) => result,
        Answer::Gone => {
            // Something ended it. The next read gets another.
            reader.left.extend(reader.helper.take());
            Err(io::ErrorKind::BrokenPipe.into())
        }
        Answer::Late => {
            if let Some(late) = reader.helper.take() {
                late.give_up();
                reader.left.push(late);
            }
            reader.mute.insert(file.tgid, Instant::now());
            reader.deadline = (reader.deadline / 2).max(LAST_DEADLINE);
            Err(mute())
        }
    }
}

fn mute() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, MUTE)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::ResolveFlags;

    use super::*;

    #[test]
    fn files_are_read_as_they_are_without_a_helper() {
        let place = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
        std::fs::write(place.path().join("file"), &content).unwrap();
        let dir = std::fs::File::open(place.path()).unwrap();
        let file =
            |path| ForeignFile { tgid: 0, dir: dir.as_fd(), base: "", path, resolve: ResolveFlags::empty() };
        let mut found = Vec::new();
        let stat = read(file(b"file"), 0, 1 << 20, &mut found).unwrap();
        assert!(found == content, "{} of {} bytes", found.len(), content.len());
        assert_eq!(super::stat(file(b"file")).unwrap(), stat);
        found.clear();
        read(file(b"file"), 10, 5, &mut found).unwrap();
        assert_eq!(found, content[10..15]);
        let error = read(file(b"none"), 0, 5, &mut found).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let beneath = ForeignFile { resolve: ResolveFlags::BENEATH, ..file(b"../file") };
        assert!(super::stat(beneath).is_err());
        assert!(!is_helper(std::process::id()));
    }
}
