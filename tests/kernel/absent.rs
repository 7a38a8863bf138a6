//! Machines without kernel events, each simulated in a mount namespace of its own. The job runs all the same,
//! one line reports what is missing and what to do, `doctor` reports the same, and nothing is left behind.
use std::path::Path;
use std::process::{Command, Output};

use crate::support::child::output;
use crate::support::{TRACER, is_root};

/// Runs the tool after `preparation`, which a shell does in a mount namespace of its own. `around` is a
/// command that runs the tool.
fn on_machine(preparation: &str, around: &str, words: &[&str]) -> Output {
    let script = format!("set -e; {preparation}; exec {around} \"$@\"");
    output(Command::new("unshare").args(["--mount", "sh", "-c", &script, "sh", TRACER]).args(words))
}

/// Checks that the job's status is passed on and one line contains `why`, and that `doctor` reports it as
/// well and finds no kernel events.
#[track_caller]
fn is_reported(preparation: &str, around: &str, why: &str) {
    let place = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let at = |name: &str| place.path().join(name).to_str().expect("text").to_owned();
    let (traces, log) = (at("traces"), at("log"));
    let job = [
        "run",
        "--quiet",
        "--require-tracing",
        "--trace-dir",
        &traces,
        "--log-dir",
        &log,
        "--",
        "sh",
        "-c",
        "exit 7",
    ];
    let output = on_machine(preparation, around, &job);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(why) && text.contains("no kernel events"), "{text}");
    assert_eq!(files(Path::new(&traces)), 0, "something is left in {traces}");

    let words = ["doctor", "--format", "json", "--trace-dir", &traces, "--log-dir", &log];
    let output = on_machine(preparation, around, &words);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!((&report["kernel_events"], output.status.code()), (&false.into(), Some(1)), "{report:#}");
    let all = report["requirements"].as_array().expect("a list");
    let kernel = all.iter().find(|it| it["id"] == "kernel_events").expect("it is a requirement");
    assert!(kernel["found"].as_str().is_some_and(|found| found.contains(why)), "{kernel:#}");
}

/// Counts the regular files below a directory, except locks.
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
    if is_root() {
        is_reported("mount -t tmpfs none /sys/kernel/btf", "", "/sys/kernel/btf/vmlinux");
    }
}

#[test]
fn broken_type_information() {
    if is_root() {
        let broken = "mount -t tmpfs none /sys/kernel/btf; echo not BTF > /sys/kernel/btf/vmlinux";
        is_reported(broken, "", "/sys/kernel/btf/vmlinux");
    }
}

#[test]
fn no_bpf_file_system() {
    if is_root() {
        is_reported("mount -t tmpfs none /sys/fs", "", "the BPF file system is not mounted");
    }
}

#[test]
fn a_directory_of_another_user_in_the_bpf_file_system() {
    if is_root() {
        let planted = "mount -t bpf bpf /sys/fs/bpf; mkdir -m 777 /sys/fs/bpf/tracer-user; chown 65534 /sys/fs/bpf/tracer-user";
        is_reported(planted, "", "belongs to uid 65534");
    }
}

#[test]
fn no_capability() {
    if is_root() {
        is_reported("true", WITHOUT_CAPABILITIES, "CAP_BPF and CAP_PERFMON");
    }
}

#[test]
fn a_locked_down_kernel() {
    if is_root() {
        let locked = "mount -t tmpfs none /sys/kernel/security; \
                      echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown";
        is_reported(locked, WITHOUT_CAPABILITIES, "locked down (confidentiality)");
    }
}

#[test]
fn a_trace_directory_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    std::os::unix::fs::chown(place.path(), Some(65534), Some(65534)).expect("given away");
    let job = [
        "run",
        "--quiet",
        "--require-tracing",
        "--trace-dir",
        place.path().to_str().expect("text"),
        "--",
        "true",
    ];
    let output = output(Command::new(TRACER).args(job));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.lines().count()), (Some(125), 1), "{text}");
}
