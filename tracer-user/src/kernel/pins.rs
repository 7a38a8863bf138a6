//! A session's pins: how they are made, opened again, and collected.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData};
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf};
use tracer_ebpf::names::{self, ProgramName};

use super::bpffs::{self, Directory};
use super::error::KernelError;
use super::layout::Layout;
use super::load::LoadParams;
use super::log::KernelLog;
use super::tracer::Settings;
use super::{hook, object};
use crate::core::identity::INITIAL_PIDNS_INO;

/// A session's programs, beside the one for births.
const OTHERS: [ProgramName; 4] = [names::ON_EXEC, names::ON_EXIT, names::ON_SIGNAL, names::ON_FREE];

/// A session whose pins are in the BPF file system, whether or not its tracer lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedSession {
    /// The session's name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// When it was made, seconds since the epoch.
    pub made_at: Option<i64>,
}

/// All sessions with pins of this user. None when there is no directory.
pub fn pinned_sessions() -> Result<Vec<PinnedSession>, KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(Vec::new()) };
    let names = directory.names().into_iter().filter(|name| !name.starts_with("hook-"));
    Ok(names
        .map(|name| {
            let path = directory.session(&name);
            PinnedSession { made_at: bpffs::made_at(&path), name, path }
        })
        .collect())
}

/// Names the directory in which the session's sidecar is, a link: without that directory nobody will ever ask for the
/// pins.
const TRACES: &str = "traces";
/// Names the mount namespace in which that path is one, a link.
const NAMESPACE: &str = "mounts";

/// The pins of a session whose owner is dead, and its lock: nobody else takes them meanwhile.
pub struct Unowned {
    /// The session's name.
    pub name: String,
    /// When its directory was made, seconds since the epoch.
    pub made_at: Option<i64>,
    /// Where its sidecar would be; `None` when its owner died before it said so, or while it removed the pins.
    pub traces: Option<PathBuf>,
    /// That path is one of this process's mount namespace.
    pub here: bool,
    _lock: OwnedFd,
}

/// The sessions with pins whose owner is dead.
pub fn unowned_sessions() -> Result<Vec<Unowned>, KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(Vec::new()) };
    // Whoever makes a session's directory takes its lock before it lets go of this one.
    let _nobody_makes_one = directory.lock()?;
    let names = directory.names().into_iter().filter(|name| !name.starts_with("hook-"));
    Ok(names
        .filter_map(|name| {
            let lock = directory.own(&name)?;
            let path = directory.session(&name);
            let there = std::fs::read_link(path.join(NAMESPACE)).ok();
            Some(Unowned {
                made_at: bpffs::made_at(&path),
                traces: std::fs::read_link(path.join(TRACES)).ok(),
                here: there.is_some() && there == mount_namespace(),
                name,
                _lock: lock,
            })
        })
        .collect())
}

fn mount_namespace() -> Option<PathBuf> {
    std::fs::read_link("/proc/self/ns/mnt").ok()
}

/// Notes where the session's sidecar is, for who finds the pins without one.
fn name_traces(path: &Path, traces: &Path) {
    // Pins without it are collected later; that is all.
    let named = mount_namespace().map(|namespace| symlink(namespace, path.join(NAMESPACE)));
    if named.is_some_and(|named| named.is_ok()) {
        let _ = symlink(traces, path.join(TRACES));
    }
}

/// What is left of a loaded session beside its pins.
#[derive(Default)]
pub struct Installed {
    /// The session's lock, held for as long as its owner lives.
    pub _lock: Option<OwnedFd>,
    /// The kernel programs' debug log, when it was asked for.
    pub log: Option<KernelLog>,
    /// Fields this kernel does not have and that can be done without.
    pub missing: Vec<String>,
}

/// Removes the pins of a session by its name, whatever there is of them. A session that is gone is no error.
pub fn remove_session(name: &str) -> Result<(), KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(()) };
    if !directory.names().iter().any(|there| there == name) {
        return Ok(());
    }
    let path = directory.session(name);
    remove(&directory, &path)
}

