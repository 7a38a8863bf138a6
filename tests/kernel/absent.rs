//! Machines that have no kernel events to give, each made in a mount namespace of its own: the job runs all the same, one
//! line says what is missing and what to do, `doctor` says the same, and nothing is left behind.
use std::path::Path;
use std::process::{Command, Output, Stdio};

const TOOL: &str = env!("CARGO_BIN_EXE_tracer-user");

/// Whether namespaces can be made here.
fn can_be_tried() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var("TRACER_REQUIRE_BPF").as_deref() != Ok("1"), "root is required here");
    if !root {
        eprintln!("skipped: not root");
    }
    root
}

/// Runs the tool after `preparation`, which a shell does in a mount namespace of its own, with `around` before the tool.
fn on_such_a_machine(preparation: &str, around: &str, words: &[&str]) -> Output {
    let script = format!("set -e; {preparation}; exec {around} \"$@\"");
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh", TOOL])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("util-linux has unshare")
}

/// The job's status is passed on and one line holds `said`; `doctor` holds it too and finds no kernel events.
#[track_caller]
fn is_told(preparation: &str, around: &str, said: &str) {
    let place = tempfile::tempdir_in("/dev/shm").expect("a place in memory");
    let at = |name: &str| place.path().join(name).to_str().expect("text").to_owned();
    let (traces, log) = (at("traces"), at("log"));
    let job = ["run", "--quiet", "--trace-dir", &traces, "--log-dir", &log, "--", "sh", "-c", "exit 7"];
    let output = on_such_a_machine(preparation, around, &job);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(said) && text.contains("no kernel events"), "{text}");
    assert_eq!(files(Path::new(&traces)), 0, "something is left in {traces}");

    let words = ["doctor", "--format", "json", "--trace-dir", &traces, "--log-dir", &log];
    let output = on_such_a_machine(preparation, around, &words);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!((&report["kernel_events"], output.status.code()), (&false.into(), Some(1)), "{report:#}");
    let all = report["requirements"].as_array().expect("a list");
    let kernel = all.iter().find(|it| it["id"] == "kernel_events").expect("tried");
    assert!(kernel["found"].as_str().is_some_and(|found| found.contains(said)), "{kernel:#}");
}

/// Regular files below a directory, its locks left out.
fn files(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let count = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        _ => usize::from(!entry.file_name().to_string_lossy().contains("lock")),
    };
    entries.flatten().map(count).sum()
}

const WITHOUT_CAPABILITIES: &str = "setpriv --bounding-set -sys_admin,-bpf,-perfmon";

#[test]
fn no_type_information() {
    if can_be_tried() {
        is_told("mount -t tmpfs none /sys/kernel/btf", "", "/sys/kernel/btf/vmlinux");
    }
}

#[test]
fn broken_type_information() {
    if can_be_tried() {
        let broken = "mount -t tmpfs none /sys/kernel/btf; echo not BTF > /sys/kernel/btf/vmlinux";
        is_told(broken, "", "/sys/kernel/btf/vmlinux");
    }
}

#[test]
fn no_place_for_the_bpf_file_system() {
    if can_be_tried() {
        is_told("mount -t tmpfs none /sys/fs", "", "the BPF file system is not mounted");
    }
}

#[test]
fn a_strangers_place_in_the_bpf_file_system() {
    if can_be_tried() {
        let planted = "mount -t bpf bpf /sys/fs/bpf; mkdir -m 777 /sys/fs/bpf/tracer-user; chown 65534 /sys/fs/bpf/tracer-user";
        is_told(planted, "", "belongs to uid 65534");
    }
}

#[test]
fn no_capability() {
    if can_be_tried() {
        is_told("true", WITHOUT_CAPABILITIES, "CAP_BPF and CAP_PERFMON");
    }
}

#[test]
fn a_kernel_locked_down() {
    if can_be_tried() {
        let locked = "mount -t tmpfs none /sys/kernel/security; \
                      echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown";
        is_told(locked, WITHOUT_CAPABILITIES, "locked down (confidentiality)");
    }
}

#[test]
fn a_strangers_trace_directory_is_refused() {
    if !can_be_tried() {
        return;
    }
    let place = tempfile::tempdir_in("/dev/shm").expect("a place in memory");
    std::os::unix::fs::chown(place.path(), Some(65534), Some(65534)).expect("given away");
    let job = ["run", "--quiet", "--trace-dir", place.path().to_str().expect("text"), "--", "true"];
    let output = Command::new(TOOL).args(job).stdin(Stdio::null()).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.lines().count()), (Some(125), 1), "{text}");
}
