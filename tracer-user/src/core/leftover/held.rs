//! Files that a session's processes held, as notes of its trace. They tell whose a file is once its processes
//! are gone.

use std::fmt;

use crate::core::text::{ByteString, unescape};

/// The code of these notes.
pub const HELD_FILE: &str = "held_file";

/// A file that a process of a session was bound to, or had open in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFile {
    /// Process id.
    pub pid: u32,
    /// The path by which the process named the file.
    pub path: ByteString,
    /// Device of its file system.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl fmt::Display for HeldFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} held file {}:{} {}", self.pid, self.dev, self.ino, self.path.escaped())
    }
}

impl HeldFile {
    /// Reads the text of a note; `None` when it is not such a text.
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.strip_prefix("pid ")?.split_once(" held file ")?;
        let (id, path) = rest.split_once(' ')?;
        let (dev, ino) = id.split_once(':')?;
        Some(Self {
            pid: pid.parse().ok()?,
            path: ByteString(unescape(path)),
            dev: dev.parse().ok()?,
            ino: ino.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back() {
        let held = HeldFile { pid: 7, path: ByteString(b"/run/a b\n\xff".to_vec()), dev: 1 << 40, ino: 9 };
        assert_eq!(HeldFile::parse(&held.to_string()), Some(held));
        for text in ["", "pid 7", "pid x held file 1:2 /a", "pid 7 held file 1 /a", "pid 7 held file 1:2"] {
            assert_eq!(HeldFile::parse(text), None, "{text}");
        }
    }
}
