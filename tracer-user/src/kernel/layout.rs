//! Where the running kernel keeps what the programs read.

use std::path::Path;

use tracer_ebpf::offsets::{ABSENT, Ask, FIELDS, Offsets, SyscallAbi};

use super::{abi, btf::Btf, error::KernelError};

/// Where the kernel shows its type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The tracepoints that programs attach to.
pub const TRACEPOINTS: [&str; 5] =
    ["sched_process_fork", "sched_process_exec", "sched_process_exit", "signal_generate", "sched_switch"];

/// All that the programs are told about a kernel.
pub struct Layout {
    /// Fields.
    pub offsets: Offsets,
    /// System calls.
    pub abi: SyscallAbi,
    /// Fields this kernel does not have and that can be done without.
    pub missing: Vec<String>,
    /// Type information with the tracepoints alone, for the loader.
    pub tracepoints: Vec<u8>,
}

impl Layout {
    /// From a kernel's type information, for a machine of an architecture as `std::env::consts::ARCH` names it.
    fn resolve(btf: &Btf, architecture: &str) -> Result<Self, KernelError> {
        let mut numbers = [ABSENT; FIELDS.len()];
        let mut missing = Vec::new();
        for (number, field) in numbers.iter_mut().zip(FIELDS) {
            let (found, what) = match field.ask {
                Ask::Offset(paths) => {
                    let found = paths.iter().find_map(|path| btf.member(field.of, path));
                    (found.map(|member| member.bit_offset / 8), format!("{}.{}", field.of, paths[0]))
                }
                Ask::BitOffset(path) => (
                    btf.member(field.of, path).map(|member| member.bit_offset),
                    format!("{}.{path}", field.of),
                ),
                Ask::Size => (btf.struct_size(field.of), format!("struct {}", field.of)),
            };
            match found {
                Some(found) => *number = found,
                None if field.needed => return Err(KernelError::MissingField(what)),
                None => missing.push(what),
            }
        }
        for name in TRACEPOINTS {
            if btf.typedef_id(&format!("btf_trace_{name}")).is_none() {
                return Err(KernelError::MissingField(format!("tracepoint {name} with type information")));
            }
        }
        let typedefs = TRACEPOINTS.map(|name| format!("btf_trace_{name}"));
        // The helper came with its own BTF-typed prototype in 5.15, as did the enumerator in the helper list.
        let has_regs_helper = btf.typedef_id("btf_bpf_task_pt_regs").is_some();
        Ok(Self {
            offsets: Offsets::from_array(numbers),
            abi: abi::resolve(btf, architecture, has_regs_helper)?,
            missing,
            tracepoints: btf.with_only_typedefs(&typedefs.each_ref().map(String::as_str)),
        })
    }

    /// Of the running kernel.
    pub fn of_running_kernel() -> Result<Self, KernelError> {
        Self::from_file(Path::new(VMLINUX), std::env::consts::ARCH)
    }

    /// Of the kernel whose type information a file holds, as [`Self::resolve`].
    fn from_file(path: &Path, architecture: &str) -> Result<Self, KernelError> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => KernelError::NoBtf(path.to_owned()),
            _ => KernelError::BadBtf { path: path.to_owned(), why: error.to_string() },
        })?;
        let btf =
            Btf::parse(bytes.into()).map_err(|why| KernelError::BadBtf { path: path.to_owned(), why })?;
        Self::resolve(&btf, architecture)
    }
}

/// What the programs would be told on a kernel whose type information is in this file, on a machine of an architecture
/// as `std::env::consts::ARCH` names it. The page size is this machine's.
///
/// # Errors
/// When the file cannot be read, or the kernel lacks what the programs need: it is named.
pub fn layout_of(btf: &Path, architecture: &str) -> Result<(Offsets, SyscallAbi), KernelError> {
    Layout::from_file(btf, architecture).map(|layout| (layout.offsets, layout.abi))
}
