//! Programs a test talks to: started with their output on a pipe or a terminal, read line by line with a
//! deadline, ended when the test ends however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Longer than anything here takes on a loaded machine whose disk is being written back; a test that waits so long has
/// failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Lets a tracer keep its sessions in a place of these tests alone, and start with the signals' default actions: a
/// test runner that a script has put into the background ignores SIGINT and SIGQUIT, and so would all below it.
pub fn isolate(command: &mut Command) {
    // SAFETY: between fork and exec only system calls are made, which set default actions.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
                if libc::signal(signal, libc::SIG_DFL) == libc::SIG_ERR {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let place =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("talk-{}", std::process::id()));
    std::fs::create_dir_all(&place).expect("made");
    command.env("TRACER_TRACE_DIR", &place).env("TRACER_LOG_DIR", place.join("log"));
}

/// A program that runs for as long as this exists.
pub struct Talk {
    child: Child,
    output: File,
    input: Option<File>,
    heard: String,
    /// Processes of its own that are to be ended with it.
    others: Vec<OwnedFd>,
}

impl Talk {
    /// Starts `command` with its standard output on a pipe.
    pub fn on_pipe(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("starts");
        let output = OwnedFd::from(child.stdout.take().expect("piped")).into();
        Self { child, output, input: None, heard: String::new(), others: Vec::new() }
    }

    /// Starts `command` as the leader of a session whose terminal we hold the other end of.
    pub fn on_terminal(mut command: Command) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("text");
        // Whoever leads a session without a terminal would get this one, and be hung up with it.
        let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let slave = File::from(slave.expect("its other end"));
        command
            .stdin(slave.try_clone().expect("dup"))
            .stdout(slave.try_clone().expect("dup"))
            .stderr(slave.try_clone().expect("dup"));
        // SAFETY: between fork and exec only two system calls are made.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("starts");
        let input = File::from(master.try_clone().expect("dup"));
        Self {
            child,
            output: File::from(master),
            input: Some(input),
            heard: String::new(),
            others: Vec::new(),
        }
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Types into its terminal.
    pub fn type_in(&mut self, keys: &str) {
        self.input.as_mut().expect("has a terminal").write_all(keys.as_bytes()).expect("typed");
    }

    /// Sends it a signal. It is our child and not reaped, so the number is its.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("signalled");
    }

    /// Reads until `marker` was said after what was read before; gives the text up to and with it.
    #[track_caller]
    pub fn hear(&mut self, marker: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.find(marker) {
                let rest = self.heard.split_off(at + marker.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            assert!(self.read_some(deadline), "never heard {marker:?}, only {:?}", self.heard);
        }
    }

    /// Whether it has said `marker`, waiting at most so long.
    pub fn output_has(&mut self, marker: &str, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while !self.heard.contains(marker) && self.read_some(deadline) {}
        self.heard.contains(marker)
    }

    /// Reads a line that begins with `marker` and gives the number after it.
    #[track_caller]
    pub fn hear_number(&mut self, marker: &str) -> i32 {
        self.hear(marker);
        let line = self.hear("\n");
        line.trim().parse().expect("a number")
    }

    /// Notes a process to be ended with the test. It has to live while this is called.
    pub fn adopt(&mut self, pid: i32) -> Pid {
        let pid = Pid::from_raw(pid).expect("a process id");
        self.others.push(pidfd_open(pid, PidfdFlags::empty()).expect("the process lives"));
        pid
    }

    /// Whether the adopted process `index` has ended, waiting at most so long.
    pub fn adopted_ended(&self, index: usize, at_most: Duration) -> bool {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
        poll(&mut [PollFd::new(&self.others[index], PollFlags::IN)], Some(&timeout)).expect("poll") > 0
    }

    /// Waits for its end; gives how it ended and what else it said.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.wait();
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.read_some(deadline) {}
        (status, std::mem::take(&mut self.heard))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let fd = pidfd_open(self.pid(), PidfdFlags::empty()).expect("our child");
        let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).expect("poll") > 0;
        assert!(ended, "still runs, having said {:?}", self.heard);
        self.child.wait().expect("reaped")
    }

    /// Ends the adopted processes and finishes what a tracer that went before them has left: files and pins.
    #[track_caller]
    pub fn recover(&self) {
        for (index, other) in self.others.iter().enumerate() {
            let _ = pidfd_send_signal(other, Signal::KILL);
            assert!(self.adopted_ended(index, PATIENCE), "an adopted process outlived SIGKILL");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
        isolate(&mut command);
        let recovered = command.args(["recover", "--min-age", "0s"]).output().expect("runs");
        assert!(recovered.status.success(), "{recovered:?}");
    }

    /// False at the end of the output or the deadline.
    fn read_some(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&timeout)).expect("poll") == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        // A terminal whose other end is closed says EIO where a pipe says end of file.
        let read = self.output.read(&mut buffer).unwrap_or(0);
        self.heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        for other in &self.others {
            let _ = pidfd_send_signal(other, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
