//! What a test runner recorded of its last run: pytest's `lastfailed` in the working directory of the
//! process.
//!
//! The directory is the job's, and another user may have put anything in that place: no link is followed, no
//! open waits, and only a regular file of the process's own user is read, up to a bound.

use rustix::fs::FileType;

use crate::core::evidence::{ByteString, Evidence, LastFailed, Process};
use crate::procfs_view::proc_dir::{OpenRoot, ProcDir};

/// Where pytest keeps the file, below its root directory.
const PLACE: &str = ".pytest_cache/v/cache/lastfailed";
/// Bytes that are read at most.
const MAX_BYTES: usize = 1 << 20;
/// The most tests that are kept.
const MAX_TESTS: usize = 20;

/// Fills [`Evidence::last_failed`] from the working directories of the pytest processes in scope.
pub(crate) fn add(evidence: &mut Evidence, root: &OpenRoot) {
    let mut places = Vec::new();
    for process in evidence.processes.iter().filter(|p| p.in_scope && !p.zombie && is_pytest(p)) {
        // pytest's workers share its working directory.
        let Some(place) = process.cwd.clone().filter(|cwd| !places.contains(cwd)) else { continue };
        places.push(place);
        let directory = root.process(process.id.tgid).and_then(|own| own.sub("cwd"));
        let tests = directory.ok().and_then(|directory| read(&directory, process.uid));
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
    let (stat, text) = directory.file_beneath(PLACE, MAX_BYTES).ok()?;
    if FileType::from_raw_mode(stat.mode) != FileType::RegularFile || Some(stat.uid) != uid {
        return None;
    }
    parse(&text)
}

/// `{"tests/test_a.py::test_b": true, …}`
fn parse(text: &[u8]) -> Option<Vec<ByteString>> {
    let failed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    Some(failed.keys().take(MAX_TESTS).map(|test| ByteString::from(test.as_str())).collect())
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
    fn only_a_regular_file_of_the_runners_user_is_read() {
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
