//! The place in the user's own code at which a thread waits.
//!
//! Own code is what the job's author can change: neither the standard library, nor an installed package,
//! nor the system. What lies below the process's working directory comes first. A stack says where a thread
//! is and nothing about why, so it never changes a verdict.

use super::model::{CodePlace, Frame};
use crate::core::evidence::{FrameKind, Process, StackFrame, Thread};

/// Directories whose code is never the user's own.
const LIBRARY_ROOTS: &[&str] =
    &["/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/rustc/", "/rust/deps/", "/nix/store/"];

/// Parts of a path below which packages, toolchains and standard libraries lie.
const LIBRARY_PARTS: &[&str] = &[
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/.cargo/registry/",
    "/.cargo/git/",
    "/.rustup/",
    "/pkg/mod/",
    "/lib/python2.",
    "/lib/python3.",
    "/library/std/src/",
    "/library/core/src/",
    "/library/alloc/src/",
];

/// Programs that run another language: their own functions are nobody's code.
const INTERPRETERS: &[&str] =
    &["python", "pypy", "node", "ruby", "perl", "java", "bash", "dash", "sh", "zsh", "php"];

/// The frames of a thread, innermost first; `None` when they were not read.
pub(super) fn frames(thread: &Thread) -> Option<Vec<Frame>> {
    let frame = |frame: &StackFrame| Frame {
        function: frame.function.as_ref().map(|name| name.printable()),
        file: frame.file.as_ref().map(|name| name.printable()),
        line: frame.line,
        module: frame.module.as_ref().map(|name| name.printable()),
        address: frame.address.map(|address| format!("{address:#x}")),
        kind: kind(frame.kind).to_owned(),
    };
    Some(thread.frames.as_ref()?.iter().map(frame).collect())
}

fn kind(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Native => "native",
        FrameKind::Python => "python",
    }
}

/// The innermost frame of the user's own code. `None` when the stack was not read, or has none.
pub(super) fn place(process: &Process, thread: &Thread) -> Option<CodePlace> {
    let frames = thread.frames.as_ref()?;
    let cwd = process.cwd.as_ref().map(|cwd| cwd.printable());
    let cwd = cwd.as_deref().filter(|cwd| *cwd != "/");
    let go = go_library(frames);
    // The innermost frame without a name is that of the system call itself.
    let own = |depth: usize| {
        let frame = &frames[depth];
        let file = frame.file.as_ref().map(|file| file.printable());
        let is_go = file.zip(go.as_ref()).is_some_and(|(file, go)| file.starts_with(go.as_str()));
        is_own(process, frame) && !is_go && (depth > 0 || frame.function.is_some())
    };
    let below = |depth: usize| {
        let file = frames[depth].file.as_ref().map(|file| file.printable());
        file.is_some_and(|file| relative(&file, cwd).is_some()) && own(depth)
    };
    let depths = 0..frames.len();
    let depth =
        depths.clone().find(|depth| below(*depth)).or_else(|| depths.clone().find(|depth| own(*depth)))?;
    let frame = &frames[depth];
    let function = frame.function.as_ref().map(|name| name.printable());
    let in_function = function.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
    let text = match (&frame.file, frame.line) {
        (Some(file), line) => {
            let file = file.printable();
            let file = relative(&file, cwd).unwrap_or(&file).to_owned();
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            format!("{file}{line}{in_function}")
        }
        (None, _) => {
            let module = frame.module.as_ref().map(|module| module.printable()).unwrap_or_default();
            match &function {
                Some(function) => format!("{function} in {module}"),
                None => format!("{module}+{:#x}", frame.address?),
            }
        }
    };
    Some(CodePlace { text, function, depth })
}

/// Where Go's standard library lies, by the file of a frame of its runtime.
fn go_library(frames: &[StackFrame]) -> Option<String> {
    frames.iter().find_map(|frame| {
        let function = frame.function.as_ref().filter(|name| name.as_bytes().starts_with(b"runtime."));
        let file = function.and(frame.file.as_ref())?.printable();
        file.split_once("/src/runtime/").map(|(root, _)| format!("{root}/src/"))
    })
}

/// The part of a path below the working directory; a relative path as it is.
fn relative<'f>(file: &'f str, cwd: Option<&str>) -> Option<&'f str> {
    if file.starts_with('<') || file.starts_with("node:") {
        return None;
    }
    if !file.starts_with('/') {
        return Some(file.strip_prefix("./").unwrap_or(file));
    }
    file.strip_prefix(cwd?)?.strip_prefix('/')
}

fn is_own(process: &Process, frame: &StackFrame) -> bool {
    if let Some(file) = &frame.file {
        let file = file.printable();
        return !(is_library(&file) || frame.kind == FrameKind::Native && is_library_module(frame));
    }
    // Without debug information the executable's own functions are all that is known of it.
    frame.module.is_some()
        && frame.module == process.exe
        && !is_library_module(frame)
        && process.exe.as_ref().is_some_and(|exe| !is_interpreter(&exe.printable()))
        && frame.function.as_ref().is_none_or(|name| !is_startup(name.as_bytes()))
}

/// What the linker puts in front of `main`.
fn is_startup(function: &[u8]) -> bool {
    matches!(
        function,
        b"_start" | b"__libc_start_main" | b"__libc_start_call_main" | b"_dl_relocate_static_pie"
    )
}

