//! `/proc/PID/maps`: which file is mapped at an address, and which processes map a file.

use super::FileId;
use super::mounts::device;
use crate::core::evidence::{ByteString, FutexShared};

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub start: u64,
    /// Its last address, plus one.
    pub end: u64,
    /// Its memory can be executed.
    pub executable: bool,
    /// MAP_SHARED, not MAP_PRIVATE.
    pub shared: bool,
    /// Where it starts in the file, bytes.
    pub offset: u64,
    /// The mapped file; its inode is 0 for private anonymous memory.
    pub file: FileId,
    /// Path of the file, or the kernel's name of the memory (`[heap]`); `None` without one.
    pub path: Option<ByteString>,
}

/// Parses `maps`.
pub(crate) fn parse(text: &[u8]) -> impl Iterator<Item = Mapping> {
    text.split(|b| *b == b'\n').filter_map(line)
}

/// `7f..-7f.. rw-s 00000000 00:01 1024    /dev/zero (deleted)`
fn line(text: &[u8]) -> Option<Mapping> {
    let mut fields = text.splitn(6, |b| *b == b' ');
    let mut next = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = next()?.split_once('-')?;
    let mode = next()?;
    let offset = u64::from_str_radix(next()?, 16).ok()?;
    let dev = device(next()?, 16)?;
    let ino = next()?.parse().ok()?;
    let path = fields.next().map(|rest| rest.trim_ascii_start()).filter(|rest| !rest.is_empty());
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        executable: mode.as_bytes().get(2) == Some(&b'x'),
        shared: mode.as_bytes().get(3) == Some(&b's'),
        offset,
        file: FileId { dev, ino },
        path: path.map(ByteString::from),
    })
}

/// The shared memory behind an address. `None` when it is private, or no mapping.
pub(crate) fn shared_at(text: &[u8], address: u64) -> Option<FutexShared> {
    let found = parse(text).find(|m| (m.start..m.end).contains(&address))?;
    if found.file.ino == 0 || !found.shared {
        return None;
    }
    Some(FutexShared {
        dev: found.file.dev,
        ino: found.file.ino,
        offset: found.offset + (address - found.start),
        path: found.path,
        mapped_by: None,
    })
}

/// Whether no other process can share the memory at an address.
pub(crate) fn is_private(text: &[u8], address: u64) -> bool {
    parse(text).find(|m| (m.start..m.end).contains(&address)).is_some_and(|m| !m.shared)
}

/// Whether one of the mappings is of a file.
pub(crate) fn maps_file(text: &[u8], file: FileId) -> bool {
    parse(text).any(|m| m.file == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"55d0-55e0 r-xp 00000000 fe:00 12 /bin/a b\n7f00-7f10 rw-s 00001000 00:01 1024    /dev/zero (deleted)\n\
        7f20-7f30 rw-p 00000000 00:00 0 \n";

    #[test]
    fn the_file_behind_an_address() {
        let shared = shared_at(MAPS, 0x7f04).unwrap();
        assert_eq!((shared.ino, shared.offset), (1024, 0x1004));
        assert_eq!(shared.path.unwrap().as_bytes(), b"/dev/zero (deleted)");
        assert_eq!(shared_at(MAPS, 0x7f24), None);
        assert!(is_private(MAPS, 0x7f24) && !is_private(MAPS, 0x7f04) && !is_private(MAPS, 0x1));
        assert_eq!(shared_at(MAPS, 0x1), None);
        assert!(maps_file(MAPS, FileId { dev: rustix::fs::makedev(0xfe, 0), ino: 12 }));
    }

    #[test]
    fn no_prefix_panics() {
        for end in 0..MAPS.len() {
            let _ = parse(&MAPS[..end]).count();
        }
    }
}
