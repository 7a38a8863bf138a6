//! Children of a test: started under one lock, spoken to line by line with a deadline, ended when the test
//! ends, however it ends.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tracer_user::core::identity::ProcessId;

use super::{PATIENCE, proc};

/// Held for writing while a child is started.
///
/// Until it executes, a child has copies of all descriptors of this process, file locks among them. Another
/// test of this process would then find a session locked that has no owner. Who depends on that holds the
/// lock for reading.
static STARTING: RwLock<()> = RwLock::new(());

/// While this is held no child is between its fork and its exec.
pub fn no_child_starts() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command to its end, with no input and both outputs in pipes.
///
/// # Panics
/// When it or a process that has its outputs still runs after [`PATIENCE`].
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = TestChild::start(command);
    let stderr = child.child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    let mut streams = [child.output.take(), stderr].map(|pipe| (pipe.expect("piped"), Vec::new(), true));
    let deadline = Instant::now() + PATIENCE;
    while streams.iter().any(|(_, _, open)| *open) {
        let open: Vec<usize> = (0..2).filter(|index| streams[*index].2).collect();
        let mut fds: Vec<_> =
            open.iter().map(|index| PollFd::new(&streams[*index].0, PollFlags::IN)).collect();
        let ready = poll(&mut fds, Some(&left(deadline))).expect("poll");
        assert!(ready > 0, "still runs: {command:?} {}", String::from_utf8_lossy(&streams[1].1));
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (index, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            let (pipe, text, open) = &mut streams[index];
            *open = read_some(pipe, text);
        }
    }
    let [(_, stdout, _), (_, stderr, _)] = streams;
    Output { status: child.wait(), stdout, stderr }
}

/// Time left until a deadline, for poll(2).
fn left(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
}

/// Reads what is there. False at the end of the file.
fn read_some(file: &mut File, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    // A terminal whose other end is closed fails with EIO where a pipe has an end of file.
    let read = file.read(&mut buffer).unwrap_or(0);
    into.extend_from_slice(&buffer[..read]);
    read > 0
}

/// A process that a test started. Dropping it kills it, and the processes that [`Self::track`] was given.
pub struct TestChild {
    child: Child,
    /// Stands for the process also after it is reaped.
    pidfd: OwnedFd,
    /// Its standard input, where that is a pipe.
    input: Option<File>,
    /// Its standard output or error, where that is a pipe, or the test's end of its terminal.
    output: Option<File>,
    /// Output that was read and not yet handed out.
    unread: Vec<u8>,
    tracked: Vec<OwnedFd>,
    /// Whether it leads a process group that ends with it.
    leads_group: bool,
    reaped: bool,
}