fn is_library_module(frame: &StackFrame) -> bool {
    frame.module.as_ref().is_some_and(|module| is_library(&module.printable()))
}

fn is_library(file: &str) -> bool {
    file.starts_with("<frozen")
        // glibc's own sources, in the debug information of distributions.
        || !file.starts_with('/') && file.contains("sysdeps/")
        || file.starts_with("node:")
        || LIBRARY_ROOTS.iter().any(|root| file.starts_with(root)) && !file.starts_with("/usr/src/app/")
        || LIBRARY_PARTS.iter().any(|part| file.contains(part))
}

fn is_interpreter(exe: &str) -> bool {
    let name = exe.rsplit('/').next().unwrap_or(exe);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::ByteString;
    use crate::core::identity::ProcessId;

    fn process(cwd: &str, exe: &str) -> Process {
        let mut process = Process::new(ProcessId { tgid: 7, start_ticks: 1 });
        process.cwd = Some(ByteString::from(cwd));
        process.exe = Some(ByteString::from(exe));
        process
    }

    fn frame(function: &str, file: Option<&str>, module: Option<&str>, kind: FrameKind) -> StackFrame {
        StackFrame {
            function: Some(ByteString::from(function)),
            file: file.map(ByteString::from),
            line: file.map(|_| 41),
            module: module.map(ByteString::from),
            address: None,
            kind,
        }
    }

    fn at(process: &Process, frames: Vec<StackFrame>) -> Option<String> {
        let thread = Thread { frames: Some(frames), ..Thread::default() };
        place(process, &thread).map(|place| format!("{} @{}", place.text, place.depth))
    }

    #[test]
    fn the_innermost_own_frame_is_named_and_neither_the_library_nor_the_runner() {
        use FrameKind::Python;
        let process = process("/job", "/usr/bin/python3.11");
        let stack = vec![
            frame("wait", Some("/usr/lib/python3.11/subprocess.py"), None, Python),
            frame("helper", Some("/job/.venv/lib/python3.11/site-packages/pkg/run.py"), None, Python),
            frame("test_chatty", Some("/job/tests/test_io.py"), None, Python),
            frame("main", Some("/job/conftest.py"), None, Python),
        ];
        assert_eq!(at(&process, stack).unwrap(), "tests/test_io.py:41 in test_chatty @2");
    }

    #[test]
    fn code_below_the_working_directory_comes_before_other_code_that_is_no_library() {
        use FrameKind::Python;
        let process = process("/job", "/usr/bin/python3.11");
        let stack = vec![
            frame("step", Some("/opt/runner/steps.py"), None, Python),
            frame("test", Some("/job/t.py"), None, Python),
        ];
        assert_eq!(at(&process, stack.clone()).unwrap(), "t.py:41 in test @1");
        assert_eq!(at(&process, stack[..1].to_vec()).unwrap(), "/opt/runner/steps.py:41 in step @0");
    }

    #[test]
    fn machine_code_without_lines_is_named_by_function_and_never_as_a_library_or_an_interpreter() {
        use FrameKind::Native;
        let exe = "/job/target/debug/chat";
        let own = process("/job", exe);
        let libc = frame("read", Some("io/read.c"), Some("/usr/lib/libc.so.6"), Native);
        let main = frame("main", None, Some(exe), Native);
        let start = frame("_start", None, Some(exe), Native);
        assert_eq!(
            at(&own, vec![libc.clone(), main, start.clone()]).unwrap(),
            "main in /job/target/debug/chat @1"
        );
        assert_eq!(at(&own, vec![libc.clone(), start]), None);
        let python = process("/job", "/opt/python/bin/python3.12");
        let eval = frame("PyEval_EvalFrame", None, Some("/opt/python/bin/python3.12"), Native);
        assert_eq!(at(&python, vec![libc, eval]), None);
    }

    #[test]
    fn the_standard_library_of_go_is_known_by_its_runtime() {
        use FrameKind::Native;
        let exe = "/job/hang";
        let own = process("/job", exe);
        let stack = vec![
            frame("os.(*Process).Wait", Some("/opt/go1.22/src/os/exec.go"), Some(exe), Native),
            frame("main.wait", Some("/build/main.go"), Some(exe), Native),
            frame("runtime.main", Some("/opt/go1.22/src/runtime/proc.go"), Some(exe), Native),
        ];
        assert_eq!(at(&own, stack).unwrap(), "/build/main.go:41 in main.wait @1");
    }

    #[test]
    fn an_address_counts_only_below_the_system_call() {
        let exe = "/job/a";
        let nameless = StackFrame {
            module: Some(ByteString::from(exe)),
            address: Some(0x1200),
            ..StackFrame::default()
        };
        assert_eq!(at(&process("/job", exe), vec![nameless.clone()]), None);
        assert_eq!(at(&process("/job", exe), vec![nameless.clone(), nameless]).unwrap(), "/job/a+0x1200 @1");
    }

    #[test]
    fn a_stack_that_was_not_read_has_no_place() {
        assert_eq!(place(&process("/job", "/job/a"), &Thread::default()), None);
        assert_eq!(frames(&Thread::default()), None);
    }
}
