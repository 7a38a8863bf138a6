//! Signals to this process, read with their sender.
//!
//! A handler could not distinguish a terminal's Ctrl-C, which the job gets as well, from a signal to the
//! tracer alone. signalfd can. The signals are blocked before any thread is started, so that every thread has
//! them blocked, and the inherited signal mask is kept for the job.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::watched::watched;

/// Signals that ask the tracer to end. They are passed on to the job.
pub const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// Signals whose meaning is the job's. Their default action would end the tracer.
const FOR_THE_JOB: [i32; 2] = [libc::SIGUSR1, libc::SIGUSR2];
/// Signals of job control. The tracer stops after the job has stopped, not before.
const JOB_CONTROL: [i32; 4] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// The signal state of this process before [`BlockedSignals::take`], with which the job starts.
#[derive(Clone, Copy)]
pub struct OriginalSignals {
    pub(super) mask: libc::sigset_t,
    pub(super) sigchld_ignored: bool,
}

impl std::fmt::Debug for OriginalSignals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginalSignals")
            .field("sigchld_ignored", &self.sigchld_ignored)
            .finish_non_exhaustive()
    }
}

/// The signals of this process, blocked and waiting to be read.
#[derive(Debug)]
pub struct BlockedSignals {
    fd: OwnedFd,
    original: OriginalSignals,
}

/// A signal that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedSignal {
    /// The signal's number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// Pid of the sender in this pid namespace; 0 when the kernel, or a process outside of the namespace,
    /// sent it.
    pub sender: u32,
}

impl ReceivedSignal {
    /// The terminal driver sent it, to the whole foreground process group.
    pub fn from_terminal(&self) -> bool {
        self.code == libc::SI_KERNEL
    }

    /// It asks the tracer to end.
    pub fn asks_to_end(&self) -> bool {
        ENDING.contains(&self.signal)
    }

    /// It is to be passed on to the job, unless the job received it already.
    pub fn is_for_the_job(&self) -> bool {
        self.asks_to_end() || FOR_THE_JOB.contains(&self.signal)
    }
}

impl BlockedSignals {
    /// Blocks the signals. Call it on the main thread, before any other thread is started.
    ///
    /// A signal that was ignored when this process was started (`nohup`, a shell's background job) stays
    /// ignored, for the job too, and is not passed on. Only an ignored SIGCHLD is changed, because the kernel
    /// would then reap the job without a wait status. The job starts with it ignored again.
    pub fn take() -> io::Result<Self> {
        let mut wanted = empty_set();
        for signal in ENDING.into_iter().chain(FOR_THE_JOB).chain(JOB_CONTROL) {
            if signal == libc::SIGCONT || !is_ignored(signal)? {
                add(&mut wanted, signal);
            }
        }
        let sigchld_ignored = is_ignored(libc::SIGCHLD)?;
        if sigchld_ignored {
            // SAFETY: setting the default action installs no handler.
            if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        add(&mut wanted, libc::SIGCHLD);
        // SAFETY: the mask points to an initialized set; -1 requests a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &wanted, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd == -1 {
            let error = io::Error::last_os_error();
            if sigchld_ignored {
                // SAFETY: ignoring a signal installs no handler.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            return Err(error);
        }
        // SAFETY: the kernel has just returned this descriptor, so nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mask = change_mask(libc::SIG_BLOCK, &wanted)?;
        Ok(Self { fd, original: OriginalSignals { mask, sigchld_ignored } })
    }

    /// The signal state with which the job starts.
    pub fn original(&self) -> OriginalSignals {
        self.original
    }

    /// Starts to listen. Needs a tokio runtime with I/O.
    pub fn listen(self) -> io::Result<SignalStream> {
        Ok(SignalStream { fd: watched(self.fd)? })
    }
}

/// The received signals.
#[derive(Debug)]
pub struct SignalStream {
    fd: AsyncFd<OwnedFd>,
}

impl SignalStream {
    /// The next signal. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> io::Result<ReceivedSignal> {
        loop {
            let mut ready = self.fd.readable().await?;
            if let Ok(received) = ready.try_io(|fd| read_one(fd.as_raw_fd())) {
                return received;
            }
        }
    }
}

fn read_one(fd: i32) -> io::Result<ReceivedSignal> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` is writable for `size` bytes.
    let read = unsafe { libc::read(fd, info.as_mut_ptr().cast(), size) };
    if read == -1 {
        return Err(io::Error::last_os_error());
    }
    if usize::try_from(read) != Ok(size) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    // SAFETY: signalfd writes whole structures, and this one was written in full; any bits are valid in it.
    let info = unsafe { info.assume_init() };
    Ok(ReceivedSignal { signal: info.ssi_signo.cast_signed(), code: info.ssi_code, sender: info.ssi_pid })
}

/// Waits for one of the signals that [`BlockedSignals::take`] blocked, without a descriptor. `None`: none
/// came in this time.
pub(super) fn wait_for_signal(at_most: std::time::Duration) -> Option<ReceivedSignal> {
    let mut wanted = empty_set();
    for signal in ENDING.into_iter().chain(FOR_THE_JOB).chain(JOB_CONTROL).chain([libc::SIGCHLD]) {
        add(&mut wanted, signal);
    }
    let limit = libc::timespec {
        tv_sec: at_most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all three pointers are to initialized values that outlive the call.
    let signal = unsafe { libc::sigtimedwait(&wanted, info.as_mut_ptr(), &limit) };
    if signal == -1 {
        return None;
    }
    // SAFETY: the call succeeded, so that the kernel filled the structure, which was zeroed before.
    let info = unsafe { info.assume_init() };
    let sent = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
    // SAFETY: for a signal that a process sent, the field is filled.
    let sender = if sent { unsafe { info.si_pid() }.cast_unsigned() } else { 0 };
    Some(ReceivedSignal { signal, code: info.si_code, sender })
}

/// Stops this process by `signal`, as the job was stopped, and returns when it is continued.
///
/// A terminal's stop signal does nothing in an orphaned process group. Then this returns at once.
pub fn stop_self(signal: i32) -> io::Result<()> {
    let mut set = empty_set();
    add(&mut set, signal);
    // SAFETY: sends a signal to this process, and takes no pointer.
    if unsafe { libc::kill(libc::getpid(), signal) } == -1 {
        return Err(io::Error::last_os_error());
    }
    if signal == libc::SIGSTOP {
        return Ok(());
    }
    // Once unblocked, the pending signal takes effect before the call returns: when it returns, this process
    // was continued.
    let before = change_mask(libc::SIG_UNBLOCK, &set)?;
    change_mask(libc::SIG_SETMASK, &before).map(drop)
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the given set and cannot fail.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn add(set: &mut libc::sigset_t, signal: i32) {
    // SAFETY: the set is initialized; a number out of range is refused by the C library.
    unsafe { libc::sigaddset(set, signal) };
}

/// The set of all signals.
pub(super) fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initializes the given set and cannot fail.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Changes the signal mask of the calling thread, and returns the one before.
pub(super) fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = empty_set();
    // SAFETY: both sets are initialized and outlive the call.
    match unsafe { libc::pthread_sigmask(how, set, &mut before) } {
        0 => Ok(before),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid `sigaction`: an integer, a mask and pointers that may be null.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with a null new action this only writes the present one to `action`, which outlives the call.
    if unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(action.sa_sigaction == libc::SIG_IGN)
}
