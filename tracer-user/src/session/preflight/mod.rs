//! `preflight`: examines what earlier runs left. Changes nothing.

mod files;
pub mod port_conflict;
pub mod readiness;
pub mod reap;
mod sessions;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use self::readiness::ReadinessOptions;
use super::clock;
use super::options::Places;
use crate::core::identity::ProcessId;
use crate::core::leftover::{
    Checkout, LeftoverFinding, LeftoverKind, PreflightReport, PreflightRequest, Proc, Scene, judge,
};
use crate::core::readiness::ReadinessStatus;
use crate::core::text::{ByteString, shell_word};
use crate::procfs_view::ProcRoot;
use crate::procfs_view::census::{census, origin};
use crate::procfs_view::leftover_files::Candidate;
use crate::store::user_file;

/// The schema of a baseline.
const BASELINE: &str = "tracer.baseline/1";
/// Bytes that are read of a baseline, at most.
const BASELINE_LIMIT: usize = 64 << 20;

/// The options of `preflight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreflightOptions {
    /// Where sessions are kept.
    pub places: Places,
    /// The checkout whose processes count as owned; `None`: the repository of the working directory, if there
    /// is one.
    pub repo: Option<PathBuf>,
    /// These ports have to be free.
    pub ports: Vec<u16>,
    /// These processes are reported.
    pub pids: Vec<u32>,
    /// Patterns of socket files that have to be free.
    pub sockets: Vec<String>,
    /// A file of earlier findings, which are not reported.
    pub baseline: Option<PathBuf>,
    /// Write the present findings to this file, as a baseline.
    pub save: Option<PathBuf>,
    /// What a suite needs before its first test.
    pub readiness: ReadinessOptions,
}

/// The findings of an earlier time.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    schema: String,
    keys: BTreeSet<String>,
}

/// The result of a preflight.
#[derive(Debug)]
pub struct PreflightResult {
    /// The report.
    pub report: PreflightReport,
    /// The files in the report, in their state when they were judged.
    pub files: Vec<Candidate>,
    /// The ids of all existing sessions.
    pub sessions: BTreeSet<String>,
    /// The processes that were judged.
    pub processes: BTreeSet<ProcessId>,
    /// The processes that hold each bound UNIX socket, by the socket's path.
    pub holders: BTreeMap<PathBuf, Vec<ProcessId>>,
}

/// Examines what earlier runs left.
///
/// # Errors
/// When `/proc`, the checkout or the baseline cannot be read, or a pattern is malformed.
pub fn find_leftovers(options: &PreflightOptions) -> anyhow::Result<PreflightResult> {
    find_with(options, &files::BoundFiles::new())
}

/// Examines what earlier runs left, files of processes that have just ended included.
fn find_with(options: &PreflightOptions, bound: &files::BoundFiles) -> anyhow::Result<PreflightResult> {
    let root = ProcRoot::system();
    let (mut scene, windows, sessions) = gather(&root, &options.places, options.repo.as_deref())?;
    let requested = files::expand(&options.sockets)?;
    for listener in &mut scene.listeners {
        listener.asked = listener.path.as_ref().is_some_and(|path| files::matches(&options.sockets, path));
    }
    for it in scene.processes.iter_mut().filter(|it| options.pids.contains(&it.id.tgid)) {
        it.environment = origin(&root, it.id);
    }
    let mut holders = BTreeMap::new();
    for listener in &scene.listeners {
        let path = listener.path.as_ref().filter(|path| path.as_bytes().starts_with(b"/"));
        if let Some(path) = path {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
            holders.insert(path, listener.holders.clone());
        }
    }
    let known = RefCell::new(BTreeMap::new());
    let ownership = files::FileOwnership {
        checkout: scene.checkout.as_ref(),
        requested: &requested,
        bound,
        windows: &windows,
        held: &|window: &sessions::SessionWindow| {
            let mut known = known.borrow_mut();
            let read = || sessions::held_files(&options.places, window);
            known.entry(window.dir_name.clone()).or_insert_with(read).clone()
        },
    };
    let (problems, incomplete) = (&mut scene.problems, &mut scene.incomplete);
    let found = files::find(&root, &ownership, &scene.processes, problems, incomplete);
    let (files, judged): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    scene.files = judged;
    let baseline = options.baseline.as_deref().map(read_baseline).transpose()?.unwrap_or_default();
    let request = PreflightRequest {
        ports: options.ports.clone(),
        pids: options.pids.clone(),
        baseline,
        repo_option: options.repo.as_deref().map(|dir| option("--repo", dir)).unwrap_or_default(),
        place_options: place_options(&options.places),
    };
    let mut report = judge(&scene, &request);
    if !options.readiness.is_empty() {
        let checkout =
            scene.checkout.as_ref().map(|checkout| PathBuf::from(OsStr::from_bytes(&checkout.dir.0)));
        report.checks =
            readiness::check(&options.readiness, checkout.as_deref()).context("the interpreter")?;
        report.clean &= report.checks.iter().all(|check| check.status != ReadinessStatus::Broken);
    }
    if let Some(path) = &options.save {
        save_baseline(path, &report)?;
    }
    let processes = scene.processes.iter().map(|it| it.id).collect();
    Ok(PreflightResult { report, files, sessions, processes, holders })
}

/// The options for the same places, where the environment does not name them already.
fn place_options(places: &Places) -> String {
    let places = [
        ("--trace-dir", "TRACER_TRACE_DIR", &places.trace_dir),
        ("--log-dir", "TRACER_LOG_DIR", &places.log_dir),
    ];
    let named = places.into_iter().filter_map(|(name, variable, dir)| {
        let dir = dir.as_deref()?;
        (std::env::var_os(variable).as_deref() != Some(dir.as_os_str())).then(|| option(name, dir))
    });
    named.collect()
}

