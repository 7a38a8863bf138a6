//! A live session: everything that records it, from its first line to its last.
//!
//! [`sources`] learn what happens (kernel events, polling, samples). [`recorder`] owns the session's state:
//! it folds the inputs, writes the trace and informs the [`observer`]s. [`driver`] decides what is due when.
//! [`start`] begins a session on disk and in the kernel, and [`finish`] files it.

pub mod driver;
pub mod finish;
pub mod membership_poll;
pub mod observer;
pub mod recorder;
pub mod relieve;
pub mod sources;
pub mod start;
pub mod terminate;

pub use driver::{DriverEvent, SessionDriver};
pub use observer::{DiagnosisTrigger, Observer, Observers, SessionEvent, SessionStatus};
pub use recorder::{CreateError, FinishError, Pushed, ReplayedSession, SessionRecorder};
pub use sources::SessionSources;
