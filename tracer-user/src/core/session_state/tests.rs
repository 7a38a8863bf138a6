//! The fold, live and over its own recording.
