//! `/proc/PID/mountinfo`: file systems by the ids of their mounts.

use std::collections::{HashMap, HashSet};

use rustix::fs::makedev;

use super::proc_dir::ProcDir;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Device of its super block.
    pub dev: u64,
    /// File system type.
    pub kind: Vec<u8>,
    /// Path within the file system whose subtree is mounted.
    pub root: Vec<u8>,
    /// Where it is mounted.
    pub point: Vec<u8>,
    /// Options of the super block.
    pub options: Vec<u8>,
}

impl Mount {
    /// Whether its server may not answer. Then nothing on it may be opened by path, or the tracer hangs with
    /// the job.
    pub(crate) fn may_hang(&self) -> bool {
        const REMOTE: [&str; 13] = [
            "nfs", "cifs", "smb", "fuse", "9p", "ceph", "afs", "gluster", "lustre", "virtiofs", "coda",
            "ocfs2", "gfs2",
        ];
        REMOTE.iter().any(|name| self.kind.starts_with(name.as_bytes()))
    }
}

/// Mounts by id. An id is unique on the machine, so one table serves all mount namespaces.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    known: HashMap<u32, Mount>,
    /// Mount namespaces whose table was read, by inode.
    read: HashSet<u64>,
}

impl Mounts {
    /// The mount with this id, from the table of the process's namespace when it is not known yet.
    pub(crate) fn find(&mut self, id: u32, process: &ProcDir, buffer: &mut Vec<u8>) -> Option<&Mount> {
        if !self.known.contains_key(&id) {
            // Once per namespace: a detached mount (`umount -l`) is in no table, and would be looked for
            // again and again.
            let namespace = process.namespace("mnt").unwrap_or(0);
            if self.read.insert(namespace)
                && let Ok(text) = process.read("mountinfo", buffer)
            {
                self.known.extend(parse(text));
            }
        }
        self.known.get(&id)
    }
}

/// Parses `mountinfo`.
pub(crate) fn parse(text: &[u8]) -> impl Iterator<Item = (u32, Mount)> {
    text.split(|b| *b == b'\n').filter_map(line)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn line(text: &[u8]) -> Option<(u32, Mount)> {
    let mut fields = text.split(|b| *b == b' ');
    let mut next = || fields.next();
    let id = std::str::from_utf8(next()?).ok()?.parse().ok()?;
    let _parent = next()?;
    let dev = device(std::str::from_utf8(next()?).ok()?, 10)?;
    let (root, point) = (unescape(next()?), unescape(next()?));
    while next()? != b"-" {}
    let kind = next()?.to_vec();
    let _source = next()?;
    Some((id, Mount { dev, kind, root, point, options: next().unwrap_or_default().to_vec() }))
}

/// `major:minor`, in the given base.
pub(crate) fn device(text: &str, radix: u32) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(u32::from_str_radix(major, radix).ok()?, u32::from_str_radix(minor, radix).ok()?))
}

/// The kernel writes blank, tab, line end and backslash as `\ooo`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let (id, mount) =
            parse(b"36 35 98:0 / /mnt/a\\040b rw,noatime master:1 shared:2 - nfs4 srv:/x rw,vers=4\n")
                .next()
                .unwrap();
        assert_eq!((id, mount.dev, mount.may_hang()), (36, makedev(98, 0), true));
        assert_eq!(
            (mount.point, mount.kind, mount.options),
            (b"/mnt/a b".to_vec(), b"nfs4".to_vec(), b"rw,vers=4".to_vec())
        );
    }

    #[test]
    fn no_prefix_panics() {
        let whole = b"36 35 98:0 / /mnt rw - ext4 /dev/root rw";
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).all(|(id, _)| id == 36));
        }
    }
}
