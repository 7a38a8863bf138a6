//! SysV semaphores and message queues: `/proc/sysvipc`.

use std::collections::BTreeMap;

use super::proc_dir::ProcDir;
use super::sys;
use crate::core::evidence::{ObjectFacts, ObjectId};

/// Adds every semaphore set and message queue of this IPC namespace.
pub(crate) fn add(root: &ProcDir, buffer: &mut Vec<u8>, known: &mut BTreeMap<ObjectId, ObjectFacts>) {
    if let Ok(text) = root.read("sysvipc/sem", buffer) {
        let sets: Vec<_> = rows(text, &["nsems"]).collect();
        for (id, mut facts) in sets {
            // The table does not say who operated last: the column read in its place counts the set.
            if let ObjectFacts::SysV { last_pids, .. } = &mut facts {
                *last_pids = last_operators(id, last_pids.first().copied().unwrap_or(0));
            }
            known.insert(ObjectId::SysVSem { id }, facts);
        }
    }
    if let Ok(text) = root.read("sysvipc/msg", buffer) {
        known.extend(rows(text, &["lspid", "lrpid"]).map(|row| (ObjectId::SysVMsg { id: row.0 }, row.1)));
    }
}

/// Semaphores of a set that are asked about: sets are small, and each takes a system call.
const MAX_SEMAPHORES: u32 = 64;

/// Who operated last on each semaphore of a set, as far as we may know.
fn last_operators(set: u32, semaphores: u32) -> Vec<u32> {
    let numbers = 0..semaphores.min(MAX_SEMAPHORES);
    let mut pids: Vec<u32> = numbers.filter_map(|number| sys::last_semaphore_operator(set, number)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Rows of a table whose first line names its columns.
fn rows<'t>(text: &'t [u8], pids: &'t [&str]) -> impl Iterator<Item = (u32, ObjectFacts)> + 't {
    let text = std::str::from_utf8(text).unwrap_or("");
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    let id_column = columns.iter().position(|name| matches!(*name, "semid" | "msqid"));
    let pid_columns: Vec<usize> =
        pids.iter().filter_map(|pid| columns.iter().position(|name| name == pid)).collect();
    lines.filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let id = fields.get(id_column?)?.parse().ok()?;
        let pid = |column: &usize| fields.get(*column)?.parse().ok().filter(|pid| *pid != 0);
        let last_pids = pid_columns.iter().filter_map(pid).collect();
        Some((id, ObjectFacts::SysV { last_pids, creator: None, key: fields.first()?.parse().ok() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_their_columns_names() {
        let text = b"       key      msqid perms      cbytes       qnum lspid lrpid   uid\n        -5         32   644           0          0  4711     0  1000\n";
        let found: Vec<_> = rows(text, &["lspid", "lrpid"]).collect();
        assert_eq!(found, [(32, ObjectFacts::SysV { last_pids: vec![4711], creator: None, key: Some(-5) })]);
        assert_eq!(rows(b"", &[]).count(), 0);
    }
}
