//! Initial RAM file systems: cpio archives in the "newc" format, written without root.

use std::collections::BTreeSet;
use std::path::Path;

/// An archive being built. Directories are added as files need them.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
}

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Archive {
    /// Adds a directory and its parents.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let directory = &path[..end];
            if !directory.is_empty() && self.directories.insert(directory.into()) {
                self.entry(directory, FOLDER | 0o755, (0, 0), &[]);
            }
        }
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.directory_of(path);
        self.entry(path, FILE | mode, (0, 0), data);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.directory_of(path);
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.directory_of(path);
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// Ends the archive and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn directory_of(&mut self, path: &str) {
        if let Some(directory) = Path::new(path).parent().and_then(Path::to_str) {
            self.directory(directory);
        }
    }

    /// Thirteen numbers of eight hexadecimal digits, the name and the data, each padded to four bytes.
    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        let name = path.trim_start_matches('/');
        self.inode += 1;
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        let sizes = (data.len() as u32, name.len() as u32 + 1);
        let numbers = [self.inode, mode, 0, 0, links, 0, sizes.0, 0, 0, device.0, device.1, sizes.1, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_their_files_and_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", 0o644, b"xyz");
        archive.file("a/b/d", 0o755, b"");
        archive.device("dev/console", 5, 1);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "dev", "dev/console", "TRAILER!!!"]);
    }
}
