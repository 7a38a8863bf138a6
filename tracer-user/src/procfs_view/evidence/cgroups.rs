//! cgroups: which one a process is in, whether it is frozen, and which limits it may have met.
//!
//! Both versions are read. The hierarchies are found in the tracer's own mount table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::core::evidence::ByteString;
use crate::procfs_view::mounts;
use crate::procfs_view::proc_dir::ProcDir;
use crate::procfs_view::text::decimal;

/// What is known of a process's cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupFacts {
    /// Path in the version 2 hierarchy, else in the freezer's.
    pub path: Option<ByteString>,
    /// Frozen, itself or through an ancestor. `None` when no freezer could be read.
    pub frozen: Option<bool>,
    /// Of the cgroup at or above the process's that has the least room left; `None` without a limit.
    pub pids: Option<PidsLimit>,
    /// Time throttled by `cpu.max` so far, microseconds.
    pub throttled_us: Option<u64>,
}

/// A limit on the number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidsLimit {
    pub max: u64,
    pub current: u64,
}

impl PidsLimit {
    fn room(self) -> u64 {
        self.max.saturating_sub(self.current)
    }
}

/// Where the hierarchies are mounted, and the facts of each cgroup that was met.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    unified: Option<PathBuf>,
    freezer: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    /// By the text of `/proc/PID/cgroup`.
    known: HashMap<Vec<u8>, CgroupFacts>,
}

impl Cgroups {
    /// Finds the hierarchies in the tracer's own `mountinfo`.
    pub(crate) fn new(own_mountinfo: &[u8]) -> Self {
        let mut found = Self::default();
        for (_, mount) in mounts::parse(own_mountinfo) {
            // The paths in /proc start at a hierarchy's root, not at a bind mount of a part of it.
            if mount.root != b"/" {
                continue;
            }
            use std::os::unix::ffi::OsStrExt;
            let point = || Some(PathBuf::from(std::ffi::OsStr::from_bytes(&mount.point)));
            let controls = |name: &[u8]| mount.options.split(|b| *b == b',').any(|word| word == name);
            match mount.kind.as_slice() {
                b"cgroup2" => found.unified = found.unified.take().or_else(point),
                b"cgroup" if controls(b"freezer") => found.freezer = point(),
                b"cgroup" if controls(b"pids") => found.pids = point(),
                b"cgroup" if controls(b"cpu") => found.cpu = point(),
                _ => {}
            }
        }
        found
    }

    /// Facts of a process, from the text of its `/proc/PID/cgroup`.
    pub(crate) fn of(&mut self, text: &[u8]) -> CgroupFacts {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let facts = self.read(text);
        self.known.insert(text.to_vec(), facts.clone());
        facts
    }

    /// Microseconds throttled, read again at the end of the quiet window.
    pub(crate) fn throttled_now(&self, text: &[u8]) -> Option<u64> {
        self.throttled(&split(text))
    }

    fn read(&self, text: &[u8]) -> CgroupFacts {
        let paths = split(text);
        let mut facts = CgroupFacts {
            path: paths.unified.or(paths.freezer).map(ByteString::from),
            ..CgroupFacts::default()
        };
        if let Some(dir) = below(&self.unified, paths.unified) {
            facts.frozen = keyed(&dir, "cgroup.events", "frozen").map(|frozen| frozen == 1);
        }
        if let Some(dir) = below(&self.freezer, paths.freezer) {
            // The root cgroup has no such file, and cannot be frozen.
            let state = read(&dir, "freezer.state").unwrap_or_default();
            facts.frozen = Some(facts.frozen == Some(true) || state.starts_with(b"FROZEN"));
        }
        let pids = match (&self.pids, paths.pids) {
            (Some(_), Some(path)) => (&self.pids, Some(path)),
            _ => (&self.unified, paths.unified),
        };
        facts.pids = tightest_pids(pids.0, pids.1);
        facts.throttled_us = self.throttled(&paths);
        facts
    }

