//! Standard error, written by a thread of its own.
//!
//! Standard error may be a pipe that nobody reads, or a stopped terminal. A write to it then blocks for as
//! long as that lasts, and so would the time limit, the signals and the end of a session, if the thread that
//! keeps the session wrote. So messages go through a bounded queue, in order. A message for which the queue
//! has no room is lost, and counted. At the end the queue gets a bounded time ([`finish`]).

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::session::spawn_without_signals;

/// Bytes that wait to be written, at most.
const CAPACITY: usize = 1 << 20;
/// A pipe takes this much as a whole (PIPE_BUF), so that lines of the job do not end up inside of ours.
const CHUNK: usize = 4096;
/// How long the end waits for a reader that takes nothing.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// How long the end waits at most.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::start);

/// Messages on their way to standard error.
struct Queue {
    state: Mutex<State>,
    /// Something was queued, or written.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    /// Bytes of all of them.
    queued: usize,
    /// The thread is writing a message that is no longer in the queue.
    writing: bool,
    /// Parts that were written: what shows that there is a reader.
    progress: u64,
    /// Messages that were lost.
    lost: u64,
    /// Lost messages that a line on standard error reports already.
    reported_lost: u64,
    /// There is no thread, so that the queue is not used.
    threadless: bool,
}

/// Writes bytes, in order. Never waits.
pub fn write(bytes: impl Into<Vec<u8>>) {
    QUEUE.push(bytes.into(), CAPACITY);
}

/// Writes bytes that are of no use later, unless others still wait to be written. False when they do.
pub fn write_now(bytes: impl Into<Vec<u8>>) -> bool {
    QUEUE.push(bytes.into(), 0)
}

/// Messages that did not reach standard error: those that were lost, and those that wait for a reader now.
pub fn undelivered() -> u64 {
    let state = QUEUE.state();
    state.lost + state.messages.len() as u64 + u64::from(state.writing)
}

/// Waits until everything is written, for as long as standard error is read.
pub fn finish() {
    let Some(queue) = LazyLock::get(&QUEUE) else { return };
    queue.drain(STALLED_AFTER, FINISH_WITHIN);
}

/// As [`finish`], and not longer than this.
pub fn settle(at_most: Duration) {
    let Some(queue) = LazyLock::get(&QUEUE) else { return };
    queue.drain(at_most, at_most);
}

impl Queue {
    fn start() -> Self {
        // The thread uses the queue as everybody does, which is there once this has returned.
        let thread = spawn_without_signals("stderr", || QUEUE.write_all());
        let state = State { threadless: thread.is_err(), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message if no more than `room` bytes wait with it; one alone always fits.
    fn push(&self, message: Vec<u8>, room: usize) -> bool {
        let mut state = self.state();
        if state.threadless {
            let written = write_ready(&message);
            state.lost += u64::from(!written && room > 0);
            return written;
        }
        let idle = state.messages.is_empty() && !state.writing;
        if !idle && state.queued + message.len() > room {
            state.lost += u64::from(room > 0);
            return false;
        }
        state.queued += message.len();
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The work of the thread.
    fn write_all(&self) {
        loop {
            let mut state = self.state();
            let message = loop {
                if let Some(message) = state.messages.pop_front() {
                    break message;
                }
                if state.lost > state.reported_lost {
                    let lost = state.lost - state.reported_lost;
                    state.reported_lost = state.lost;
                    break format!("tracer-user: {lost} messages were lost: standard error was not read\n")
                        .into();
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.queued = state.queued.saturating_sub(message.len());
            state.writing = true;
            drop(state);
            for part in message.chunks(CHUNK) {
                if !write_part(part) {
                    break;
                }
                self.state().progress += 1;
                self.changed.notify_all();
            }
            self.state().writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits until the queue is empty, `stalled_after` has passed without progress, or `within` has passed.
    fn drain(&self, stalled_after: Duration, within: Duration) {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        let mut stalled_at = Instant::now() + stalled_after;
        while !state.threadless && (state.writing || !state.messages.is_empty()) {
            let left = deadline.min(stalled_at).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let progress = state.progress;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.progress != progress {
                stalled_at = Instant::now() + stalled_after;
            }
        }
    }
}

/// Writes all of a part, for however long it takes. False when standard error is closed or broken.
fn write_part(mut part: &[u8]) -> bool {
    let stderr = std::io::stderr();
    while !part.is_empty() {
        match rustix::io::write(&stderr, part) {
            Ok(written) => part = &part[written..],
            Err(Errno::INTR) => {}
            // The job may have made the open file non-blocking.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(_) => return false,
        }
    }
    true
}

/// Without a thread: writes as much as can be written without waiting. False when that is not all.
fn write_ready(message: &[u8]) -> bool {
    let stderr = std::io::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    message.chunks(CHUNK).all(|part| {
        let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
        // A pipe that is ready takes PIPE_BUF bytes.
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && write_part(part)
    })
}
