//! SysV semaphores and message queues of this IPC namespace: `/proc/sysvipc`.

use crate::core::evidence::{ObjectFacts, ObjectId};
use crate::procfs_view::proc_dir::OpenRoot;
use crate::procfs_view::sys;

/// Every semaphore set and message queue.
pub(crate) fn objects(root: &OpenRoot, buffer: &mut Vec<u8>) -> Vec<(ObjectId, ObjectFacts)> {
    let mut found = Vec::new();
    if let Ok(text) = root.dir.read("sysvipc/sem", buffer) {
        for row in rows(text) {
            let Some(id) = row.get("semid") else { continue };
            // The table does not show who operated last on a semaphore; a system call does, of this
            // machine's.
            let semaphores = row.get("nsems").filter(|_| root.is_system()).unwrap_or(0);
            found.push((ObjectId::SysVSem { id }, row.facts(last_operators(id, semaphores))));
        }
    }
    if let Ok(text) = root.dir.read("sysvipc/msg", buffer) {
        for row in rows(text) {
            let Some(id) = row.get("msqid") else { continue };
            // The last sender and the last receiver; 0 is none.
            let last = ["lspid", "lrpid"].into_iter().filter_map(|column| row.get(column));
            found.push((ObjectId::SysVMsg { id }, row.facts(last.filter(|pid| *pid != 0).collect())));
        }
    }
    found
}

/// Semaphores of a set that are asked about: sets are small, and each takes a system call.
const MAX_SEMAPHORES: u32 = 64;

/// The processes that operated last on the semaphores of a set, as far as they are known.
fn last_operators(set: u32, semaphores: u32) -> Vec<u32> {
    let numbers = 0..semaphores.min(MAX_SEMAPHORES);
    let mut pids: Vec<u32> = numbers.filter_map(|number| sys::last_semaphore_operator(set, number)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// A row of a table whose first line names its columns.
struct Row<'t> {
    columns: Vec<&'t str>,
    fields: Vec<&'t str>,
}

impl Row<'_> {
    fn get<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        let at = self.columns.iter().position(|name| *name == column)?;
        self.fields.get(at)?.parse().ok()
    }

    fn facts(&self, last_pids: Vec<u32>) -> ObjectFacts {
        ObjectFacts::SysV { last_pids, creator: None, key: self.get("key") }
    }
}

fn rows(text: &[u8]) -> impl Iterator<Item = Row<'_>> {
    let mut lines = std::str::from_utf8(text).unwrap_or("").lines();
    let columns: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    lines.map(move |line| Row { columns: columns.clone(), fields: line.split_ascii_whitespace().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let text = b"       key      msqid perms      cbytes       qnum lspid lrpid   uid\n        -5         32   644           0          0  4711     0  1000\n";
        let rows: Vec<_> = rows(text).collect();
        let [row] = rows.as_slice() else { panic!("{}", rows.len()) };
        assert_eq!((row.get::<u32>("msqid"), row.get::<u32>("lspid")), (Some(32), Some(4711)));
        assert_eq!(row.get::<u32>("semid"), None);
        let facts = ObjectFacts::SysV { last_pids: vec![4711], creator: None, key: Some(-5) };
        assert_eq!(row.facts(vec![4711]), facts);
        assert_eq!(super::rows(b"").count(), 0);
    }
}
