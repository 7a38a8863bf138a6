//! The installer: loads the programs of a new session, attaches and pins them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Program, RawTracePoint};
use aya::{Btf, Ebpf};
use tracer_ebpf::names::{self, ProgramName};

use super::bpffs::{self, Directory};
use super::error::KernelError;
use super::handles::{not_in_object, program};
use super::layout::Layout;
use super::load::{self, LoadParams};
use super::log::KernelLog;
use super::settings::Settings;
use super::{hook, pins};

/// A session's attached programs, beside the one for forks.
const ATTACHED: [ProgramName; 4] = [names::ON_EXEC, names::ON_EXIT, names::ON_SIGNAL, names::ON_FREE];

/// What a session's owner holds beside the pins.
#[derive(Default)]
pub struct Installed {
    /// The session's lock, held for as long as the owner lives. `None` when another process had it for the
    /// moment.
    pub _lock: Option<OwnedFd>,
    /// The kernel programs' debug log, when it was asked for.
    pub log: Option<KernelLog>,
    /// Optional fields that this kernel does not have.
    pub missing: Vec<String>,
}

/// Loads the programs and pins everything of a session. On failure nothing is left. `left_out` is not
/// attached.
pub fn install(
    directory: &Directory,
    settings: &Settings,
    left_out: Option<ProgramName>,
) -> Result<Installed, KernelError> {
    let layout = Layout::of_running_kernel()?;
    match install_at(directory, settings, layout, left_out) {
        Ok((lock, log)) => Ok(Installed { _lock: lock, log, missing: layout.missing.clone() }),
        Err(error) => {
            let _ = pins::remove(directory, &directory.session(&settings.session));
            Err(error)
        }
    }
}

fn install_at(
    directory: &Directory,
    settings: &Settings,
    layout: &Layout,
    left_out: Option<ProgramName>,
) -> Result<(Option<OwnedFd>, Option<KernelLog>), KernelError> {
    let params = LoadParams::of(layout, settings.kernel_log)?;
    let path = directory.session(&settings.session);

    // The session's mark comes first, see `hook`. A session that finds the hook whole releases the lock
    // before the slow part: fifty sessions that begin at once would otherwise wait for each other's loading.
    // A session that has to load the hook keeps the lock until the hook is whole. One that does not get the
    // lock in time loads a hook of its own.
    let locked = directory.try_lock(bpffs::START_WAIT)?;
    bpffs::create_directory(&path)?;
    let lock = directory.own(&settings.session);
    if locked.is_none() && !lock.as_ref().is_some_and(|lock| directory.is_there(&settings.session, lock)) {
        return Err(KernelError::Refused {
            what: format!("making {}", path.display()),
            why: "another process takes it for a dead session's".to_owned(),
        });
    }
    let hook_path = if locked.is_some() { hook::path(directory) } else { hook::own_path(&path) };
    if locked.is_some() {
        bpffs::create_directory(&path.join(hook::mark()))?;
    } else {
        bpffs::create_directory(&hook_path)?;
    }
    if let Some(traces) = &settings.traces {
        pins::name_traces(&path, traces, settings.namespaces);
    }
    let with_hook = match &locked {
        None => true,
        Some(locked) => hook::prepare(locked)?,
    };
    // Held until the hook is whole.
    let locked = locked.filter(|_| with_hook);
    if !with_hook {
        hook::lower_threshold(&hook_path, settings.stall_threshold_ns)?;
    }
    let mut loader = params.loader();
    hook::share_maps(&mut loader, &hook_path);
    load::shrink(&mut loader, &names::WINDOW_MAPS);
    let mut ebpf = load::load_object(&mut loader)?;
    let programs = programs(layout, with_hook).filter(|name| Some(*name) != left_out);
    load_programs(&mut ebpf, &params.tracepoints, Some(&path), programs)?;
    if with_hook {
        hook::lower_threshold(&hook_path, settings.stall_threshold_ns)?;
        hook::install(&hook_path, program(&mut ebpf, names::ON_SWITCH)?)?;
    }
    drop(locked);
    for name in names::SESSION_MAPS {
        let map = ebpf.map(name).ok_or_else(|| not_in_object(name))?;
        map.pin(path.join(name)).map_err(|error| KernelError::of(format!("pinning {name}"), error))?;
    }
    let log = if settings.kernel_log { Some(KernelLog::of(&mut ebpf)?) } else { None };
    Ok((lock, log))
}

