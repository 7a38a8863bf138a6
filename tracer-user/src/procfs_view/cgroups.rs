//! cgroups: which one a process is in, whether it is frozen, and which limits it may have met.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::mounts;
use super::proc_dir::ProcDir;
use super::stat::decimal64;
use crate::core::evidence::ByteString;

/// What is known of a process's cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupFacts {
    /// Path (version 2, else the freezer's).
    pub path: Option<ByteString>,
    /// Frozen, itself or through an ancestor. `None` when no freezer could be read.
    pub frozen: Option<bool>,
    /// Tightest `pids.max` and `pids.current` there.
    pub pids: Option<(u64, u64)>,
    /// Time throttled by `cpu.max` so far, microseconds.
    pub throttled_us: Option<u64>,
}

/// Where the hierarchies are mounted; facts by the text of `/proc/PID/cgroup`.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    unified: Option<PathBuf>,
    freezer: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    known: HashMap<Vec<u8>, CgroupFacts>,
}

impl Cgroups {
    /// Finds the hierarchies in our own mount table.
    pub(crate) fn new(own_mountinfo: &[u8]) -> Self {
        let mut found = Self::default();
        for (_, mount) in mounts::parse(own_mountinfo) {
            // A bind mount of a part of a hierarchy is not where the paths of /proc start.
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

    /// Microseconds throttled, read again; for the end of the quiet window.
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
            // The root has no such file, and cannot be frozen.
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

/// Paths in the hierarchies used.
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

/// The cgroup's directory. `None` when the path leads out of our cgroup namespace.
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

/// The cgroup above (or at) the path that has least room left.
fn tightest_pids(root: &Option<PathBuf>, path: Option<&[u8]>) -> Option<(u64, u64)> {
    let top = root.as_ref()?;
    let mut dir = below(root, path)?;
    let mut tightest: Option<(u64, u64)> = None;
    while dir.starts_with(top) {
        let number = |file| read(&dir, file).and_then(|text| decimal64(&text));
        if let (Some(max), Some(current)) = (number("pids.max"), number("pids.current"))
            && tightest.is_none_or(|(m, c)| max.saturating_sub(current) < m.saturating_sub(c))
        {
            tightest = Some((max, current));
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
        let top = std::env::temp_dir().join(format!("tracer-user-cgroups-{}", std::process::id()));
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
        assert_eq!((thawed.frozen, thawed.pids, thawed.throttled_us), (Some(false), Some((10, 9)), Some(70)));
        assert_eq!(thawed.path.unwrap().as_bytes(), b"/job");
        assert_eq!(cgroups.of(b"6:freezer:/stuck\n0::/job\n").frozen, Some(true));
        assert_eq!(cgroups.of(b"0::/../else\n").frozen, None);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
