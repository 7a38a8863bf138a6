//! `doctor`: checks everything that the tracer needs, tries what can be tried, and leaves nothing behind.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::net::netlink::{CONNECTOR, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, getrlimit};

use super::options::Places;
use super::recover::{FateSource as _, Pinned};
use crate::core::requirements::{DoctorReport, KernelTrial, MachineFacts};
use crate::core::retention::RetentionPolicy;
use crate::kernel::KernelTracer;
use crate::procfs_view::machine::MachineView;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::pidfd::PidFd;
use crate::store::LogConfig;
use crate::store::fault;
use crate::store::trace_dir::{ResolveConfig, TraceDir};

/// The multicast group of the proc connector (`CN_IDX_PROC`).
const PROC_EVENTS: u32 = 1;

/// The options of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorOptions {
    /// Where sessions would be kept.
    pub places: Places,
    /// Do not try to load the kernel programs.
    pub no_kernel: bool,
}

/// Checks this machine.
pub fn check(options: &DoctorOptions) -> DoctorReport {
    DoctorReport::of(&findings(&MachineView::system(), options))
}

fn findings(machine: &MachineView, options: &DoctorOptions) -> MachineFacts {
    let uname = rustix::system::uname();
    let limit = getrlimit(Resource::Nofile);
    MachineFacts {
        kernel_release: uname.release().to_str().ok().map(str::to_owned),
        machine: uname.machine().to_str().ok().map(str::to_owned),
        proc_readable: machine.shows_processes(),
        btf: machine.btf_size().map(|size| size.map_err(|error| error.to_string())),
        lockdown: machine.lockdown(),
        uid: rustix::process::geteuid().as_raw(),
        capabilities: machine.capabilities(),
        initial_user_namespace: machine.in_initial_user_namespace(),
        initial_pid_namespace: machine.in_initial_pid_namespace(),
        bpffs_mounted: machine.has_bpffs(),
        kernel_events: (!options.no_kernel).then(try_kernel),
        collected_pins: (!options.no_kernel)
            .then(|| Pinned.abandoned(true).map_err(|error| error.to_string())),
        pidfd: PidFd::of_number(std::process::id()).map(drop).map_err(|error| error.to_string()),
        proc_connector: try_proc_connector().map_err(|error| error.to_string()),
        hidepid: machine.hidepid(),
        ptrace_scope: machine.sysctl("kernel/yama/ptrace_scope").and_then(|scope| scope.try_into().ok()),
        bpf_stats: machine.sysctl("kernel/bpf_stats_enabled").map(|on| on != 0),
        pipe_max_size: machine.sysctl("fs/pipe-max-size"),
        pipe_user_pages_soft: machine.sysctl("fs/pipe-user-pages-soft"),
        open_files: (limit.current, limit.maximum),
        trace_dir: trace_dir(&options.places),
        log_dir: log_dir(&options.places),
        fault_points: fault::points().map(|points| points.iter().map(ToString::to_string).collect()),
    }
}

/// Loads and attaches the programs as a session would. Nothing is pinned: what was tried ends with this
/// process, however that ends.
fn try_kernel() -> KernelTrial {
    match KernelTracer::try_out(table::own_namespaces(&ProcRoot::system())) {
        Ok(missing_fields) => KernelTrial::Worked { missing_fields },
        Err(error) => KernelTrial::Failed(error.to_string()),
    }
}

fn try_proc_connector() -> rustix::io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(CONNECTOR),
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, PROC_EVENTS))
}

fn trace_dir(places: &Places) -> Result<(String, bool), String> {
    let config = ResolveConfig::from_environment(places.trace_dir.clone());
    let directory = TraceDir::resolve(&config).map_err(|error| error.to_string())?;
    Ok((directory.path().display().to_string(), directory.warning().is_none()))
}

/// The directory of the log, if it could be created and written. It is not created here.
fn log_dir(places: &Places) -> Result<String, String> {
    let path = LogConfig::from_environment(places.log_dir.clone(), RetentionPolicy::default()).path;
    let there = nearest(&path);
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(CWD, &there, writable, AtFlags::EACCESS) {
        Ok(()) if there.is_dir() => Ok(path.display().to_string()),
        Ok(()) => Err(format!("{} is not a directory", there.display())),
        Err(error) => Err(format!("{}: {} cannot be written: {error}", path.display(), there.display())),
    }
}

/// The path itself, or the nearest directory above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/")).to_owned()
}
