//! How many TCP connections a process has in each state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::procfs_view::net::{codes, tables};
use crate::procfs_view::proc_dir::ProcDir;

/// Longest table of sockets that is read, bytes. Connections are unknown where it is longer.
const MAX_TABLE: usize = 16 << 20;

/// The TCP sockets of each network namespace that was met in one round of snapshots: state by inode. `None`
/// for a namespace whose table cannot be read.
#[derive(Debug, Default)]
pub(crate) struct SocketTables(HashMap<Vec<u8>, Option<Arc<HashMap<u64, u8>>>>);

impl SocketTables {
    /// The number of a process's own TCP sockets by the names of their states. `None` when they are unknown.
    pub(crate) fn count(&mut self, process: &ProcDir, own: &HashSet<u64>) -> Option<BTreeMap<String, u32>> {
        if own.is_empty() {
            return Some(BTreeMap::new());
        }
        let namespace = process.link("ns/net", &mut [0; 64]).ok()?;
        let read = || tables::tcp_states(process, MAX_TABLE).map(Arc::new);
        let states = self.0.entry(namespace).or_insert_with(read).clone()?;
        let mut counts = BTreeMap::new();
        for state in own.iter().filter_map(|inode| states.get(inode)) {
            *counts.entry(codes::tcp_state_name(*state)).or_default() += 1;
        }
        Some(counts)
    }
}
