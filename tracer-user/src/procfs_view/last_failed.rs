//! What a test runner wrote down of its last run: pytest's `lastfailed`, read beside the process, without starting the runner.
//!
//! The directory is the job's, and whoever works there may have put anything in that place: nothing is followed, nothing is waited for,
//! and only a regular file of the process's own user is read, up to a bound.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::proc_dir::{Decimal, ProcDir};
use crate::core::evidence::{ByteString, Evidence, LastFailed, Process};

/// Where pytest keeps it, below its root directory.
const PLACE: &str = ".pytest_cache/v/cache/lastfailed";
/// As much as is read, bytes.
const MOST_BYTES: usize = 1 << 20;
/// As many tests as are kept.
const MOST_TESTS: usize = 20;

/// Fills [`Evidence::last_failed`], from the working directories of the question's pytest processes.
pub(crate) fn gather(evidence: &mut Evidence, root: &ProcDir) {
    let mut places = Vec::new();
    for process in evidence.processes.iter().filter(|p| p.in_scope && !p.zombie && is_pytest(p)) {
        // Its workers work in the same directory.
        let Some(place) = process.cwd.clone().filter(|cwd| !places.contains(cwd)) else { continue };
        places.push(place);
        let tests = root
            .sub(Decimal::new(process.id.tgid).as_str())
            .and_then(|own| own.sub("cwd"))
            .ok()
            .and_then(|directory| read(&directory, process.uid));
        if let Some(tests) = tests.filter(|tests| !tests.is_empty()) {
            evidence.last_failed.push(LastFailed { process: process.id, tests });
        }
    }
}

fn is_pytest(process: &Process) -> bool {
    let words = process.cmdline.as_deref().unwrap_or_default().iter().take(4);
    words.map(ByteString::as_bytes).any(|word| {
        let tail = word.rsplit(|b| *b == b'/').next().unwrap_or(word);
        matches!(tail, b"pytest" | b"py.test" | b"pytest.py")
    })
}

fn read(directory: &ProcDir, uid: Option<u32>) -> Option<Vec<ByteString>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(directory, PLACE, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || Some(stat.st_uid) != uid {
        return None;
    }
    let mut text = vec![0; MOST_BYTES];
    let mut length = 0;
    while length < text.len() {
        match rustix::io::read(&file, &mut text[length..]).ok()? {
            0 => break,
            count => length += count,
        }
    }
    parse(&text[..length])
}

/// `{"tests/test_a.py::test_b": true, …}`
fn parse(text: &[u8]) -> Option<Vec<ByteString>> {
    let failed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    Some(failed.keys().take(MOST_TESTS).map(|test| ByteString::from(test.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &[u8]) -> (tempfile::TempDir, ProcDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(PLACE);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        let opened = ProcDir::open(directory.path()).unwrap();
        (directory, opened)
    }

    fn own_uid() -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }

    #[test]
    fn the_names_of_the_tests_that_failed() {
        let (_directory, opened) = place(b"{\n  \"a.py::x\": true,\n  \"b.py::y[1]\": true\n}");
        assert_eq!(
            read(&opened, own_uid()).unwrap(),
            [ByteString::from("a.py::x"), ByteString::from("b.py::y[1]")]
        );
    }

    #[test]
    fn what_is_not_the_runner_s_own_regular_file_is_left_alone() {
        let (directory, opened) = place(b"{\"a.py::x\": true}");
        assert_eq!(read(&opened, own_uid().map(|uid| uid + 1)), None);
        let file = directory.path().join(PLACE);
        std::fs::rename(&file, directory.path().join("real")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("real"), &file).unwrap();
        assert_eq!(read(&opened, own_uid()), None);
        assert_eq!(parse(b"[1, 2"), None);
        assert_eq!(parse(b"{}"), Some(Vec::new()));
    }
}
