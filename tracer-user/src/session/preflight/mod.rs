//! `preflight`: looks at what earlier runs left. Changes nothing.

mod files;
pub mod port_conflict;
pub mod reap;
mod sessions;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::clock;
use super::options::Places;
use crate::core::identity::ProcessId;
use crate::core::leftover::{Asked, Checkout, Finding, Kind, Preflight, Proc, Scene, judge};
use crate::core::text::ByteString;
use crate::procfs_view::ProcRoot;
use crate::procfs_view::census::census;
use crate::procfs_view::leftover_files::Candidate;

/// The schema of a baseline.
const BASELINE: &str = "tracer.baseline/1";

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreflightOptions {
    /// Where sessions are kept.
    pub places: Places,
    /// The checkout whose processes count as ours; `None`: the repository we are in, if we are in one.
    pub repo: Option<PathBuf>,
    /// These ports have to be free.
    pub ports: Vec<u16>,
    /// These processes are to be told of.
    pub pids: Vec<u32>,
    /// Patterns of socket files that have to be free.
    pub sockets: Vec<String>,
    /// What was there before is not told.
    pub baseline: Option<PathBuf>,
    /// Write what is there now, to be a baseline later.
    pub save: Option<PathBuf>,
}

/// What was there at some time.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    schema: String,
    keys: BTreeSet<String>,
}

/// A look: what is to be thought of it, and what was looked at.
#[derive(Debug)]
pub struct Look {
    /// The report.
    pub report: Preflight,
    /// The files it tells of, as they were when they were judged.
    pub files: Vec<Candidate>,
    /// The ids of all sessions there are.
    pub sessions: BTreeSet<String>,
}

/// Looks.
///
/// # Errors
/// When `/proc`, the checkout or the baseline cannot be read, or a pattern makes no sense.
pub fn look(options: &PreflightOptions) -> anyhow::Result<Look> {
    let root = ProcRoot::system();
    let (mut scene, windows, sessions) = gather(&root, &options.places, options.repo.as_deref())?;
    let wanted = files::expand(&options.sockets)?;
    for listener in &mut scene.listeners {
        listener.asked = listener.path.as_ref().is_some_and(|path| files::matches(&options.sockets, path));
    }
    let ours = files::Ours { checkout: scene.checkout.as_ref(), asked: &wanted, windows: &windows };
    let found = files::find(&root, &ours, &scene.processes, &mut scene.problems);
    let (files, judged): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    scene.files = judged;
    let baseline = options.baseline.as_deref().map(read_baseline).transpose()?.unwrap_or_default();
    let asked = Asked { ports: options.ports.clone(), pids: options.pids.clone(), baseline };
    let report = judge(&scene, &asked);
    if let Some(path) = &options.save {
        save_baseline(path, &report)?;
    }
    Ok(Look { report, files, sessions })
}

/// The listeners that are in the way: those that earlier runs left, and whoever holds one of these ports.
///
/// # Errors
/// When `/proc` or the checkout cannot be read.
pub fn listeners(places: &Places, ports: Vec<u16>) -> anyhow::Result<Vec<Finding>> {
    let (scene, ..) = gather(&ProcRoot::system(), places, None)?;
    let report = judge(&scene, &Asked { ports, ..Asked::default() });
    let port_conflict = |finding: &Finding| finding.kind == Kind::Listener && finding.status.breaks();
    Ok(report.findings.into_iter().filter(port_conflict).collect())
}

/// When finished sessions ran, by their names.
type Windows = Vec<(String, RangeInclusive<i64>)>;

/// Everything but files, and the ids of all sessions there are.
fn gather(
    root: &ProcRoot,
    places: &Places,
    repo: Option<&Path>,
) -> anyhow::Result<(Scene, Windows, BTreeSet<String>)> {
    let mut census = census(root).context("cannot read /proc")?;
    let sessions = sessions::find(places, &census.processes);
    census.problems.extend(sessions.problems);
    let scene = Scene {
        boot_ns: clock::boot_ns(),
        us: ancestry(&census.processes, std::process::id()),
        processes: census.processes,
        ties: sessions.ties,
        checkout: checkout(repo)?,
        listeners: census.listeners,
        files: Vec::new(),
        unfinished: sessions.unfinished,
        pins: sessions.pins,
        problems: census.problems,
    };
    Ok((scene, sessions.windows, sessions.ids))
}

/// A process and whoever started it, up to init.
fn ancestry(processes: &[Proc], from: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut next = from;
    while next != 0 && found.insert(next) {
        next = processes.iter().find(|it| it.id.tgid == next).map_or(0, |it| it.ppid);
    }
    found
}

/// The living descendants of `of`, with themselves, as the process table has it now.
pub fn with_descendants(of: &[ProcessId], table: &[(ProcessId, u32)]) -> Vec<ProcessId> {
    let mut found: Vec<ProcessId> =
        of.iter().copied().filter(|id| table.iter().any(|(other, _)| other == id)).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = table.iter().filter(|(id, ppid)| {
            *ppid == parent.tgid && id.start_ticks >= parent.start_ticks && !found.contains(id)
        });
        let children: Vec<_> = children.map(|(id, _)| *id).collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// The checkout's directory without links, and whose it is.
fn checkout(asked: Option<&Path>) -> anyhow::Result<Option<Checkout>> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let dir = match asked {
        Some(dir) => Some(dir.canonicalize().with_context(|| format!("--repo {}", dir.display()))?),
        None => std::env::current_dir().ok().and_then(|here| {
            here.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()).map(Path::to_owned)
        }),
    };
    let Some(dir) = dir else { return Ok(None) };
    // Everything of a user, or of everybody, is no checkout, even under version control.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    if dir.parent().is_none() || home.is_some_and(|home| home == dir) {
        anyhow::ensure!(asked.is_none(), "--repo {}: too much to be one checkout", dir.display());
        return Ok(None);
    }
    let metadata = dir.metadata().with_context(|| format!("--repo {}", dir.display()))?;
    anyhow::ensure!(metadata.is_dir(), "--repo {}: not a directory", dir.display());
    let us = rustix::process::geteuid().as_raw();
    // Root asks for whoever owns the checkout, anybody else for himself alone.
    let uid = if us == 0 { metadata.uid() } else { us };
    Ok(Some(Checkout { dir: ByteString(dir.as_os_str().as_bytes().to_vec()), uid }))
}

fn read_baseline(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let what = || format!("--baseline {}", path.display());
    let text = std::fs::read(path).with_context(what)?;
    let baseline: Baseline = serde_json::from_slice(&text).with_context(what)?;
    anyhow::ensure!(baseline.schema == BASELINE, "{}: not a baseline, write one with --save", what());
    Ok(baseline.keys)
}

fn save_baseline(path: &Path, report: &Preflight) -> anyhow::Result<()> {
    let keys = report.findings.iter().map(|finding| finding.key.clone()).collect();
    let text = serde_json::to_vec_pretty(&Baseline { schema: BASELINE.to_owned(), keys })?;
    std::fs::write(path, text).with_context(|| format!("--save {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_each_other_and_never_older_than_their_parent() {
        let id = |tgid: u32, start_ticks: u64| ProcessId { tgid, start_ticks };
        let table = [(id(10, 5), 1), (id(12, 7), 11), (id(11, 6), 10), (id(13, 1), 10), (id(14, 9), 1)];
        assert_eq!(with_descendants(&[id(10, 5)], &table), [id(10, 5), id(11, 6), id(12, 7)]);
        assert_eq!(with_descendants(&[id(10, 4)], &table), []);
    }
}
