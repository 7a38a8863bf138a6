//! The only writer and reader of files: trace directory, traces, sidecars and their locks, session log.