/// Loads and attaches all programs as a session would, and pins none of them: what was tried ends with this
/// process at the latest. Returns the optional fields that this kernel does not have.
pub fn try_out() -> Result<Vec<String>, KernelError> {
    let layout = Layout::of_running_kernel()?;
    let params = LoadParams::of(layout, false)?;
    let mut loader = params.loader();
    load::shrink(&mut loader, &names::WINDOW_MAPS);
    let mut ebpf = load::load_object(&mut loader)?;
    load_programs(&mut ebpf, &params.tracepoints, None, programs(layout, true))?;
    let what = || "attaching the hook on context switches".to_owned();
    let hook: &mut BtfTracePoint = program(&mut ebpf, names::ON_SWITCH)?;
    hook.attach().map_err(|error| KernelError::of(what(), error))?;
    Ok(layout.missing.clone())
}

/// The programs to load for a session on this kernel. The one that takes longest comes first.
fn programs(layout: &Layout, with_hook: bool) -> impl Iterator<Item = ProgramName> {
    let forks = if layout.maps_have_memory { names::ON_NEW } else { names::ON_FORK };
    let hook = with_hook.then_some(names::ON_SWITCH);
    hook.into_iter().chain([names::LOOK, names::FILL, forks]).chain(ATTACHED)
}

/// Loads the programs at the same time: the kernel verifies each for milliseconds, on as many CPUs as there
/// are. The session's own are also attached and, with a directory, pinned, the hook's only loaded (see
/// [`hook::install`]).
fn load_programs(
    ebpf: &mut Ebpf,
    tracepoints: &Btf,
    path: Option<&Path>,
    names: impl Iterator<Item = ProgramName>,
) -> Result<(), KernelError> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for name in names {
            let program = programs.remove(name.name).ok_or_else(|| not_in_object(name.name))?;
            let load = move || match name.hook.tracepoint() {
                Some(tracepoint) if name == names::ON_SWITCH => {
                    load_attachable(program, tracepoint, tracepoints).map(drop)
                }
                Some(tracepoint) => {
                    attach(program, tracepoint, tracepoints, path.map(|path| path.join(name.name)))
                }
                None => keep(program, name, path),
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

/// Loads a program for its tracepoint.
fn load_attachable<'a>(
    program: &'a mut Program,
    tracepoint: &str,
    tracepoints: &Btf,
) -> Result<&'a mut BtfTracePoint, KernelError> {
    let what = || format!("loading the program on {tracepoint}");
    let program: &mut BtfTracePoint = program.try_into().map_err(|error| KernelError::of(what(), error))?;
    program.load(tracepoint, tracepoints).map_err(|error| KernelError::of(what(), error))?;
    Ok(program)
}

/// Loads a program, attaches it and pins its link: it runs from here on, whatever becomes of this process.
/// Without a pin it runs as long as it is loaded.
fn attach(
    program: &mut Program,
    tracepoint: &str,
    tracepoints: &Btf,
    pin: Option<PathBuf>,
) -> Result<(), KernelError> {
    let what = || format!("attaching to {tracepoint}");
    let program = load_attachable(program, tracepoint, tracepoints)?;
    let id = program.attach().map_err(|error| KernelError::of(what(), error))?;
    let Some(pin) = pin else { return Ok(()) };
    let link: FdLink = program.take_link(id).map_err(|error| KernelError::of(what(), error))?.into();
    link.pin(pin).map(drop).map_err(|error| KernelError::of(what(), error))
}

/// Loads a program that is run on demand, and pins it in a directory.
fn keep(program: &mut Program, name: ProgramName, path: Option<&Path>) -> Result<(), KernelError> {
    let what = |verb: &str| format!("{verb} the program {}", name.name);
    let program: &mut RawTracePoint =
        program.try_into().map_err(|error| KernelError::of(what("loading"), error))?;
    program.load().map_err(|error| KernelError::of(what("loading"), error))?;
    let Some(path) = path else { return Ok(()) };
    program.pin(path.join(name.name)).map_err(|error| KernelError::of(what("pinning"), error))
}
