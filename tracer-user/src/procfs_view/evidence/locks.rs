//! `/proc/locks`: which locks are held, and which are waited for.

use super::fdinfo::{lock_kind, lock_mode};
use crate::core::evidence::{LockEntry, ObjectId};
use crate::procfs_view::mounts::device;

/// Parses `/proc/locks`. A line of an unknown form is passed over.
pub(crate) fn parse(text: &[u8]) -> Vec<LockEntry> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(line).collect()
}

/// `1: -> FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF`
fn line(text: &str) -> Option<LockEntry> {
    let mut words = text.split_ascii_whitespace().peekable();
    let number = words.next()?.strip_suffix(':')?.parse().ok()?;
    let waiting = words.next_if(|word| *word == "->").is_some();
    let kind = lock_kind(words.next()?)?;
    let _advisory = words.next()?;
    let mode = lock_mode(words.next()?)?;
    let pid =
        words.next()?.parse::<i64>().ok().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let (dev, ino) = words.next()?.rsplit_once(':')?;
    let object = ObjectId::File { dev: device(dev, 16)?, ino: ino.parse().ok()? };
    let start = words.next()?.parse().ok()?;
    let end = words.next()?.parse().ok();
    Some(LockEntry { number, kind, mode, pid, object, start, end, waiting })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::{LockKind, LockMode};

    #[test]
    fn holders_and_waiters() {
        let text = b"1: FLOCK  ADVISORY  WRITE 7770 fe:00:5382152 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 7771 fe:00:5382152 0 EOF\n\
            2: OFDLCK ADVISORY  READ -1 00:2a:77 10 19\nnonsense\n";
        let locks = parse(text);
        assert_eq!(locks.len(), 3);
        assert_eq!((locks[0].waiting, locks[1].waiting), (false, true));
        assert_eq!(locks[0].object, ObjectId::File { dev: rustix::fs::makedev(0xfe, 0), ino: 5_382_152 });
        assert_eq!((locks[2].kind, locks[2].mode, locks[2].pid), (LockKind::Ofd, LockMode::Read, None));
        assert_eq!((locks[2].start, locks[2].end), (10, Some(19)));
    }
}
