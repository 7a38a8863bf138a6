//! Reads of kernel memory, at the offsets that the loader found.

use aya_ebpf::helpers::generated;
use tracer_ebpf::{
    limits::{COMM_BYTES, NS_PER_TICK},
    offsets::{ABSENT, Offsets},
    wire::{LogLayout, ProcessKey, SyscallAbi},
};

/// Offsets of the kernel's fields. Set by the loader.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::NONE;

/// How this machine passes system calls to the kernel. Set by the loader.
#[unsafe(no_mangle)]
pub static ABI: SyscallAbi = SyscallAbi {
    write_calls: [0; 8],
    splice: ABSENT,
    tee: ABSENT,
    vmsplice: ABSENT,
    sendfile: ABSENT,
    regs_number: 0,
    regs_args: [0; 3],
    regs_in_stack: 0,
    page_bytes: 4096,
};

/// How the stall log is divided among the CPUs. Set by the loader.
#[unsafe(no_mangle)]
pub static LOG: LogLayout = LogLayout { run: 8 };

/// Reads a member of [`OFFSETS`], [`ABI`] or [`LOG`], as the loader set it.
macro_rules! global {
    ($global:ident . $($member:tt)+) => {{
        // SAFETY: the static is initialized and valid for reads. Volatile, since the loader changes it after
        // the compiler has seen its value.
        unsafe { core::ptr::read_volatile(&raw const $crate::programs::read::$global.$($member)+) }
    }};
}
pub(crate) use global;

/// Reads a field in place, of a kernel object whose type the verifier knows.
macro_rules! direct {
    ($object:expr, $offset:ident: $type:ty) => {{
        let at = $crate::programs::read::global!(OFFSETS.$offset) as usize;
        // SAFETY: the verifier checks the access against the object's type, and a fault reads as zero.
        unsafe { core::ptr::read_volatile($object.cast::<u8>().add(at).cast::<$type>()) }
    }};
}
pub(crate) use direct;

/// Reads a field of a kernel object at an address of which the verifier knows nothing. Zero when it cannot be
/// read.
macro_rules! probe {
    ($object:expr, $offset:ident: $type:ty) => {
        $crate::programs::read::at::<$type>($object as u64, $crate::programs::read::global!(OFFSETS.$offset))
    };
}
pub(crate) use probe;

/// Reads a plain integer at `address + offset`. Zero when it cannot be read, or when the kernel has no such
/// field.
///
/// There is no branch on the result: the verifier follows each path through a program, and a program has
/// dozens of reads. The helper leaves zeros where it cannot read, which includes the addresses near zero.
#[inline(always)]
pub fn at<T: Copy + Default>(address: u64, offset: u32) -> T {
    let mut value = T::default();
    // The verifier knows the offset and follows one of the two paths.
    if offset != ABSENT {
        let from = (address + offset as u64) as *const _;
        // SAFETY: the destination is a local of this size, and the helper copies from any address.
        unsafe { generated::bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) };
    }
    value
}

/// Reads bit `bit` of the object. False when it cannot be read.
#[inline(always)]
pub fn bit(address: u64, bit: u32) -> bool {
    if bit == ABSENT {
        return false;
    }
    at::<u8>(address, bit / 8) & (1 << (bit % 8)) != 0
}

/// The task's comm, padded with NUL.
#[inline(always)]
pub fn comm(task: u64) -> [u8; COMM_BYTES] {
    probe!(task, task_comm: [u8; COMM_BYTES])
}

/// The process of a thread.
#[inline(always)]
pub fn process_key(task: u64) -> ProcessKey {
    let leader: u64 = probe!(task, task_group_leader: u64);
    ProcessKey { tgid: probe!(task, task_tgid: u32), zero: 0, start_ticks: start_ns(leader) / NS_PER_TICK }
}

/// Start of the task, nanoseconds of CLOCK_BOOTTIME.
#[inline(always)]
pub fn start_ns(task: u64) -> u64 {
    probe!(task, task_start_boottime: u64)
}

/// Whether the kernel has all fields that the look-up of a pid namespace needs.
#[inline(always)]
fn has_namespaces() -> bool {
    global!(OFFSETS.task_thread_pid) != ABSENT
        && global!(OFFSETS.pid_level) != ABSENT
        && global!(OFFSETS.pid_numbers) != ABSENT
        && global!(OFFSETS.upid_size) != ABSENT
        && global!(OFFSETS.upid_nr) != ABSENT
        && global!(OFFSETS.upid_ns) != ABSENT
}

/// Number of pid namespaces around the task's own. Zero when the kernel lacks the fields.
#[inline(always)]
pub fn namespace_level(task: u64) -> u32 {
    let pid: u64 = probe!(task, task_thread_pid: u64);
    probe!(pid, pid_level: u32)
}

/// A process in its own pid namespace. Zeros: unknown.
#[derive(Clone, Copy, Default)]
pub struct Inner {
    /// Address of the `struct pid_namespace`.
    pub namespace: u64,
    /// Inode of the namespace.
    pub pidns_ino: u64,
    /// The process's number in the namespace.
    pub ns_pid: u32,
    /// Inode of the process's pidfds.
    pub pidfd_ino: u64,
}

/// Looks up the task's own pid namespace and its number there.
#[inline(always)]
pub fn inner(task: u64) -> Inner {
    if !has_namespaces() {
        return Inner::default();
    }
    let pid: u64 = probe!(task, task_thread_pid: u64);
    let level: u32 = probe!(pid, pid_level: u32);
    // MAX_PID_NS_LEVEL is 32; the mask keeps a torn read harmless.
    let upid =
        pid + global!(OFFSETS.pid_numbers) as u64 + (level & 63) as u64 * global!(OFFSETS.upid_size) as u64;
    let namespace: u64 = probe!(upid, upid_ns: u64);
    Inner {
        namespace,
        pidns_ino: probe!(namespace, pidns_inum: u32) as u64,
        ns_pid: probe!(upid, upid_nr: u32),
        pidfd_ino: probe!(pid, pid_ino: u64),
    }
}
