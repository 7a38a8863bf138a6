//! The layout of the running kernel: the offsets of the fields that the programs read, and what else depends
//! on the kernel.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::OnceLock;

use bytes::Bytes;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use tracer_ebpf::names;
use tracer_ebpf::offsets::{ABSENT, Ask, FIELDS, Offsets};
use tracer_ebpf::wire::SyscallAbi;

use super::{abi, btf::Btf, error::KernelError};

/// The kernel's type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What the loader needs to know of a kernel.
pub struct Layout {
    /// Offsets of fields.
    pub offsets: Offsets,
    /// How system calls are passed.
    pub abi: SyscallAbi,
    /// Optional fields that this kernel does not have.
    pub missing: Vec<String>,
    /// Type information with the tracepoints alone, for the loader.
    pub tracepoints: Vec<u8>,
    /// Whether hash maps grow from memory of their own (6.1 and later, `bpf_htab.ma`), so that entries can be
    /// added in a context in which no memory can be allocated.
    pub maps_have_memory: bool,
}

impl Layout {
    /// From a kernel's type information. `architecture` is a value of `std::env::consts::ARCH`.
    fn resolve(btf: &Btf, architecture: &str) -> Result<Self, KernelError> {
        let mut numbers = [ABSENT; FIELDS.len()];
        let mut missing = Vec::new();
        let mut of: (&str, Option<u32>) = ("", None);
        for (number, field) in numbers.iter_mut().zip(FIELDS) {
            // The fields of a struct follow each other in the table.
            if of.0 != field.of {
                of = (field.of, btf.struct_id(field.of));
            }
            let member = |path: &str| btf.member(of.1?, path);
            let (found, what) = match field.ask {
                Ask::Offset(paths) => {
                    let found = paths.iter().find_map(|path| member(path));
                    (found.map(|member| member.bit_offset / 8), format!("{}.{}", field.of, paths[0]))
                }
                Ask::BitOffset(path) => {
                    (member(path).map(|member| member.bit_offset), format!("{}.{path}", field.of))
                }
                Ask::Size => (of.1.and_then(|id| btf.struct_size(id)), format!("struct {}", field.of)),
            };
            match found {
                Some(found) => *number = found,
                None if field.needed => return Err(KernelError::MissingField(what)),
                None => missing.push(what),
            }
        }
        let tracepoints = || names::PROGRAMS.iter().filter_map(|program| program.hook.tracepoint());
        let typedef = |tracepoint: &str| format!("btf_trace_{tracepoint}");
        if let Some(name) = tracepoints().find(|name| btf.typedef_id(&typedef(name)).is_none()) {
            return Err(KernelError::MissingField(format!("tracepoint {name} with type information")));
        }
        let typedefs: BTreeSet<String> = tracepoints().map(typedef).collect();
        // 5.15 brought the helper and with it this typedef.
        let has_regs_helper = btf.typedef_id("btf_bpf_task_pt_regs").is_some();
        let maps = btf.struct_id("bpf_htab");
        Ok(Self {
            maps_have_memory: maps.is_some_and(|maps| btf.member(maps, "ma").is_some()),
            offsets: Offsets::from_array(numbers),
            abi: abi::resolve(btf, architecture, has_regs_helper)?,
            missing,
            tracepoints: btf.with_only_typedefs(&typedefs.iter().map(String::as_str).collect::<Vec<_>>()),
        })
    }

    /// Of the running kernel. Read once: it cannot change while this process runs.
    pub fn of_running_kernel() -> Result<&'static Self, KernelError> {
        static RUNNING: OnceLock<Layout> = OnceLock::new();
        match RUNNING.get() {
            Some(layout) => Ok(layout),
            None => {
                let layout = Self::from_file(Path::new(VMLINUX), std::env::consts::ARCH)?;
                Ok(RUNNING.get_or_init(|| layout))
            }
        }
    }

    /// Of the kernel whose type information is in a file.
    fn from_file(path: &Path, architecture: &str) -> Result<Self, KernelError> {
        let bytes = contents(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => KernelError::NoBtf(path.to_owned()),
            _ => KernelError::BadBtf { path: path.to_owned(), why: error.to_string() },
        })?;
        let btf = Btf::parse(bytes).map_err(|why| KernelError::BadBtf { path: path.to_owned(), why })?;
        Self::resolve(&btf, architecture)
    }
}

/// Contents of a file. The running kernel's type information can be mapped since 6.16, which saves copying
/// megabytes.
fn contents(path: &Path) -> std::io::Result<Bytes> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    if path == Path::new(VMLINUX)
        && let Ok(mapped) = Mapped::new(&file, length)
    {
        return Ok(Bytes::from_owner(mapped));
    }
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// A read-only mapping of [`VMLINUX`], which never changes.
struct Mapped {
    at: NonNull<u8>,
    length: usize,
}

// SAFETY: no thread writes to the mapping, and it belongs to this value alone.
unsafe impl Send for Mapped {}

impl Mapped {
    /// `file` has to be [`VMLINUX`]: any other file may change or shrink under the mapping.
    fn new(file: &File, length: usize) -> rustix::io::Result<Self> {
        // SAFETY: a new mapping. Nothing else is mapped there.
        let at = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        NonNull::new(at.cast()).map(|at| Self { at, length }).ok_or(rustix::io::Errno::NOMEM)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping made in `new`, which lives as long as this value and never changes.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, not used after this.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// The values that the loader would set in the programs on a kernel whose type information is in this file.
/// `architecture` is a value of `std::env::consts::ARCH`. The page size is this machine's.
///
/// # Errors
/// When the file cannot be read, or the kernel lacks a field that the programs need.
pub fn layout_of(btf: &Path, architecture: &str) -> Result<(Offsets, SyscallAbi), KernelError> {
    Layout::from_file(btf, architecture).map(|layout| (layout.offsets, layout.abi))
}
