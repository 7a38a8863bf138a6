//! The wait-for graph: an AND/OR graph over the threads of one moment, and what follows from it.
//!
//! # Theory of operation
//!
//! A thread that sleeps in a system call leaves it by one of several [`Alternative`]s (OR): a poller by any
//! fd of its set, by its time-out, by a signal it handles. An alternative asks for one or several
//! [`Condition`]s (AND): an exclusive lock asks for *every* holder of a shared one. A condition is met by any
//! one of its [`Releaser`]s (OR): any writer of a pipe, any thread of a process that holds an fd, a party
//! outside.
//!
//! [`Liveness`] orders how good the reasons are to expect that a thread continues, from [`Liveness::Stuck`]
//! (none) to [`Liveness::Active`] (it makes progress now). Each thread starts as stuck. The liveness that a
//! thread has without any other thread of this machine (it runs, its time-out will end its wait, the other
//! side is remote) is its seed. Liveness then propagates along the alternatives, upwards only, until nothing
//! changes. This is the least fixpoint: liveness that the threads of a set could only lend each other never
//! arises. So the threads that are [`Liveness::Stuck`] in the end are *proven* stuck: every alternative of
//! each of them leads back into their set, or to no releaser at all.
//!
//! Movement alone is not liveness. What a thread did in the quiet window is progress, a tick or rest (see
//! [`activity`]). A thread that only ticks is judged by what it waits for, as if it rested, and is recorded
//! as a doubt ([`WaitNode::tick`]). A time-out is a date at which a wait ends by itself
//! ([`WaitNode::ends_in_ns`]).
//!
//! Threads of one process share its fds: any of them can use or close them. Whether one would is never
//! guessed. A thread that makes progress counts as able to release everything that its process holds. One
//! that rests or ticks counts as able to do only what its own wait leads to.

mod activity;
mod cycle;
mod index;
mod model;
mod solve;
mod waits;

pub use activity::{Activity, Tick, activity, is_own_wake_up, is_timed};
pub use cycle::{Component, components};
pub use index::{Holder, Index, ThreadKey};
pub use model::{
    Alternative, Claim, Condition, Liveness, NO_DEADLINE_NS, Op, Outside, Releaser, SOON_NS, Seed,
    SeedReason, WaitNode, propagate,
};
pub use solve::WaitGraph;
pub use waits::{BackendState, Service, backend_state, servers};