impl TestChild {
    /// Starts a command with the input and outputs it has. Of piped outputs the standard output is read, or
    /// the standard error where only that is a pipe.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
    }

    fn try_start(command: &mut Command) -> io::Result<Self> {
        let mut child = {
            let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
            command.spawn()?
        };
        // Not reaped, so the number is the child's.
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let output = match child.stdout.take() {
            Some(pipe) => Some(OwnedFd::from(pipe)),
            None => child.stderr.take().map(OwnedFd::from),
        };
        let output = output.map(File::from);
        let (unread, tracked) = (Vec::new(), Vec::new());
        Ok(Self { child, pidfd, input, output, unread, tracked, leads_group: false, reaped: false })
    }

    /// Starts a command with no input and its standard output in a pipe.
    #[track_caller]
    pub fn with_output(mut command: Command) -> Self {
        Self::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// Starts a command with its standard input and output in pipes.
    #[track_caller]
    pub fn with_pipes(mut command: Command) -> Self {
        Self::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Starts a command as the leader of a process group, all of which ends with it.
    #[track_caller]
    pub fn leading_group(mut command: Command) -> Self {
        let mut child = Self::start(command.process_group(0));
        child.leads_group = true;
        child
    }

    /// Starts a command as the leader of a session on a terminal of its own, whose other end the test holds.
    #[track_caller]
    pub fn on_terminal(mut command: Command) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("text");
        // A session leader without a terminal would get this one by opening it, and a hangup when it closes.
        let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let slave = File::from(slave.expect("its other end"));
        let copy = || slave.try_clone().expect("dup");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: between fork and exec only two system calls are made.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(io::stdin())?;
                Ok(())
            });
        }
        let mut child = Self::start(&mut command);
        child.output = Some(File::from(master));
        child
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its identity. It must not have been waited for.
    #[track_caller]
    pub fn process(&self) -> ProcessId {
        proc::identify(self.child.id())
    }

    /// Lets a held helper begin.
    #[track_caller]
    pub fn go(&mut self) {
        self.send_line("go");
    }

    /// Writes a line to its standard input.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is a pipe");
        input.write_all(format!("{line}\n").as_bytes()).expect("it reads its input");
    }

    /// Types into its terminal.
    #[track_caller]
    pub fn type_in(&mut self, keys: &str) {
        self.output.as_mut().expect("it has a terminal").write_all(keys.as_bytes()).expect("typed");
    }

    /// The next line of its output. `None` at the end of the output or after this time.
    pub fn line_within(&mut self, at_most: Duration) -> Option<String> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(line) = self.take_through(b"\n") {
                return Some(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned());
            }
            if !self.read_more(deadline) {
                return None;
            }
        }
    }

    /// The next line of its output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.line_within(PATIENCE).expect("a line")
    }

    /// All lines until the end of its output.
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line_within(PATIENCE)).collect()
    }

    /// Reads until `marker` stands in the output after what was read before; gives the text up to and with
    /// it.
    #[track_caller]
    pub fn expect(&mut self, marker: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(text) = self.take_through(marker.as_bytes()) {
                return String::from_utf8_lossy(&text).into_owned();
            }
            assert!(self.read_more(deadline), "no {marker:?} in the output, only {:?}", self.unread_text());
        }
    }

    /// Reads until `marker`, and gives the number that the rest of its line is.
    #[track_caller]
    pub fn expect_number(&mut self, marker: &str) -> i32 {
        self.expect(marker);
        let line = self.expect("\n");
        line.trim().parse().expect("a number")
    }

    /// Whether `marker` stands in the output, waiting for it at most this long. Reads nothing away.
    pub fn prints_within(&mut self, marker: &str, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while !self.unread_text().contains(marker) {
            if !self.read_more(deadline) {
                return false;
            }
        }
        true
    }

    fn unread_text(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// Takes the unread output up to and with a marker that is in it.
    fn take_through(&mut self, marker: &[u8]) -> Option<Vec<u8>> {
        let at = self.unread.windows(marker.len()).position(|window| window == marker)?;
        let rest = self.unread.split_off(at + marker.len());
        Some(std::mem::replace(&mut self.unread, rest))
    }

    /// False at the end of the output or the deadline.
    fn read_more(&mut self, deadline: Instant) -> bool {
        let output = self.output.as_mut().expect("its output is a pipe or a terminal");
        let ready = poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&left(deadline))).expect("poll");
        ready > 0 && read_some(output, &mut self.unread)
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("it is not reaped");
    }

    /// Kills it. It is a zombie when this returns.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        assert!(has_ended(&self.pidfd, PATIENCE), "it outlived SIGKILL");
    }

    /// Whether it ends within this time. It is not reaped.
    pub fn ends_within(&self, at_most: Duration) -> bool {
        has_ended(&self.pidfd, at_most)
    }

    /// Closes its input and waits for its end, reading its output meanwhile.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
            .unwrap_or_else(|| panic!("still runs; its output: {:?}", self.unread_text()))
    }

    /// As [`Self::wait`]. `None`: it still runs after this time.
    pub fn wait_within(&mut self, at_most: Duration) -> Option<ExitStatus> {
        self.input = None;
        let deadline = Instant::now() + at_most;
        let mut reads = self.output.is_some();
        loop {
            let output = self.output.as_ref().filter(|_| reads).map(|file| PollFd::new(file, PollFlags::IN));
            let mut fds = [Some(PollFd::new(&self.pidfd, PollFlags::IN)), output];
            let mut fds: Vec<PollFd<'_>> = fds.iter_mut().filter_map(Option::take).collect();
            if poll(&mut fds, Some(&left(deadline))).expect("poll") == 0 {
                return None;
            }
            let ended = !fds[0].revents().is_empty();
            if fds.get(1).is_some_and(|output| !output.revents().is_empty()) {
                reads = self.read_more(deadline);
            }
            if ended {
                self.reaped = true;
                return Some(self.child.wait().expect("our child"));
            }
        }
    }

    /// Waits for its end; gives how it ended and the rest of its output.
    #[track_caller]
    pub fn finish(mut self) -> (ExitStatus, String) {
        let status = self.wait();
        // What it wrote is there. The end of the output is not, if another process has the descriptor too.
        while self.output.is_some() && self.read_more(Instant::now()) {}
        (status, self.unread_text())
    }

    /// Ends another process with this one. The process has to live while this is called. The first one has
    /// index 0.
    #[track_caller]
    pub fn track(&mut self, pid: i32) -> Pid {
        let pid = Pid::from_raw(pid).expect("a process id");
        self.tracked.push(pidfd_open(pid, PidfdFlags::empty()).expect("the process lives"));
        pid
    }

    /// Whether the tracked process of this index ends within this time.
    pub fn tracked_ends_within(&self, index: usize, at_most: Duration) -> bool {
        has_ended(&self.tracked[index], at_most)
    }

    /// Kills the tracked processes. They are gone, or zombies of their parents, when this returns.
    #[track_caller]
    pub fn kill_tracked(&self) {
        for process in &self.tracked {
            // Fails when it has ended already.
            let _ = pidfd_send_signal(process, Signal::KILL);
            assert!(has_ended(process, PATIENCE), "a tracked process outlived SIGKILL");
        }
    }
}

impl Drop for TestChild {
    fn drop(&mut self) {
        for process in &self.tracked {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        if self.leads_group && !self.reaped {
            // The number of a process that is not reaped is its group's, too.
            let _ = kill_process_group(self.pid(), Signal::KILL);
        }
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        if has_ended(&self.pidfd, PATIENCE) {
            let _ = self.child.wait();
        }
    }
}

/// Whether the process of a pidfd ends within this time.
fn has_ended(process: &OwnedFd, at_most: Duration) -> bool {
    let deadline = Instant::now() + at_most;
    poll(&mut [PollFd::new(&process.as_fd(), PollFlags::IN)], Some(&left(deadline)))
        .is_ok_and(|ready| ready > 0)
}
