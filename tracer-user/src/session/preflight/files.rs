//! Files that are left: `procfs_view` finds them and proves that they are unused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::core::identity::NS_PER_TICK;
use crate::core::leftover::{Checkout, FileKind, FileState, LeftoverFile, Proc};
use crate::core::text::ByteString;
use crate::procfs_view::ProcRoot;
use crate::procfs_view::census::{FileUsers, file_users};
use crate::procfs_view::leftover_files::{self, Candidate, CandidateKind, InUse};
use crate::session::clock;

/// Levels of a checkout that are searched.
const CHECKOUT_DEPTH: usize = 8;
/// Levels of the directories for temporary files that are searched.
const TEMPORARY_DEPTH: usize = 2;
/// A file that is younger than this may be about to be used, seconds.
const YOUNG: i64 = 2;

/// What proves that a file may be removed.
pub struct FileOwnership<'a> {
    /// It is in this checkout.
    pub checkout: Option<&'a Checkout>,
    /// It is one of these requested files.
    pub requested: &'a BTreeSet<PathBuf>,
    /// It was last written while one of these sessions ran, which are over: id, and seconds since 1970.
    pub windows: &'a [(String, RangeInclusive<i64>)],
}

impl FileOwnership<'_> {
    /// The proof, and the session during which it was last written.
    fn proof(&self, candidate: &Candidate) -> (Option<String>, Option<String>) {
        let window = self.windows.iter().find(|(_, window)| window.contains(&candidate.modified));
        let session = window.map(|(session, _)| session.clone());
        let in_checkout = self.checkout.is_some_and(|checkout| {
            candidate.path.starts_with(std::ffi::OsStr::from_bytes(checkout.dir.as_bytes()))
        });
        let why = if in_checkout {
            Some("it is in the checkout".to_owned())
        } else if self.requested.contains(&candidate.path) {
            Some("it was requested".to_owned())
        } else {
            session.as_ref().map(|session| format!("it was last written while session {session} ran"))
        };
        (why, session)
    }
}

/// The files that patterns match now.
pub fn expand(patterns: &[String]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        let paths = glob::glob(pattern).with_context(|| format!("--socket {pattern}"))?;
        found.extend(paths.flatten().map(|path| std::path::absolute(&path).unwrap_or(path)));
    }
    Ok(found)
}

/// The name of a socket matches a requested pattern. Patterns write abstract names with a leading `@`.
pub fn matches(patterns: &[String], name: &ByteString) -> bool {
    let name = match name.as_bytes().strip_prefix(b"\0") {
        Some(name) => format!("@{}", String::from_utf8_lossy(name)),
        None => String::from_utf8_lossy(name.as_bytes()).into_owned(),
    };
    patterns.iter().any(|pattern| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(&name)))
}

/// Files that may be left, each with its state when it was examined. Files in use are omitted.
pub fn find(
    root: &ProcRoot,
    ownership: &FileOwnership<'_>,
    processes: &[Proc],
    problems: &mut Vec<String>,
) -> Vec<(Candidate, LeftoverFile)> {
    let candidates = candidates(ownership);
    let now = clock::anchor();
    let used = match file_users(root, &leftover_files::ids(&candidates)) {
        Ok(users) => users,
        Err(error) => {
            problems.push(format!("the users of files cannot be listed: {error}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for candidate in candidates {
        let (why, session) = ownership.proof(&candidate);
        if used.used.contains(&candidate.id) {
            continue;
        }
        let (kind, state) = match candidate.kind {
            CandidateKind::Socket => {
                let state = match leftover_files::is_bound(&candidate.path) {
                    InUse::Yes => continue,
                    InUse::No => FileState::Stale("no socket is bound to it".to_owned()),
                    InUse::Unknown(error) if why.is_some() => FileState::Unknown(error.to_string()),
                    InUse::Unknown(_) => continue,
                };
                (FileKind::Socket, state)
            }
            CandidateKind::SharedMemory => {
                if now.wall.as_second() - candidate.modified < YOUNG {
                    continue;
                }
                (
                    FileKind::SharedMemory,
                    unused(&candidate, &used, "no process maps it or has it open".to_owned()),
                )
            }
            CandidateKind::PidFile(pid) => {
                let owner = processes.iter().find(|it| it.id.tgid == pid && !it.zombie);
                let started = owner.map(|it| {
                    let since = now.boot_ns.saturating_sub(it.id.start_ticks * NS_PER_TICK) / 1_000_000_000;
                    now.wall.as_second() - i64::try_from(since).unwrap_or(i64::MAX)
                });
                let proof = match started {
                    None => format!("process {pid} is gone"),
                    Some(started) if started > candidate.modified + YOUNG => {
                        format!("pid {pid} now is another process")
                    }
                    Some(_) => continue,
                };
                (FileKind::PidFile, unused(&candidate, &used, proof))
            }
        };
        let path = ByteString(candidate.path.as_os_str().as_bytes().to_vec());
        found.push((candidate, LeftoverFile { path, kind, state, owned: why, session }));
    }
    found
}

/// Stale by this proof, unless a process may use it: one that cannot be examined may, where the kernel itself
/// does not say.
fn unused(candidate: &Candidate, used: &FileUsers, proof: String) -> FileState {
    match (leftover_files::is_open(&candidate.path), used.unreadable.as_slice()) {
        (InUse::Yes, _) => FileState::Unknown("a process that cannot be seen has it open".to_owned()),
        (InUse::No, _) | (InUse::Unknown(_), []) => FileState::Stale(proof),
        (InUse::Unknown(_), [pid]) => FileState::Unknown(format!("process {pid} cannot be examined")),
        (InUse::Unknown(_), [pid, more @ ..]) => {
            FileState::Unknown(format!("process {pid} and {} others cannot be examined", more.len()))
        }
    }
}

fn candidates(ownership: &FileOwnership<'_>) -> Vec<Candidate> {
    let own_uid = rustix::process::geteuid().as_raw();
    let mut found = BTreeMap::new();
    let mut take = |candidates: Vec<Candidate>| {
        for candidate in candidates {
            found.entry(candidate.path.clone()).or_insert(candidate);
        }
    };
    let mut uids = BTreeSet::from([own_uid]);
    if let Some(checkout) = ownership.checkout {
        let dir = Path::new(std::ffi::OsStr::from_bytes(checkout.dir.as_bytes()));
        take(leftover_files::below(dir, checkout.uid, CHECKOUT_DEPTH));
        uids.insert(checkout.uid);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    for uid in uids {
        take(leftover_files::below(&std::env::temp_dir(), uid, TEMPORARY_DEPTH));
        if let Some(dir) = &runtime {
            take(leftover_files::below(dir, uid, TEMPORARY_DEPTH));
        }
        take(leftover_files::shared_memory(Path::new("/dev/shm"), uid));
        take(ownership.requested.iter().filter_map(|path| leftover_files::at(path, uid)).collect());
    }
    found.into_values().collect()
}
