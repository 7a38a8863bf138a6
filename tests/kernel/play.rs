//! A test program that is also the job it traces: started again with the name of a part, it plays that part
//! instead of running tests. So a test needs no compiler and no other program on the machine.
//!
//! The part begins before `main`, on the only thread there is: a leader that ends alone, a fork that must not
//! meet another thread's locks, are then as simple as in C.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_user::core::identity::ProcessId;

/// Names the part to play.
const PART: &str = "TRACER_TEST_PART";
/// Words for the part, one a line.
const WORDS: &str = "TRACER_TEST_WORDS";
/// Set: the part begins when it is told to.
pub const HELD: &str = "TRACER_TEST_HELD";

/// This program.
static EXE: OnceLock<PathBuf> = OnceLock::new();

/// Longer than anything here takes on a loaded or emulated machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A part and its name.
pub type Part = (&'static str, fn(&[String]));

/// Makes a test program play these parts: call once, at the top of the file.
macro_rules! helpers {
    ($($name:literal => $part:path),* $(,)?) => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static BEFORE_MAIN: extern "C" fn() = {
            extern "C" fn enter() {
                play::enter(&[$(($name, $part)),*]);
            }
            enter
        };
    };
}

/// Plays the part that the environment names, and ends; returns when it names none.
pub fn enter(parts: &[Part]) {
    // Now, while it can be told: /proc/self says nothing of a process whose leader has ended.
    EXE.get_or_init(|| std::env::current_exe().expect("this program"));
    let Some(name) = std::env::var_os(PART) else { return };
    let words = std::env::var(WORDS).unwrap_or_default();
    let words: Vec<String> = words.lines().map(str::to_owned).collect();
    if std::env::var_os(HELD).is_some() {
        hear();
    }
    let part = parts.iter().find(|(known, _)| name.as_os_str() == OsStr::new(known));
    let played = std::panic::catch_unwind(|| part.expect("a part of that name").1(&words));
    end(if played.is_ok() { 0 } else { 101 });
}

/// Ends the process at once, with all its threads.
pub fn end(code: i32) -> ! {
    // SAFETY: ends the process; nothing is left to be sound.
    unsafe { libc::_exit(code) }
}

/// Says a line to the test, in one write.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: descriptor 1 stays open for as long as a part is played.
    let stdout = unsafe { rustix::fd::BorrowedFd::borrow_raw(1) };
    assert_eq!(rustix::io::write(stdout, line.as_bytes()), Ok(line.len()), "the test hears");
}

/// Waits for a line of the test. A test that is gone ends the part.
pub fn hear() -> String {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        // SAFETY: as in `say`.
        let stdin = unsafe { rustix::fd::BorrowedFd::borrow_raw(0) };
        match rustix::io::read(stdin, &mut byte) {
            Ok(1) if byte[0] == b'\n' => return String::from_utf8(line).expect("text"),
            Ok(1) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            _ => end(102),
        }
    }
}

/// This program, to be started once more in another part.
pub fn command(part: &str, words: &[&str]) -> Command {
    let mut command = Command::new(EXE.get().expect("set before main"));
    command.env_remove(HELD).env(PART, part).env(WORDS, words.join("\n"));
    command
}

/// Words that start this program in a part from a shell or a tracer: `env` and what it needs.
pub fn command_line(part: &str, words: &[&str]) -> Vec<OsString> {
    let assign = |name: &str, value: &str| OsString::from(format!("{name}={value}"));
    let exe = EXE.get().expect("set before main").into();
    vec!["env".into(), assign(PART, part), assign(WORDS, &words.join("\n")), exe]
}

/// Nanoseconds of CLOCK_BOOTTIME.
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Field 22 of `/proc/PID/stat`: when the process started, in clock ticks. `None`: it is gone.
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat_field(&format!("/proc/{pid}/stat"), 22)?.parse().ok()
}

/// A field of a `stat` file, counted as proc(5) does, from the third on.
pub fn stat_field(path: &str, number: usize) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// A part that is played.
pub struct Player {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: File,
    heard: Vec<u8>,
}

impl Player {
    /// Starts a part, which waits for [`Self::go`].
    pub fn held(part: &str, words: &[&str]) -> Self {
        let mut command = command(part, words);
        command.env(HELD, "1");
        Self::start(command)
    }

    /// Starts a command that talks as parts do.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let stdin = child.stdin.take();
        let stdout = OwnedFd::from(child.stdout.take().expect("piped")).into();
        Self { child, stdin, stdout, heard: Vec::new() }
    }

    /// Which process it is.
    pub fn process(&self) -> ProcessId {
        let tgid = self.child.id();
        ProcessId { tgid, start_ticks: start_ticks(tgid).expect("it is not reaped") }
    }

    /// Lets a held part begin.
    pub fn go(&mut self) {
        self.tell("go");
    }

    /// Says a line to it.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it still hears");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it hears");
    }

    /// A line of it, when there is one; `None` at the end of its output or after `at_most`.
    pub fn line_within(&mut self, at_most: Duration) -> Option<String> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let rest = self.heard.split_off(end + 1);
                let line = std::mem::replace(&mut self.heard, rest);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::new(&self.stdout, PollFlags::IN)];
            if poll(&mut fds, Some(&timeout)).expect("poll") == 0 {
                return None;
            }
            let mut buffer = [0; 4096];
            match self.stdout.read(&mut buffer).expect("read") {
                0 => return None,
                read => self.heard.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// The next line it says.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.line_within(PATIENCE).expect("it says a line")
    }

    /// Ends a part that may not end by itself.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
    }

    /// A descriptor that is readable when it has ended.
    pub fn pidfd(&self) -> OwnedFd {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("not reaped")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.stdin = None;
        let pidfd = self.pidfd();
        let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)], Some(&timeout)).expect("poll");
        assert!(ended > 0, "still runs");
        self.child.wait().expect("reaped")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
