//! The object's loader, and all that the programs are given when they are loaded.

use aya::{Btf, EbpfLoader, Endianness, VerifierLogLevel};
use tracer_ebpf::limits;
use tracer_ebpf::names;
use tracer_ebpf::offsets::Offsets;
use tracer_ebpf::wire::{LogLayout, SyscallAbi};
use zerocopy::IntoBytes as _;

use super::error::KernelError;
use super::layout::Layout;

/// What the programs are given: it lives as long as the loader that borrows it.
pub struct LoadParams {
    /// The kernel's tracepoints alone.
    pub tracepoints: Btf,
    offsets: Offsets,
    abi: SyscallAbi,
    log: LogLayout,
    log_level: u8,
}

impl LoadParams {
    /// On a kernel like this.
    pub fn of(layout: &Layout, kernel_log: bool) -> Result<Self, KernelError> {
        let tracepoints = Btf::parse(&layout.tracepoints, Endianness::Little)
            .map_err(|error| KernelError::of("reading the kernel's tracepoints", error))?;
        let cpus = aya::util::nr_cpus().map_or(1, |count| count.max(1)) as u32;
        Ok(Self {
            tracepoints,
            offsets: layout.offsets,
            abi: layout.abi,
            log: LogLayout { run: log_run(cpus) },
            log_level: if kernel_log { 4 } else { 0 },
        })
    }

    /// A loader that gives it to them.
    pub fn loader(&self) -> EbpfLoader<'_> {
        let mut loader: EbpfLoader<'_> = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, new_loader);
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
        });
        loader
            .btf(Some(&self.tracepoints))
            // The log of a refusal takes the verifier half a minute to write.
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global(names::OFFSETS, self.offsets.as_bytes(), true)
            .override_global(names::ABI, self.abi.as_bytes(), true)
            .override_global(names::LOG, self.log.as_bytes(), true)
            .override_global(names::DEBUG_LEVEL, &self.log_level, true);
        if self.log_level == 0 {
            loader.map_max_entries(names::DEBUG_LOG, rustix::param::page_size() as u32);
        }
        loader
    }
}

/// A loader without the kernel's type information: it reads and parses all of it when it is made, 30 ms of a start,
/// and is then given what little it needs. In a thread of its own whose root directory has no `/sys` it finds none;
/// where such a thread is not allowed it only takes longer.
fn new_loader() -> EbpfLoader<'static> {
    // SAFETY: this thread shares its root directory with no other from here on, and ends with this function.
    if unsafe { libc::unshare(libc::CLONE_FS) } == 0 {
        let _ = rustix::process::chroot("/sys");
    }
    EbpfLoader::new()
}

/// Records of the stall log that each CPU has: a power of two, so that a mask finds the place.
pub fn log_run(cpus: u32) -> u32 {
    (limits::STALL_LOG_RECORDS / cpus.next_power_of_two()).max(1)
}
