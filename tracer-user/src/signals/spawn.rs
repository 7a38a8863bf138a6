//! Starts a job that is held before its exec: fork, wait on a pipe, exec.
//!
//! Theory of operation. The parent may have threads, so between fork and exec the child may only make system
//! calls: everything it needs (paths to try, argv, environment, masks) is prepared before the fork. It then
//! blocks in a read of a pipe. Meanwhile the parent records its identity, in the kernel's map and on disk. A
//! byte releases it. If the parent dies first, the child reads the end of the file and exits without having
//! run anything. Exec closes a second pipe, or its error is written there: the parent learns which.
//!
//! The child starts its program in the state that it would have without the tracer: the inherited signal mask
//! and dispositions, the inherited descriptors, and the tracer's process group, session, terminal, limits,
//! umask and directory. All descriptors of the tracer itself are close-on-exec.
//!
//! Why not [`std::process::Command`]: its `spawn` returns only once the child has executed its program, or
//! failed to. A child that waits in `pre_exec` for its parent would therefore deadlock with a parent that
//! waits in `spawn`. And it resets the signal mask and SIGPIPE to what a Rust program wants, where the job
//! must have what was inherited.

use std::cell::RefCell;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

use rustix::process::Signal;

use super::inherited::{InheritedState, inherited};
use super::pidfd::{PidFd, PidFdError};
use super::receive::OriginalSignals;

/// The search path of execvp(3) when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// Runs a file that execve(2) cannot run (ENOEXEC), as execvp(3) does.
const SHELL: &std::ffi::CStr = c"/bin/sh";

unsafe extern "C" {
    /// The environment of the C library. Unlike std's it includes entries without `=`.
    static environ: *const *const libc::c_char;
}

/// A command that can be started.
#[derive(Debug)]
pub struct JobCommand {
    /// Files to try, in order.
    files: Vec<CString>,
    argv: Vec<CString>,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no command, or a word of it contains a NUL byte.
    #[error("{0}")]
    Command(&'static str),
    /// The system refused.
    #[error("{what}: {error}")]
    System {
        /// The operation.
        what: &'static str,
        /// The cause.
        error: io::Error,
    },
}

impl JobCommand {
    /// The program and its arguments. The program is searched in `path` as execvp(3) does.
    pub fn new(argv: &[OsString], path: Option<&OsStr>) -> Result<Self, SpawnError> {
        let Some(program) = argv.first() else { return Err(SpawnError::Command("no command given")) };
        let words: Result<Vec<_>, _> = argv.iter().map(|word| CString::new(word.as_bytes())).collect();
        let words = words.map_err(|_| SpawnError::Command("a word of the command contains a NUL byte"))?;
        let files = candidates(program, path.unwrap_or(OsStr::new(DEFAULT_PATH)));
        Ok(Self { files, argv: words })
    }

    /// Executes the command in this process, in the state that it inherited. Returns only if that fails.
    /// `original`: the signal state to restore; `None`: it was not changed.
    pub fn execute_here(&self, original: Option<&OriginalSignals>) -> io::Error {
        let argv = pointers(&self.argv, None);
        let shell_argvs = self.shell_argvs();
        // SAFETY: the pointers are to strings and arrays of this function. Other threads end with the exec,
        // and what they hold is of no use to the new program. `environ` is changed only by setenv and similar
        // functions, which this program never calls.
        let errno = unsafe {
            let program =
                Program { files: &self.files, argv: &argv, shell_argvs: &shell_argvs, environment: environ };
            restore(original, inherited());
            execute(&program)
        };
        io::Error::from_raw_os_error(errno)
    }

