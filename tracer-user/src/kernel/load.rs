//! The object's loader, and what the loader sets in the programs.

use aya::{Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel};
use tracer_ebpf::limits;
use tracer_ebpf::names;
use tracer_ebpf::offsets::Offsets;
use tracer_ebpf::wire::{LogLayout, SyscallAbi};
use zerocopy::IntoBytes as _;

use super::error::KernelError;
use super::layout::Layout;
use super::object;

/// Values of the programs' globals. Lives as long as the loader that borrows it.
pub struct LoadParams {
    /// Type information with the kernel's tracepoints alone.
    pub tracepoints: Btf,
    offsets: Offsets,
    abi: SyscallAbi,
    log: LogLayout,
    debug_level: u8,
}

impl LoadParams {
    /// For a kernel of this layout.
    pub fn of(layout: &Layout, kernel_log: bool) -> Result<Self, KernelError> {
        let tracepoints = Btf::parse(&layout.tracepoints, Endianness::Little)
            .map_err(|error| KernelError::of("reading the kernel's tracepoints", error))?;
        let cpus = aya::util::nr_cpus().map_or(1, |count| count.max(1)) as u32;
        Ok(Self {
            tracepoints,
            offsets: layout.offsets,
            abi: layout.abi,
            log: LogLayout { run: log_run(cpus) },
            debug_level: if kernel_log { 4 } else { 0 },
        })
    }

    /// A loader that sets the globals.
    pub fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = bare_loader();
        loader
            .btf(Some(&self.tracepoints))
            .override_global(names::OFFSETS, self.offsets.as_bytes(), true)
            .override_global(names::ABI, self.abi.as_bytes(), true)
            .override_global(names::LOG, self.log.as_bytes(), true)
            .override_global(names::DEBUG_LEVEL, &self.debug_level, true);
        if self.debug_level == 0 {
            shrink(&mut loader, &[names::DEBUG_LOG]);
        }
        loader
    }
}

/// A loader that sets no global, for programs that read none.
///
/// `EbpfLoader::new` reads and parses all of `/sys/kernel/btf/vmlinux`, 30 ms of a start, and there is no
/// other constructor (<https://github.com/aya-rs/aya/issues/1172>). The little that the object needs is set
/// afterwards. So the loader is made in a thread whose root directory has no `/sys`, where it finds no such
/// file. Where such a thread is not allowed, the start only takes longer.
pub fn bare_loader<'a>() -> EbpfLoader<'a> {
    let mut loader: EbpfLoader<'a> = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, new_loader);
        thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
    });
    // After a refusal, the verifier needs half a minute to write its log.
    loader.verifier_log_level(VerifierLogLevel::DISABLE);
    loader
}

fn new_loader() -> EbpfLoader<'static> {
    // SAFETY: this thread shares its root directory with no other from here on, and ends with this function.
    if unsafe { libc::unshare(libc::CLONE_FS) } == 0 {
        let _ = rustix::process::chroot("/sys");
    }
    EbpfLoader::new()
}

/// Makes maps that are not used as small as they can be.
pub fn shrink<'a>(loader: &mut EbpfLoader<'a>, maps: &[&'a str]) {
    for name in maps {
        let is_ring = [names::EVENTS, names::DEBUG_LOG].contains(name);
        let entries = if is_ring { rustix::param::page_size() as u32 } else { 1 };
        loader.map_max_entries(name, entries);
    }
}

/// Makes the object's maps. No program is loaded yet.
pub fn load_object(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, KernelError> {
    loader.load(object::OBJECT).map_err(|error| KernelError::of("loading the kernel programs", error))
}

/// Records of the stall log that each CPU has: a power of two, so that a mask finds the entry.
pub fn log_run(cpus: u32) -> u32 {
    (limits::STALL_LOG_RECORDS / cpus.next_power_of_two()).max(1)
}
