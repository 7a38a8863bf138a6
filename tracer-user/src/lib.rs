//! Explains why a job hangs, with proof.
//!
//! A job that hangs is a set of processes that wait for each other, or for something that never comes. This
//! crate collects the state of a machine's processes as plain values ([`Evidence`]), builds the graph of what
//! waits for what, and reports what is proven to be stuck, on what, and why ([`Diagnosis`]).
//!
//! ```
//! use std::process::{Command, Stdio};
//! use std::time::Duration;
//! use tracer_user::{Ask, Request, collect, diagnose, report};
//!
//! // `cat` waits for input from this program: it is idle, and nothing hangs.
//! let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn()?;
//! let request = Request { ask: Ask::Tree(cat.id()), quiet_window: Duration::from_millis(100) };
//! let evidence = collect(&request)?;
//! let diagnosis = diagnose(&evidence);
//! assert!(!diagnosis.verdict.is_hang());
//! println!("{}", report::text(&diagnosis, report::TextStyle::default()));
//!
//! drop(cat.stdin.take());
//! cat.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Evidence is a document: it serializes with serde, and a diagnosis can be made from it later and on another
//! machine.
//!
//! ```
//! use tracer_user::{Evidence, diagnose, diagnosis::Verdict};
//!
//! let evidence: Evidence = serde_json::from_str(r#"{"scope": "all", "processes": []}"#)?;
//! assert_eq!(diagnose(&evidence).verdict, Verdict::NotHung);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # Modules
//!
//! - [`evidence`]: processes, threads, descriptors, objects and locks of one moment;
//! - [`diagnosis`]: verdict, findings and the graph, as `tracer.diagnosis/1` has them;
//! - [`report`]: a diagnosis as text, JSON, Markdown, HTML, JUnit, Graphviz or Mermaid;
//! - [`identity`]: a pid with its start time, which is what a process is known by.
//!
//! # Features
//!
//! - `cli` (default): the command-line tool, its sessions, traces and recovery. Implies `bpf`.
//! - `bpf` (default): reads the kernel's own knowledge of pipes and sockets through BPF programs.
//!
//! Without either, evidence is collected from `/proc` and judged, and neither aya, tokio nor clap is needed.
//!
//! # Stability
//!
//! Versions before 1.0 may change anything. Modules that the documentation does not show are not part of the
//! library's interface.

// Without the tool, what only sessions need is unused.
#![cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the tool needs more of core than the library"))]

mod api;

#[doc(inline)]
pub use api::{collect, diagnose};
#[doc(inline)]
pub use core::diagnosis::Diagnosis;
#[doc(inline)]
pub use core::evidence::Evidence;
#[doc(inline)]
pub use core::{diagnosis, evidence, identity, report};
#[doc(inline)]
pub use procfs_view::{Ask, CollectError, Request};

// The layers of the tool. They are public for its program and for the tests of this repository, and for no
// other crate. Dependencies run one way: `main → cli → session → {kernel, procfs_view, store, signals} → core
// → wire`; `cargo xtask tidy` checks it.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod core;
#[cfg(feature = "bpf")]
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod procfs_view;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod session;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod signals;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod store;
