//! Frames of CPython, by the reader of py-spy without its ptrace.
//!
//! It finds the interpreter's state in the process's memory and follows it. The interpreter keeps a
//! thread's frames in memory of its own, and a thread that sleeps does not change them.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use py_spy::config::{Config, LockingStrategy};
use py_spy::{PythonSpy, StackTrace};

use super::asleep::Asleep;
use crate::core::evidence::{ByteString, FrameKind, StackFrame};
use crate::procfs_view::evidence::Memory;
use crate::procfs_view::maps;
use crate::procfs_view::proc_dir::ProcDir;
use crate::procfs_view::stat;

/// Where a C library keeps a thread's id below its `pthread_t`, bytes: glibc (nptl/descr.h, `tid`) on
/// x86-64 and aarch64, musl (src/internal/pthread_impl.h, `tid`) on both.
const TID_AT: [u64; 4] = [0x2d0, 0xd0, 0x30, 0x20];

/// Whether the process runs CPython, as its own program or as a library.
pub(super) fn is_interpreter(dir: &ProcDir) -> bool {
    program(dir).is_some_and(|name| name.starts_with(b"python")) || library(dir).is_some()
}

/// The stacks of these threads that run Python, by thread.
pub(super) fn stacks(
    dir: &ProcDir,
    tgid: u32,
    asleep: &BTreeMap<u32, Asleep>,
) -> Result<BTreeMap<u32, Vec<StackFrame>>, String> {
    let name = library(dir).or_else(|| program(dir)).unwrap_or_default();
    if is_free_threaded(&name) {
        return Err("free-threaded builds of CPython are not covered".to_owned());
    }
    let config = Config {
        blocking: LockingStrategy::NonBlocking,
        collect_thread_names: false,
        dump_locals: 0,
        full_filenames: true,
        gil_only: false,
        native: false,
        ..Config::default()
    };
    let pid = i32::try_from(tgid).map_err(|_| "no pid".to_owned())?;
    let mut spy = PythonSpy::new(pid, &config).map_err(words)?;
    let traces = spy.get_stack_traces().map_err(words)?;
    let inner = inner_ids(dir, asleep);
    let memory = Memory::of(dir);
    let mut found = BTreeMap::new();
    for trace in &traces {
        if let Some(tid) = thread(trace, &inner, &memory) {
            found.insert(tid, frames(trace));
        }
    }
    Ok(found)
}

fn frames(trace: &StackTrace) -> Vec<StackFrame> {
    let frame = |frame: &py_spy::Frame| StackFrame {
        function: Some(ByteString::from(frame.name.as_str())),
        file: Some(ByteString::from(frame.filename.as_str())),
        line: u32::try_from(frame.line).ok().filter(|line| *line > 0),
        module: None,
        address: None,
        kind: FrameKind::Python,
    };
    trace.frames.iter().map(frame).collect()
}

/// The thread that a trace is of. The interpreter knows the thread's id from 3.11 on, in the process's own
/// pid namespace; older ones know its `pthread_t`, beside which the C library keeps the id.
fn thread(trace: &StackTrace, inner: &BTreeMap<u32, u32>, memory: &Memory<'_>) -> Option<u32> {
    if let Some(id) = trace.os_thread_id {
        return inner.get(&u32::try_from(id).ok()?).copied();
    }
    TID_AT.iter().find_map(|offset| {
        let id = memory.u32(trace.thread_id.checked_add(*offset)?)?;
        inner.get(&id).copied()
    })
}

/// Thread ids in the process's own pid namespace, and what they are here.
fn inner_ids(dir: &ProcDir, asleep: &BTreeMap<u32, Asleep>) -> BTreeMap<u32, u32> {
    let Ok(tasks) = dir.sub("task") else { return BTreeMap::new() };
    let mut buffer = Vec::new();
    let mut inner = |tid: u32| {
        let thread = tasks.numbered(tid).ok()?;
        stat::status(thread.read("status", &mut buffer).ok()?).inner_pid
    };
    asleep.keys().map(|tid| (inner(*tid).unwrap_or(*tid), *tid)).collect()
}

/// The base name of the process's executable.
fn program(dir: &ProcDir) -> Option<Vec<u8>> {
    base(&dir.link("exe", &mut [0; 4096]).ok()?)
}

/// The base name of the process's `libpython`.
fn library(dir: &ProcDir) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    let text = dir.read("maps", &mut buffer).ok()?;
    let names = maps::parse(text).filter_map(|mapping| base(mapping.path?.as_bytes()));
    names.into_iter().find(|name| name.starts_with(b"libpython") && !name.starts_with(b"libpython3.so"))
}

fn base(path: &[u8]) -> Option<Vec<u8>> {
    Some(Path::new(std::ffi::OsStr::from_bytes(path)).file_name()?.as_bytes().to_vec())
}

/// `python3.13t`, `libpython3.14t.so.1.0`: their frames lie elsewhere, and would be read as others.
fn is_free_threaded(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    let Some(version) = name.split("python3.").nth(1) else { return false };
    version.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('t')
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_threaded_builds_are_known_by_their_name() {
        for name in ["python3.13t", "libpython3.14t.so.1.0"] {
            assert!(is_free_threaded(name.as_bytes()), "{name}");
        }
        for name in ["python3.13", "libpython3.9.so.1.0", "python", "python3", "libpython2.7.so"] {
            assert!(!is_free_threaded(name.as_bytes()), "{name}");
        }
    }
}
