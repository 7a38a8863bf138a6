//! Files that are left: `procfs_view` finds them and proves that they are unused.
//!
//! A file is owned by its place in the checkout, by request, because a process that was ended was bound to
//! it, or because the trace of a session shows that one of its processes held it. The time at which it was
//! written proves nothing: other programs wrote then, too.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::sessions::SessionWindow;
use crate::core::identity::NS_PER_TICK;
use crate::core::leftover::{Checkout, ExposedFile, FileKind, FileState, HeldFile, LeftoverFile, Proc};
use crate::core::text::ByteString;
use crate::procfs_view::ProcRoot;
use crate::procfs_view::census::{FileUsers, file_users};
use crate::procfs_view::leftover_files::{self, Candidate, CandidateKind, InUse, Search};
use crate::session::clock;

/// Levels of a checkout that are searched.
const CHECKOUT_DEPTH: usize = 64;
/// Levels of the directories for temporary files that are searched.
const TEMPORARY_DEPTH: usize = 2;
/// A file that is younger than this may be about to be used, seconds.
const YOUNG: i64 = 2;

/// The files that processes were bound to which have ended since, by path, each with the proof.
pub type BoundFiles = BTreeMap<PathBuf, BoundBy>;

/// The process that a socket belonged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundBy {
    /// In words.
    pub proof: String,
    /// The process's session; `None` when it has none.
    pub session: Option<String>,
}

/// What proves that a file may be removed.
pub struct FileOwnership<'a> {
    /// It is in this checkout.
    pub checkout: Option<&'a Checkout>,
    /// It is one of these requested files.
    pub requested: &'a BTreeSet<PathBuf>,
    /// One of these ended processes was bound to it.
    pub bound: &'a BoundFiles,
    /// When finished sessions ran.
    pub windows: &'a [SessionWindow],
    /// The files that processes of a finished session held.
    pub held: &'a dyn Fn(&SessionWindow) -> Vec<HeldFile>,
}

impl FileOwnership<'_> {
    /// The proof, and the session that it names.
    fn proof(&self, candidate: &Candidate) -> (Option<String>, Option<String>) {
        let in_checkout = self.checkout.is_some_and(|checkout| {
            candidate.path.starts_with(std::ffi::OsStr::from_bytes(checkout.dir.as_bytes()))
        });
        if let Some(bound) = self.bound.get(&candidate.path) {
            return (Some(bound.proof.clone()), bound.session.clone());
        }
        let why = if in_checkout {
            Some("it is in the checkout".to_owned())
        } else if self.requested.contains(&candidate.path) {
            Some("it was requested".to_owned())
        } else {
            return self.held_by(candidate).unzip();
        };
        (why, None)
    }

    /// The proof that a process of a session held it while that session ran, and the session.
    fn held_by(&self, candidate: &Candidate) -> Option<(String, String)> {
        let mut windows = self.windows.iter().filter(|it| it.seconds.contains(&candidate.modified));
        windows.find_map(|window| {
            let held = (self.held)(window);
            let it = held.iter().find(|it| (it.dev, it.ino) == (candidate.id.dev, candidate.id.ino))?;
            Some((format!("pid {} of session {} held it", it.pid, window.session), window.session.clone()))
        })
    }

    fn written_during(&self, candidate: &Candidate) -> Option<String> {
        let window = self.windows.iter().find(|it| it.seconds.contains(&candidate.modified));
        window.map(|window| window.session.clone())
    }
}

/// The files that patterns match now, without links on the way to them.
pub fn expand(patterns: &[String]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        let paths = glob::glob(pattern).with_context(|| format!("--socket {pattern}"))?;
        found.extend(paths.flatten().map(|path| direct(&path)));
    }
    Ok(found)
}

/// The path of the same entry, absolute and without links on the way.
fn direct(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    }
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
    incomplete: &mut Vec<String>,
) -> Vec<(Candidate, LeftoverFile)> {
    let candidates = candidates(ownership, problems, incomplete);
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
                let state = match leftover_files::is_bound(&candidate) {
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
        let exposed = match leftover_files::exposure(&candidate) {
            Ok(exposure) => exposure.map(|exposure| ExposedFile {
                directory: ByteString(exposure.path.as_os_str().as_bytes().to_vec()),
                owner: exposure.owner,
                file_owner: candidate.uid,
            }),
            // It was moved meanwhile.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) =>
            {
                continue;
            }
            Err(error) => {
                problems.push(format!("the way to {} cannot be examined: {error}", path.escaped()));
                continue;
            }
        };
        let written_during = ownership.written_during(&candidate).filter(|_| why.is_none());
        let asked = ownership.requested.contains(&candidate.path);
        let file = LeftoverFile { path, kind, state, owned: why, asked, session, written_during, exposed };
        found.push((candidate, file));
    }
    found
}

/// Stale by this proof, unless a process may use it: one that cannot be examined may, where the kernel itself
/// does not say.
fn unused(candidate: &Candidate, used: &FileUsers, proof: String) -> FileState {
    match (leftover_files::is_open(candidate), used.unreadable.as_slice()) {
        (InUse::Yes, _) => FileState::Unknown("a process that cannot be seen has it open".to_owned()),
        (InUse::No, _) | (InUse::Unknown(_), []) => FileState::Stale(proof),
        (InUse::Unknown(_), [pid]) => FileState::Unknown(format!("process {pid} cannot be examined")),
        (InUse::Unknown(_), [pid, more @ ..]) => {
            FileState::Unknown(format!("process {pid} and {} others cannot be examined", more.len()))
        }
    }
}

fn candidates(
    ownership: &FileOwnership<'_>,
    problems: &mut Vec<String>,
    incomplete: &mut Vec<String>,
) -> Vec<Candidate> {
    let own_uid = rustix::process::geteuid().as_raw();
    let mut found = BTreeMap::new();
    let mut take = |dir: &Path, search: Search| {
        if let Some(entries) = search.full {
            incomplete.push(format!("{}: only {entries} entries were searched", dir.display()));
        }
        for candidate in search.found {
            found.entry(candidate.path.clone()).or_insert(candidate);
        }
        (search.too_deep, search.unreadable)
    };
    let mut uids = BTreeSet::from([own_uid]);
    let mut checkout_state = (0, 0);
    if let Some(checkout) = ownership.checkout {
        let dir = Path::new(std::ffi::OsStr::from_bytes(checkout.dir.as_bytes()));
        checkout_state = take(dir, Search::below(dir, checkout.uid, CHECKOUT_DEPTH));
        uids.insert(checkout.uid);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    for uid in uids {
        let temporary = std::env::temp_dir();
        take(&temporary, Search::below(&temporary, uid, TEMPORARY_DEPTH));
        // systemd's default, where the variable is not set: under sudo and in cron jobs.
        let default = PathBuf::from(format!("/run/user/{uid}"));
        let runtime = runtime.clone().filter(|_| uid == own_uid).unwrap_or(default);
        take(&runtime, Search::below(&runtime, uid, TEMPORARY_DEPTH));
        let shared = Path::new("/dev/shm");
        take(shared, Search::shared_memory(shared, uid));
        for path in ownership.requested {
            let found = leftover_files::at(path, uid).into_iter().collect();
            take(path, Search { found, ..Search::default() });
        }
    }
    let (too_deep, unreadable) = checkout_state;
    if too_deep > 0 {
        incomplete.push(format!(
            "the checkout: {too_deep} directories below level {CHECKOUT_DEPTH} were not searched"
        ));
    }
    if unreadable > 0 {
        problems.push(format!("the checkout: {unreadable} directories cannot be read"));
    }
    found.into_values().collect()
}
