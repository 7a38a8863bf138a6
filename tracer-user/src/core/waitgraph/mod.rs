//! Who waits for whom: an AND/OR graph over the threads of one moment, and what follows from it.
//!
//! # Theory of operation
//!
//! A thread that sleeps in a system call leaves it in one of several [`Alternative`]s (OR): a poller by any fd of its set, by its time-out, by a
//! signal it handles. A way asks for one or several [`Condition`]s (AND): an exclusive lock asks for *every* holder of a shared one. A
//! requirement is met by any one of its [`Releaser`]s (OR): any writer of a pipe, any thread of a process that holds an fd, somebody outside.
//!
//! [`Liveness`] orders how good the reasons are to expect that a thread goes on, from [`Liveness::Stuck`] (none) to [`Liveness::Active`] (it moves
//! now). Each thread starts as stuck; what a thread can count on without anybody of this machine (it runs, it moved, its time-out will
//! end it, the other side is remote) is its seed; then hope spreads along the ways, upwards only, until nothing changes. This is the
//! least fixpoint: hope that a set of threads would lend only each other never comes up. So what is [`Liveness::Stuck`] in the end is
//! *proved*: every way out of every one of these threads leads back into their set, or to nobody.
//!
//! Two threads of a process are one party as to its fds: whoever of them can go on may use, or close, any of them. What some thread may
//! do later is never guessed at: a thread that can go on counts as able to release everything that its process holds.

mod cycle;
mod index;
mod model;
mod solve;
mod waits;

pub use cycle::{Component, components};
pub use index::{Holder, Index, ThreadKey};
pub use model::{
    Alternative, Condition, Liveness, Op, Outside, Releaser, Seed, SeedReason, WaitNode, propagate,
};
pub use solve::WaitGraph;