/// Loads the programs and pins everything of a session. On failure nothing is left.
pub fn install(directory: &Directory, settings: &Settings) -> Result<Installed, KernelError> {
    let layout = Layout::of_running_kernel()?;
    let path = directory.session(&settings.session);
    match install_at(directory, &path, settings, &layout) {
        Ok((log, lock)) => Ok(Installed { _lock: lock, log, missing: layout.missing }),
        Err(error) => {
            let _ = remove(directory, &path);
            Err(error)
        }
    }
}

/// The object without a place of its own: nothing is loaded yet, pinned or shared.
pub fn load_unpinned() -> Result<Ebpf, KernelError> {
    let params = LoadParams::of(&Layout::of_running_kernel()?, false)?;
    let mut loader = params.loader();
    for name in [names::LIVE, names::FATES, names::SLOTS, names::COLLISIONS, names::STALL_LOG] {
        loader.map_max_entries(name, 1);
    }
    loader.map_max_entries(names::EVENTS, rustix::param::page_size() as u32);
    loader.load(object::OBJECT).map_err(|error| KernelError::of("loading the kernel programs", error))
}

/// Refuses where our numbers for processes are not the kernel's own. A `/proc` that shows no namespaces shows no reason.
pub fn in_first_pid_namespace() -> Result<(), KernelError> {
    match std::fs::metadata("/proc/self/ns/pid") {
        Ok(found) if found.ino() != INITIAL_PIDNS_INO => Err(KernelError::InnerPidNamespace),
        _ => Ok(()),
    }
}

/// Unpins a session, and the hook when it was the last. A session that is gone is no error.
pub fn remove(directory: &Directory, path: &Path) -> Result<(), KernelError> {
    // Detaching takes long, and needs no lock: the session's mark goes last.
    bpffs::remove_files(path);
    let locked = directory.lock()?;
    bpffs::remove(path)?;
    hook::remove_unused(&locked)
}

fn install_at(
    directory: &Directory,
    path: &Path,
    settings: &Settings,
    layout: &Layout,
) -> Result<(Option<KernelLog>, Option<OwnedFd>), KernelError> {
    let params = LoadParams::of(layout, settings.kernel_log)?;
    let hook_path = hook::path(directory);

    // The session's mark first, see `hook`. Who finds the hook whole lets go of the lock before what takes long:
    // fifty sessions that begin at once would else wait for each other's loading. Who does not keeps it until it is.
    let locked = directory.lock()?;
    bpffs::create_directory(path)?;
    let lock = directory.own(&settings.session);
    bpffs::create_directory(&path.join(hook::mark()))?;
    if let Some(traces) = &settings.traces {
        name_traces(path, traces);
    }
    let unfinished = if hook::prepare(&locked)? {
        Some(locked)
    } else {
        hook::lower_threshold(&locked, &hook_path, settings.stall_threshold_ns)?;
        None
    };
    let mut loader = params.loader();
    hook::share_maps(&mut loader, &hook_path);
    let mut ebpf =
        loader.load(object::OBJECT).map_err(|error| KernelError::of("loading the kernel programs", error))?;
    let attached = attached(layout, settings);
    load_programs(&mut ebpf, &params.tracepoints, path, unfinished.is_some(), &attached)?;
    if let Some(locked) = unfinished {
        hook::lower_threshold(&locked, &hook_path, settings.stall_threshold_ns)?;
        hook::install(&locked, &hook_path, program(&mut ebpf, names::ON_SWITCH)?)?;
    }
    for name in names::SESSION_MAPS {
        let map = ebpf.map(name).ok_or_else(|| wrong_object(name))?;
        map.pin(path.join(name)).map_err(|error| KernelError::of(format!("pinning {name}"), error))?;
    }
    if !settings.kernel_log {
        return Ok((None, lock));
    }
    let log = KernelLog::of(&mut ebpf)
        .map_err(|error| KernelError::of("reading the kernel programs' debug log", error))?;
    Ok((Some(log), lock))
}

/// What of the session's own programs is to be attached.
fn attached(layout: &Layout, settings: &Settings) -> Vec<ProgramName> {
    let births = if layout.maps_have_memory { names::ON_NEW } else { names::ON_FORK };
    let others = OTHERS.into_iter().filter(|program| *program != names::ON_EXIT || !settings.misses_exits);
    std::iter::once(births).chain(others).collect()
}

