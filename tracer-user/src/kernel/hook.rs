//! The hook on context switches: loaded once per machine and object version, and shared by all sessions.
//!
//! Invariant, kept under the directory's lock: while a session's directory with `uses-<version>` exists, so
//! does a whole `hook-<version>`. A session makes its directory before it looks for the hook, and the hook is
//! removed only when no session that uses it is left. `link` is pinned last, so a hook with a link is whole.
//! A hook without one was left by a tracer that was killed while it loaded it, and is made anew.
//!
//! A session that does not get the lock in time loads a hook of its own, in its own directory. That hook goes
//! with the session.

use std::path::{Path, PathBuf};

use aya::EbpfLoader;
use aya::maps::{Array, MapData};
use aya::programs::BtfTracePoint;
use aya::programs::links::FdLink;
use tracer_ebpf::names;
use tracer_ebpf::wire::HookSettings;

use super::bpffs::{self, Directory, Locked};
use super::error::KernelError;
use super::handles::{MapValue, pinned_map};
use super::object;

const LINK: &str = "link";
/// Prefix of a hook's directory, before the version.
const HOOK: &str = "hook-";
/// Name of a session's own hook, in the session's directory.
const OWN: &str = "hook";
/// Prefix of a session's mark that it uses a hook, before the version.
const MARK: &str = "uses-";

/// Whether a directory of this name is a hook's. Any other is a session's.
pub fn is_hook(name: &str) -> bool {
    name.starts_with(HOOK)
}

/// The directory in which the hook of this version is pinned.
pub fn path(directory: &Directory) -> PathBuf {
    directory.path().join(format!("{HOOK}{}", object::version()))
}

/// Name of the mark that a session uses this version's hook.
pub fn mark() -> String {
    format!("{MARK}{}", object::version())
}

/// The directory of a session's own hook.
pub fn own_path(session: &Path) -> PathBuf {
    session.join(OWN)
}

/// The directory of the hook that a session uses. It is another version's when the session's owner was one.
pub fn of_session(directory: &Directory, session: &Path) -> Result<PathBuf, KernelError> {
    let own = own_path(session);
    if own.is_dir() {
        return Ok(own);
    }
    let names = std::fs::read_dir(session).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let version = names.filter_map(|name| name.to_str()?.strip_prefix(MARK).map(str::to_owned)).next();
    let version = version.ok_or_else(|| KernelError::Refused {
        what: format!("opening {}", session.display()),
        why: "the session is incomplete: it names no hook".to_owned(),
    })?;
    Ok(directory.path().join(format!("{HOOK}{version}")))
}

/// Makes the loader take the hook's maps from their pins.
pub fn share_maps<'a>(loader: &mut EbpfLoader<'a>, hook: &Path) {
    for name in names::HOOK_MAPS {
        loader.map_pin_path(name, hook.join(name));
    }
}

/// Prepares the directory for the hook's maps. True when the program is still to be loaded and [`install`]ed.
pub fn prepare(locked: &Locked<'_>) -> Result<bool, KernelError> {
    let hook = path(locked.directory());
    if hook.join(LINK).exists() {
        return Ok(false);
    }
    bpffs::remove(&hook)?;
    bpffs::create_directory(&hook)?;
    Ok(true)
}

/// Attaches the loaded program and pins its link: from here on the hook is whole.
/// The directory is locked, or the hook is a session's own.
pub fn install(hook: &Path, program: &mut BtfTracePoint) -> Result<(), KernelError> {
    let what = || "attaching the hook on context switches".to_owned();
    let id = program.attach().map_err(|error| KernelError::of(what(), error))?;
    let link: FdLink = program.take_link(id).map_err(|error| KernelError::of(what(), error))?.into();
    link.pin(hook.join(LINK)).map(drop).map_err(|error| KernelError::of(what(), error))
}

/// Lowers the hook's threshold to what a session asks for. It is never raised while the hook lives: another
/// session may rely on it, and each session ignores what is too short for itself. The directory is locked, or
/// the hook is a session's own.
pub fn lower_threshold(hook: &Path, threshold_ns: u64) -> Result<(), KernelError> {
    let what = "setting the stall threshold";
    let mut settings: Array<MapData, MapValue<HookSettings>> = pinned_map(hook, names::SWITCH_HOOK)?;
    let now = settings.get(&0, 0).map_err(|error| KernelError::of(what, error))?.0.threshold_ns;
    if now == 0 || threshold_ns < now {
        let lower = MapValue(HookSettings { threshold_ns });
        settings.set(0, lower, 0).map_err(|error| KernelError::of(what, error))?;
    }
    Ok(())
}

/// Removes every hook that no session uses.
pub fn remove_unused(locked: &Locked<'_>) -> Result<(), KernelError> {
    let directory = locked.directory();
    unused(locked).iter().try_for_each(|hook| bpffs::remove(&directory.path().join(hook)))
}

/// The names of the hooks that no session uses.
pub fn unused(locked: &Locked<'_>) -> Vec<String> {
    let directory = locked.directory();
    let (hooks, sessions): (Vec<_>, Vec<_>) = directory.names().into_iter().partition(|name| is_hook(name));
    let used = |hook: &String| {
        let mark = hook.replacen(HOOK, MARK, 1);
        sessions.iter().any(|session| directory.path().join(session).join(&mark).exists())
    };
    hooks.into_iter().filter(|hook| !used(hook)).collect()
}