    fn shell_argvs(&self) -> Vec<Vec<*const libc::c_char>> {
        let argv = |file: &CString| pointers(&self.argv, Some([SHELL.as_ptr(), file.as_ptr()]));
        self.files.iter().map(argv).collect()
    }
}

/// The files that execvp(3) would try for `program`. NUL bytes were refused before, and a `PATH` cannot
/// contain one.
fn candidates(program: &OsStr, path: &OsStr) -> Vec<CString> {
    let program = program.as_bytes();
    if program.is_empty() || program.contains(&b'/') {
        return CString::new(program).into_iter().collect();
    }
    path.as_bytes()
        .split(|byte| *byte == b':')
        .filter_map(|directory| {
            let mut file = directory.to_vec();
            if !file.is_empty() {
                file.push(b'/');
            }
            file.extend_from_slice(program);
            CString::new(OsString::from_vec(file).into_vec()).ok()
        })
        .collect()
}

/// A child of this process. Until it is released, it has not executed anything. Dropped before, it is killed
/// and reaped.
#[derive(Debug)]
pub struct HeldChild {
    process: PidFd,
    /// The write end of the pipe that it waits on; `None` once it is released.
    go: RefCell<Option<OwnedFd>>,
    outcome: OwnedFd,
}

impl HeldChild {
    /// Forks a child that waits. `original` is the signal state with which the job starts.
    pub fn fork(command: &JobCommand, original: &OriginalSignals) -> Result<Self, SpawnError> {
        let system = |what| move |error: io::Error| SpawnError::System { what, error };
        let (go_read, go_write) = pipe().map_err(system("cannot make a pipe"))?;
        let (outcome_read, outcome_write) = pipe().map_err(system("cannot make a pipe"))?;
        rustix::io::ioctl_fionbio(&outcome_read, true)
            .map_err(|error| SpawnError::System { what: "cannot set up a pipe", error: error.into() })?;
        let argv = pointers(&command.argv, None);
        let shell_argvs = command.shell_argvs();
        let plan = ChildPlan {
            program: Program {
                files: &command.files,
                argv: &argv,
                shell_argvs: &shell_argvs,
                // SAFETY: `environ` is changed only by setenv and similar functions, which this program never
                // calls.
                environment: unsafe { environ },
            },
            original,
            inherited: inherited(),
            go: go_read.as_raw_fd(),
            outcome: outcome_write.as_raw_fd(),
            // The child must not hold this end: it would never read the end of the file.
            go_write: go_write.as_raw_fd(),
        };
        // SAFETY: the child calls only `in_child`, which makes only async-signal-safe calls and never
        // returns. All that it uses was made before.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(system("cannot fork")(io::Error::last_os_error())),
            // SAFETY: this is the child of a fork, and the plan's pointers are those of this address space.
            0 => unsafe { in_child(&plan) },
            pid => pid,
        };
        // The child cannot have been reaped: nothing else waits for children of this process. So the number
        // is its.
        match PidFd::of_number(pid.cast_unsigned()) {
            Ok(process) => Ok(Self { process, go: RefCell::new(Some(go_write)), outcome: outcome_read }),
            Err(error) => {
                // Without `go_write` the child reads the end of the file and exits. It is reaped here.
                drop(go_write);
                // SAFETY: waits for a child of this process, and requests no status.
                unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
                let error = match error {
                    PidFdError::System(error) => error,
                    other => io::Error::other(other),
                };
                Err(system("cannot open a pidfd")(error))
            }
        }
    }

    /// The process.
    pub fn process(&self) -> &PidFd {
        &self.process
    }

    /// The result of the exec: end of file once it has succeeded, else `errno`, four bytes in native order.
    /// Non-blocking.
    pub fn outcome(&self) -> &OwnedFd {
        &self.outcome
    }

    /// The error of its exec; `None` when that succeeded, or has not been tried yet.
    pub fn exec_error(&self) -> Option<io::Error> {
        let mut bytes = [0; 4];
        match rustix::io::read(&self.outcome, &mut bytes) {
            Ok(4) => Some(io::Error::from_raw_os_error(i32::from_ne_bytes(bytes))),
            _ => None,
        }
    }

    /// It was allowed to execute.
    pub fn is_released(&self) -> bool {
        self.go.borrow().is_none()
    }

    /// Lets it execute.
    pub fn release(&self) -> io::Result<()> {
        let mut go = self.go.borrow_mut();
        if let Some(pipe) = go.as_ref() {
            // If this fails, the pipe stays open, and the job waits for another attempt.
            rustix::io::write(pipe, &[1])?;
        }
        *go = None;
        Ok(())
    }
}

impl Drop for HeldChild {
    fn drop(&mut self) {
        if self.go.take().is_some() {
            // It blocks in read(2) and has done nothing, so it ends at once and nothing is lost.
            let _ = self.process.send(Signal::KILL);
            let _ = self.process.wait_ended(std::time::Duration::from_secs(1));
            let _ = self.process.reap_child();
        }
    }
}

