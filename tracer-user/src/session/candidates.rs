//! What a shell offers as the next word of a command line: processes and sessions that exist now.

use crate::core::summary::IndexRow;
use crate::core::text::ByteString;
use crate::procfs_view::{ProcRoot, table};
use crate::session::sessions::{self, SessionFilter};

/// kthreadd, whose children are all other kernel threads.
const KTHREADD: u32 = 2;

/// Processes that can be traced, with their names.
pub fn processes() -> Vec<(u32, ByteString)> {
    let proc_root = ProcRoot::system();
    let own = std::process::id();
    let all = table::all(&proc_root).unwrap_or_default();
    let traceable = all
        .into_iter()
        .filter(|row| !row.zombie && row.ppid != KTHREADD && ![own, KTHREADD].contains(&row.process.tgid));
    traceable.filter_map(|row| Some((row.process.tgid, table::comm(&proc_root, row.process.tgid)?))).collect()
}

/// Rows of finished sessions, the newest first, of the log that the environment names.
pub fn finished_sessions() -> Vec<IndexRow> {
    let filter = SessionFilter { include_cleared: true, ..SessionFilter::default() };
    let listing = sessions::list(&sessions::log(None), &filter).unwrap_or_default();
    listing.sessions.into_iter().rev().collect()
}
