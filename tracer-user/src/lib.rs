//! Tells why a job hangs, with proof.
//!
//! Dependencies run one way: `main → cli → session → {kernel, procfs_view, store, signals} → core → wire`.
//! The four shells (`kernel`, `procfs_view`, `store`, `signals`) never import each other, and [`core`]
//! imports no shell: it is pure. `cargo xtask tidy` keeps it so.

pub mod cli;
pub mod core;
pub mod kernel;
pub mod procfs_view;
pub mod session;
pub mod signals;
pub mod store;
