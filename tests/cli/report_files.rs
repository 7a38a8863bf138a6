//! Files that the tool writes and reads at paths that another user may have prepared.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::isolated::isolate;
use crate::support::child::{TestChild, output};
use crate::support::{TRACER, is_root};

/// The tool may need this long on a busy machine to refuse a path.
const AT_MOST: Duration = Duration::from_secs(60);

/// Runs a verb to its end, with what it printed. `None`: it waits.
fn ends(words: &[&str]) -> Option<(Option<i32>, String)> {
    let mut command = Command::new(TRACER);
    isolate(&mut command);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = TestChild::start(&mut command);
    child.wait_within(AT_MOST)?;
    let (status, text) = child.finish();
    Some((status.code(), text))
}

/// The verb is refused with one line that names the path, and the reason.
#[track_caller]
fn refused(words: &[&str], path: &Path, reason: &str) {
    let (code, text) = ends(words).unwrap_or_else(|| panic!("{words:?} waits"));
    assert_eq!(code, Some(125), "{words:?}: {text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 1 && text.contains(path.to_str().expect("text")) && text.contains(reason),
        "{words:?}: {text}"
    );
}

#[test]
fn a_report_goes_to_regular_files_alone_and_the_job_does_not_start_before_that_is_clear() {
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    let victim = at("victim");
    std::fs::write(&victim, "kept").expect("written");
    std::os::unix::fs::symlink(&victim, at("link")).expect("linked");
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let mut cases = vec![("link", "is a symbolic link"), ("fifo", "is a FIFO"), (".", "is a directory")];
    if is_root() {
        // The numbers of /dev/null, and of a loop device that nothing backs.
        let node = |name, kind, major, minor| {
            mknodat(CWD, at(name), kind, Mode::RWXU, rustix::fs::makedev(major, minor)).expect("a node");
        };
        node("char", FileType::CharacterDevice, 1, 3);
        node("block", FileType::BlockDevice, 7, 250);
        std::os::unix::fs::symlink(at("char"), at("link-to-device")).expect("linked");
        let open = at("open");
        std::fs::create_dir(&open).expect("made");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).expect("mode");
        std::fs::write(open.join("theirs"), "kept").expect("written");
        std::os::unix::fs::chown(open.join("theirs"), Some(65534), None).expect("given");
        cases.extend([
            ("char", "is a character device"),
            ("block", "is a block device"),
            ("link-to-device", "is a symbolic link"),
            ("open/theirs", "belongs to user 65534"),
        ]);
    }
    let ran = at("ran");
    for (name, reason) in cases {
        let path = at(name);
        let report = format!("json={}", path.display());
        let own = std::process::id().to_string();
        refused(&["run", "--report", &report, "--", "touch", ran.to_str().expect("text")], &path, reason);
        refused(&["diagnose", "--report", &report, "--pid", &own], &path, reason);
        assert!(!ran.exists(), "the job ran before {path:?} was refused");
    }
    assert_eq!(std::fs::read(&victim).expect("read"), b"kept");
}

#[test]
fn standard_streams_and_new_directories_are_places_for_a_report() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("new/report.json");
    let report = format!("json={}", path.display());
    let words = ["--report", &report, "--report", "json=/dev/null", "--report", "json=/dev/stderr"];
    let (code, text) = ends(&[&["run"][..], &words, &["--", "sh", "-c", "exit 5"]].concat()).expect("ends");
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("\"verdict\"") && path.exists(), "{text}");
    assert_eq!(path.metadata().expect("exists").permissions().mode() & 0o777, 0o600);
    // The job's output is not the tool's.
    let (code, text) = ends(&["run", "--report", "json=-", "--", "true"]).expect("ends");
    assert!(code == Some(125) && text.lines().count() == 1 && text.contains("/dev/stderr"), "{text}");
    let own = std::process::id().to_string();
    let printed = output(Command::new(TRACER).args(["diagnose", "--pid", &own, "--report", "dot=-"]));
    assert!(String::from_utf8_lossy(&printed.stdout).contains("digraph"), "{printed:?}");
}

#[test]
fn a_baseline_is_a_regular_file_of_bounded_size() {
    let place = tempfile::tempdir().expect("a directory");
    let fifo = place.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let path = fifo.to_str().expect("text");
    refused(&["preflight", "--baseline", path], &fifo, "is a FIFO");
    refused(&["preflight", "--baseline", "/dev/zero"], Path::new("/dev/zero"), "is a character device");
    refused(&["preflight", "--save", path], &fifo, "is a FIFO");
}
