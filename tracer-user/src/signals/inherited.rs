//! The state that this process inherited, before Rust's runtime changed it.
//!
//! The job has to start in the state that it would have without the tracer. Rust's runtime changes two things
//! before `main`: it ignores SIGPIPE, and it opens `/dev/null` on standard descriptors that were closed.
//! Neither can be detected afterwards, so both are recorded in a function that the loader calls before the
//! runtime starts.

use std::sync::atomic::{AtomicU8, Ordering};

const SIGPIPE_IGNORED: u8 = 1 << 3;
const SIGXFSZ_IGNORED: u8 = 1 << 4;
const NOTED: u8 = 1 << 7;

/// Bits 0–2: that standard descriptor was closed.
static NOTES: AtomicU8 = AtomicU8::new(0);

#[used]
// SAFETY: `.init_array` holds pointers to functions that the loader calls once, on the main thread, before
// `main`. `note` has the C calling convention, takes nothing (glibc's and musl's arguments may be ignored in
// it), cannot unwind, and uses no part of Rust's runtime.
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn() = note;

extern "C" fn note() {
    let mut notes = NOTED;
    for fd in 0..3 {
        // SAFETY: F_GETFD takes no pointer and changes nothing; a closed descriptor gives -1.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            notes |= 1 << fd;
        }
    }
    for (signal, note) in [(libc::SIGPIPE, SIGPIPE_IGNORED), (libc::SIGXFSZ, SIGXFSZ_IGNORED)] {
        // SAFETY: all-zero bytes are a valid `sigaction`: an integer, a mask and pointers that may be null.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: with a null new action this only writes the present one to `action`, which outlives the
        // call.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        if asked == 0 && action.sa_sigaction == libc::SIG_IGN {
            notes |= note;
        }
    }
    NOTES.store(notes, Ordering::Relaxed);
}

/// The inherited state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InheritedState {
    /// SIGPIPE was ignored.
    pub sigpipe_ignored: bool,
    /// SIGXFSZ was ignored.
    pub sigxfsz_ignored: bool,
    /// Which of the descriptors 0, 1 and 2 were closed.
    pub closed: [bool; 3],
}

/// Makes a write past the limit of a file's size (RLIMIT_FSIZE) an error. Its signal would end this process.
pub fn survive_file_size_limit() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The state that this process inherited.
pub fn inherited() -> InheritedState {
    let notes = NOTES.load(Ordering::Relaxed);
    debug_assert_ne!(notes & NOTED, 0, "the loader did not call `note`");
    InheritedState {
        sigpipe_ignored: notes & SIGPIPE_IGNORED != 0,
        sigxfsz_ignored: notes & SIGXFSZ_IGNORED != 0,
        closed: [0, 1, 2].map(|fd| notes & (1 << fd) != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_called_before_main() {
        assert_ne!(NOTES.load(Ordering::Relaxed) & NOTED, 0);
        let _ = inherited();
    }
}