/// Closes or replaces the descriptors that this process inherited and only the job should hold: standard
/// input and output, and every other one of `open` that is not close-on-exec, which the tracer's own all are.
///
/// A pipe whose reader waits for the end of the file, or whose writer waits for the last reader to go, must
/// not wait for the tracer.
pub fn release_inherited_descriptors(open: &[RawFd]) -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for fd in [0, 1] {
        // SAFETY: both numbers are open, and only the handles of std own 0 and 1, which allow this.
        if unsafe { libc::dup2(null.as_raw_fd(), fd) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    for fd in open.iter().copied().filter(|fd| *fd > 2) {
        // SAFETY: F_GETFD takes no pointer and changes nothing; a number closed since gives -1.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags != -1 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: without close-on-exec it came through our own exec, so no object of this program owns
            // it.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// A null-terminated array of `words`, the first replaced by `instead` where given.
fn pointers(words: &[CString], instead: Option<[*const libc::c_char; 2]>) -> Vec<*const libc::c_char> {
    let skipped = usize::from(instead.is_some());
    let rest = words.iter().skip(skipped).map(|word| word.as_ptr());
    instead.into_iter().flatten().chain(rest).chain([ptr::null()]).collect()
}

/// Everything that the child needs, made before the fork.
struct ChildPlan<'a> {
    program: Program<'a>,
    original: &'a OriginalSignals,
    inherited: InheritedState,
    go: RawFd,
    go_write: RawFd,
    outcome: RawFd,
}

/// What is executed.
struct Program<'a> {
    files: &'a [CString],
    argv: &'a [*const libc::c_char],
    shell_argvs: &'a [Vec<*const libc::c_char>],
    environment: *const *const libc::c_char,
}

/// # Safety
/// Only in the child of a fork. Makes only async-signal-safe calls: no allocation, no lock, no panic.
unsafe fn in_child(plan: &ChildPlan<'_>) -> ! {
    // SAFETY: each call takes integers, or pointers into the plan, which the fork copied with the rest of the
    // address space: arrays end in a null pointer, strings in a NUL byte. All of them are async-signal-safe.
    unsafe {
        libc::close(plan.go_write);
        let mut byte = 0u8;
        loop {
            match libc::read(plan.go, ptr::from_mut(&mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                // The tracer died, or gave up, before the session was enrolled.
                _ => libc::_exit(125),
            }
        }
        restore(Some(plan.original), plan.inherited);
        let error = execute(&plan.program);
        let bytes = error.to_ne_bytes();
        libc::write(plan.outcome, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(if error == libc::ENOENT { 127 } else { 126 })
    }
}

/// Restores the inherited state.
///
/// # Safety
/// Right before an exec: it closes standard descriptors. Async-signal-safe.
unsafe fn restore(original: Option<&OriginalSignals>, inherited: InheritedState) {
    // SAFETY: each call takes integers, or a pointer to the caller's signal mask.
    unsafe {
        for (fd, closed) in (0..).zip(inherited.closed) {
            if closed {
                libc::close(fd);
            }
        }
        if !inherited.sigpipe_ignored {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        if !inherited.sigxfsz_ignored {
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        }
        let Some(original) = original else { return };
        if original.sigchld_ignored {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &original.mask, ptr::null_mut());
    }
}

/// Executes a program as execvp(3) does. Returns the error of that.
///
/// # Safety
/// The pointers are to arrays that end in a null pointer, of strings that end in a NUL byte.
/// Async-signal-safe.
unsafe fn execute(program: &Program<'_>) -> libc::c_int {
    // SAFETY: the caller's.
    unsafe {
        // As execvp(3) does: continue after a missing file, and remember one that may not be executed.
        let mut denied = false;
        let mut error = libc::ENOENT;
        for (file, shell_argv) in program.files.iter().zip(program.shell_argvs) {
            libc::execve(file.as_ptr(), program.argv.as_ptr(), program.environment);
            error = *libc::__errno_location();
            if error == libc::ENOEXEC {
                libc::execve(SHELL.as_ptr(), shell_argv.as_ptr(), program.environment);
                error = *libc::__errno_location();
                break;
            }
            match error {
                libc::EACCES => denied = true,
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                _ => break,
            }
        }
        if denied && matches!(error, libc::ENOENT | libc::ENOTDIR) {
            error = libc::EACCES;
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(program: &str, path: &str) -> Vec<String> {
        let files = candidates(OsStr::new(program), OsStr::new(path));
        files.iter().map(|file| file.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn a_program_is_searched_as_execvp_does() {
        assert_eq!(tried("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(tried("./ls", "/a:/b"), ["./ls"]);
        // An empty entry is the current directory.
        assert_eq!(tried("ls", "/a::/b"), ["/a/ls", "ls", "/b/ls"]);
        assert_eq!(tried("", "/a"), [""]);
    }

    #[test]
    fn a_command_needs_words_without_nul() {
        assert!(JobCommand::new(&[], None).is_err());
        assert!(JobCommand::new(&["a\0b".into()], None).is_err());
    }
}