    fn throttled(&self, paths: &Paths<'_>) -> Option<u64> {
        let unified =
            below(&self.unified, paths.unified).and_then(|dir| keyed(&dir, "cpu.stat", "throttled_usec"));
        // Version 1 counts nanoseconds.
        let old = || below(&self.cpu, paths.cpu).and_then(|dir| keyed(&dir, "cpu.stat", "throttled_time"));
        unified.or_else(|| old().map(|ns| ns / 1000))
    }
}

/// The paths of a process in the hierarchies that are used.
#[derive(Default)]
struct Paths<'t> {
    unified: Option<&'t [u8]>,
    freezer: Option<&'t [u8]>,
    pids: Option<&'t [u8]>,
    cpu: Option<&'t [u8]>,
}

/// `6:freezer:/a`, `0::/b`.
fn split(text: &[u8]) -> Paths<'_> {
    let mut paths = Paths::default();
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.splitn(3, |b| *b == b':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let has = |name: &[u8]| controllers.split(|b| *b == b',').any(|word| word == name);
        if id == b"0" && controllers.is_empty() {
            paths.unified = Some(path);
        } else if has(b"freezer") {
            paths.freezer = Some(path);
        } else if has(b"pids") {
            paths.pids = Some(path);
        } else if has(b"cpu") {
            paths.cpu = Some(path);
        }
    }
    paths
}

/// The cgroup's directory. `None` when the path leads out of the tracer's cgroup namespace.
fn below(root: &Option<PathBuf>, path: Option<&[u8]>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(path?));
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    Some(root.as_ref()?.join(path.strip_prefix("/").ok()?))
}

fn read(dir: &Path, file: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ProcDir::open(dir).ok()?.read(file, &mut text).ok()?;
    Some(text)
}

/// A number in a file of `name number` lines.
fn keyed(dir: &Path, file: &str, key: &str) -> Option<u64> {
    let text = read(dir, file)?;
    let text = std::str::from_utf8(&text).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The limit at or above the path that has the least room left.
fn tightest_pids(root: &Option<PathBuf>, path: Option<&[u8]>) -> Option<PidsLimit> {
    let top = root.as_ref()?;
    let mut dir = below(root, path)?;
    let mut tightest: Option<PidsLimit> = None;
    while dir.starts_with(top) {
        let number = |file| read(&dir, file).and_then(|text| decimal(&text));
        if let (Some(max), Some(current)) = (number("pids.max"), number("pids.current")) {
            let limit = PidsLimit { max, current };
            tightest = tightest.filter(|known| known.room() <= limit.room()).or(Some(limit));
        }
        if !dir.pop() {
            break;
        }
    }
    tightest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_from_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let make = |path: &str, text: &str| {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        make("v2/job/cgroup.events", "populated 1\nfrozen 0\n");
        make("v2/job/pids.max", "max\n");
        make("v2/job/pids.current", "3\n");
        make("v2/pids.max", "10\n");
        make("v2/pids.current", "9\n");
        make("v2/job/cpu.stat", "usage_usec 5\nthrottled_usec 70\n");
        make("v1/stuck/freezer.state", "FROZEN\n");
        let mountinfo = format!(
            "1 0 0:5 / {0}/v2 rw - cgroup2 cgroup2 rw\n2 0 0:6 / {0}/v1 rw - cgroup cgroup rw,freezer\n",
            top.display()
        );
        let mut cgroups = Cgroups::new(mountinfo.as_bytes());
        let thawed = cgroups.of(b"6:freezer:/\n0::/job\n");
        assert_eq!(
            (thawed.frozen, thawed.pids, thawed.throttled_us),
            (Some(false), Some(PidsLimit { max: 10, current: 9 }), Some(70))
        );
        assert_eq!(thawed.path.unwrap().as_bytes(), b"/job");
        assert_eq!(cgroups.of(b"6:freezer:/stuck\n0::/job\n").frozen, Some(true));
        assert_eq!(cgroups.of(b"0::/../else\n").frozen, None);
    }
}