/// Loads, attaches and pins the session's own programs, and loads the hook's where that is to be [installed](hook::install),
/// all at the same time: the kernel checks each for milliseconds, on as many CPUs as there are.
fn load_programs(
    ebpf: &mut Ebpf,
    tracepoints: &Btf,
    path: &Path,
    with_hook: bool,
    attached: &[ProgramName],
) -> Result<(), KernelError> {
    let mut loaded: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    // The one that takes longest first.
    let all = with_hook.then_some(names::ON_SWITCH).into_iter().chain([names::LOOK, names::FILL]);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for named in all.chain(attached.iter().copied()) {
            let program = loaded.remove(named.name).ok_or_else(|| wrong_object(named.name))?;
            let load = move || match named {
                names::ON_SWITCH => load_hook(program, tracepoints),
                ProgramName { attached: true, .. } => attach(program, named, tracepoints, path),
                ProgramName { attached: false, .. } => keep(program, named.name, path),
            };
            let thread = std::thread::Builder::new().spawn_scoped(scope, load);
            threads.push(thread.map_err(|error| KernelError::of("starting a thread", error))?);
        }
        for thread in threads {
            thread.join().unwrap_or_else(|_| {
                Err(KernelError::Refused {
                    what: "loading".to_owned(),
                    why: "a loading thread panicked".to_owned(),
                })
            })?;
        }
        Ok(())
    })
}

/// Loads a program and pins its link: it runs from here on, whatever becomes of us.
fn attach(
    program: &mut Program,
    named: ProgramName,
    tracepoints: &Btf,
    path: &Path,
) -> Result<(), KernelError> {
    let what = || format!("attaching to {}", named.tracepoint);
    let program: &mut BtfTracePoint = program.try_into().map_err(|error| KernelError::of(what(), error))?;
    program.load(named.tracepoint, tracepoints).map_err(|error| KernelError::of(what(), error))?;
    let id = program.attach().map_err(|error| KernelError::of(what(), error))?;
    let link: FdLink = program.take_link(id).map_err(|error| KernelError::of(what(), error))?.into();
    link.pin(path.join(named.name)).map(drop).map_err(|error| KernelError::of(what(), error))
}

fn load_hook(program: &mut Program, tracepoints: &Btf) -> Result<(), KernelError> {
    let what = "loading the program on sched_switch";
    let program: &mut BtfTracePoint = program.try_into().map_err(|error| KernelError::of(what, error))?;
    program.load(names::ON_SWITCH.tracepoint, tracepoints).map_err(|error| KernelError::of(what, error))
}

/// Loads a program that is run on demand, and pins it.
fn keep(program: &mut Program, name: &str, path: &Path) -> Result<(), KernelError> {
    let program: &mut RawTracePoint =
        program.try_into().map_err(|error| KernelError::of(format!("program {name}"), error))?;
    program.load().map_err(|error| KernelError::of(format!("loading the program {name}"), error))?;
    program
        .pin(path.join(name))
        .map_err(|error| KernelError::of(format!("pinning the program {name}"), error))
}

/// A pinned map.
pub fn map(path: &Path) -> Result<MapData, KernelError> {
    MapData::from_pin(path).map_err(|error| KernelError::of(format!("opening {}", path.display()), error))
}

/// A pinned map, as what the kernel says it is.
pub fn typed_map(path: &Path) -> Result<Map, KernelError> {
    Map::from_map_data(map(path)?)
        .map_err(|error| KernelError::of(format!("opening {}", path.display()), error))
}

/// A program of the object, as what it is.
pub fn program<'a, T>(
    ebpf: &'a mut Ebpf,
    ProgramName { name, .. }: ProgramName,
) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| wrong_object(name))?;
    program.try_into().map_err(|error| KernelError::of(format!("program {name}"), error))
}

pub fn wrong_object(name: &str) -> KernelError {
    KernelError::Refused {
        what: format!("the embedded kernel programs have no {name}"),
        why: "object and loader are of different versions; rebuild with `cargo xtask build-ebpf`".to_owned(),
    }
}