/// An option with a directory, as one types it, after a space.
fn option(name: &str, dir: &Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    format!(" {name} {}", shell_word(&ByteString(dir.as_os_str().as_bytes().to_vec())))
}

/// The listeners that are in the way: those that earlier runs left, and those that hold one of these ports.
///
/// # Errors
/// When `/proc` or the checkout cannot be read.
pub fn listeners(places: &Places, ports: Vec<u16>) -> anyhow::Result<Vec<LeftoverFinding>> {
    let (scene, ..) = gather(&ProcRoot::system(), places, None)?;
    let report = judge(&scene, &PreflightRequest { ports, ..PreflightRequest::default() });
    let port_conflict =
        |finding: &LeftoverFinding| finding.kind == LeftoverKind::Listener && finding.status.breaks();
    Ok(report.findings.into_iter().filter(port_conflict).collect())
}

/// When finished sessions ran.
type Windows = Vec<sessions::SessionWindow>;

/// Everything but files, and the ids of all existing sessions.
fn gather(
    root: &ProcRoot,
    places: &Places,
    repo: Option<&Path>,
) -> anyhow::Result<(Scene, Windows, BTreeSet<String>)> {
    let mut census = census(root).context("cannot read /proc")?;
    let sessions = sessions::find(places, &census.processes);
    census.problems.extend(Vec::from(sessions.problems));
    let scene = Scene {
        boot_ns: clock::boot_ns(),
        uid: rustix::process::geteuid().as_raw(),
        own_pid: std::process::id(),
        own_ancestry: ancestry(&census.processes, std::process::id()),
        processes: census.processes,
        ties: sessions.ties,
        checkout: checkout(repo)?,
        listeners: census.listeners,
        files: Vec::new(),
        unfinished: sessions.unfinished,
        pins: sessions.pins,
        problems: census.problems,
        incomplete: sessions.incomplete,
    };
    Ok((scene, sessions.windows, sessions.ids))
}

/// A process and its ancestors, up to init.
fn ancestry(processes: &[Proc], from: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut next = from;
    while next != 0 && found.insert(next) {
        next = processes.iter().find(|it| it.id.tgid == next).map_or(0, |it| it.ppid);
    }
    found
}

/// The living processes of `of` and their living descendants, by the present process table. Processes of
/// `except` are left out, with what only they have started.
pub fn with_descendants(
    of: &[ProcessId],
    table: &[(ProcessId, u32)],
    except: &BTreeSet<ProcessId>,
) -> Vec<ProcessId> {
    let mut found: Vec<ProcessId> =
        of.iter().copied().filter(|id| table.iter().any(|(other, _)| other == id)).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = table.iter().filter(|(id, ppid)| {
            let child = *ppid == parent.tgid && id.start_ticks >= parent.start_ticks;
            child && !found.contains(id) && !except.contains(id)
        });
        let children: Vec<_> = children.map(|(id, _)| *id).collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// The directory of the checkout without links, and its owner.
fn checkout(asked: Option<&Path>) -> anyhow::Result<Option<Checkout>> {
    use std::os::unix::fs::MetadataExt as _;
    let dir = match asked {
        Some(dir) => Some(dir.canonicalize().with_context(|| format!("--repo {}", dir.display()))?),
        None => std::env::current_dir().ok().and_then(|here| {
            here.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()).map(Path::to_owned)
        }),
    };
    let Some(dir) = dir else { return Ok(None) };
    // A home directory or the root directory is no checkout, even under version control.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    if dir.parent().is_none() || home.is_some_and(|home| home == dir) {
        anyhow::ensure!(
            asked.is_none(),
            "--repo {}: a home directory or the root directory is no checkout",
            dir.display()
        );
        return Ok(None);
    }
    let metadata = dir.metadata().with_context(|| format!("--repo {}", dir.display()))?;
    anyhow::ensure!(metadata.is_dir(), "--repo {}: not a directory", dir.display());
    let own_uid = rustix::process::geteuid().as_raw();
    // Root acts for the owner of the checkout, any other user for itself.
    let uid = if own_uid == 0 { metadata.uid() } else { own_uid };
    Ok(Some(Checkout { dir: ByteString(dir.as_os_str().as_bytes().to_vec()), uid }))
}

fn read_baseline(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let what = || format!("--baseline {}", path.display());
    let text = user_file::read(path, BASELINE_LIMIT).map_err(|error| anyhow!("{} {error}", what()))?;
    let baseline: Baseline = serde_json::from_slice(&text).with_context(what)?;
    anyhow::ensure!(baseline.schema == BASELINE, "{}: not a baseline, write one with --save", what());
    Ok(baseline.keys)
}

fn save_baseline(path: &Path, report: &PreflightReport) -> anyhow::Result<()> {
    let keys = report.findings.iter().map(|finding| finding.key.clone()).collect();
    let text = serde_json::to_vec_pretty(&Baseline { schema: BASELINE.to_owned(), keys })?;
    user_file::replace(path, &text).map_err(|error| anyhow!("--save {} {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_each_other_and_never_older_than_their_parent() {
        let id = |tgid: u32, start_ticks: u64| ProcessId { tgid, start_ticks };
        let table = [(id(10, 5), 1), (id(12, 7), 11), (id(11, 6), 10), (id(13, 1), 10), (id(14, 9), 1)];
        let none = BTreeSet::new();
        assert_eq!(with_descendants(&[id(10, 5)], &table, &none), [id(10, 5), id(11, 6), id(12, 7)]);
        assert_eq!(with_descendants(&[id(10, 4)], &table, &none), []);
        assert_eq!(with_descendants(&[id(10, 5)], &table, &[id(11, 6)].into()), [id(10, 5)]);
    }
}
