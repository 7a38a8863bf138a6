//! The installer: loads the programs of a new session, attaches and pins them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

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
    let hook_path = hook::path(directory);

    // The session's mark comes first, see `hook`. A session that finds the hook whole releases the lock
    // before the slow part: fifty sessions that begin at once would otherwise wait for each other's loading.
    // A session that has to load the hook keeps the lock until the hook is whole.
    let locked = directory.lock()?;
    bpffs::create_directory(&path)?;
    let lock = directory.own(&settings.session);
    bpffs::create_directory(&path.join(hook::mark()))?;
    if let Some(traces) = &settings.traces {
        pins::name_traces(&path, traces);
    }
    let unfinished = if hook::prepare(&locked)? {
        Some(locked)
    } else {
        hook::lower_threshold(&locked, &hook_path, settings.stall_threshold_ns)?;
        None
    };
    let mut loader = params.loader();
    hook::share_maps(&mut loader, &hook_path);
    load::shrink(&mut loader, &names::WINDOW_MAPS);
    let mut ebpf = load::load_object(&mut loader)?;
    let programs = programs(layout, unfinished.is_some()).filter(|name| Some(*name) != left_out);
    load_programs(&mut ebpf, &params.tracepoints, &path, programs)?;
    if let Some(locked) = unfinished {
        hook::lower_threshold(&locked, &hook_path, settings.stall_threshold_ns)?;
        hook::install(&locked, &hook_path, program(&mut ebpf, names::ON_SWITCH)?)?;
    }
    for name in names::SESSION_MAPS {
        let map = ebpf.map(name).ok_or_else(|| not_in_object(name))?;
        map.pin(path.join(name)).map_err(|error| KernelError::of(format!("pinning {name}"), error))?;
    }
    let log = if settings.kernel_log { Some(KernelLog::of(&mut ebpf)?) } else { None };
    Ok((lock, log))
}

/// The programs to load for a session on this kernel. The one that takes longest comes first.
fn programs(layout: &Layout, with_hook: bool) -> impl Iterator<Item = ProgramName> {
    let forks = if layout.maps_have_memory { names::ON_NEW } else { names::ON_FORK };
    let hook = with_hook.then_some(names::ON_SWITCH);
    hook.into_iter().chain([names::LOOK, names::FILL, forks]).chain(ATTACHED)
}

/// Loads the programs at the same time: the kernel verifies each for milliseconds, on as many CPUs as there
/// are. The session's own are also attached and pinned, the hook's only loaded (see [`hook::install`]).
fn load_programs(
    ebpf: &mut Ebpf,
    tracepoints: &Btf,
    path: &Path,
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
                Some(tracepoint) => attach(program, tracepoint, tracepoints, &path.join(name.name)),
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
fn attach(program: &mut Program, tracepoint: &str, tracepoints: &Btf, pin: &Path) -> Result<(), KernelError> {
    let what = || format!("attaching to {tracepoint}");
    let program = load_attachable(program, tracepoint, tracepoints)?;
    let id = program.attach().map_err(|error| KernelError::of(what(), error))?;
    let link: FdLink = program.take_link(id).map_err(|error| KernelError::of(what(), error))?.into();
    link.pin(pin).map(drop).map_err(|error| KernelError::of(what(), error))
}

/// Loads a program that is run on demand, and pins it.
fn keep(program: &mut Program, name: ProgramName, path: &Path) -> Result<(), KernelError> {
    let what = |verb: &str| format!("{verb} the program {}", name.name);
    let program: &mut RawTracePoint =
        program.try_into().map_err(|error| KernelError::of(what("loading"), error))?;
    program.load().map_err(|error| KernelError::of(what("loading"), error))?;
    program.pin(path.join(name.name)).map_err(|error| KernelError::of(what("pinning"), error))
}
