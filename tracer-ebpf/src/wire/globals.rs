//! Read-only globals of the programs, beside the [offsets](crate::offsets::Offsets). The loader sets them.

use super::record::record;

record! {
    /// How the machine passes system calls to the kernel: numbers and registers, by architecture.
    pub struct SyscallAbi: 104 {
        /// Bit n of word n / 64: system call n writes to a file descriptor and can sleep until there is room.
        0 => write_calls: [u64; 8],
        /// Number of `splice`.
        64 => splice: u32,
        /// Number of `tee`.
        68 => tee: u32,
        /// Number of `vmsplice`.
        72 => vmsplice: u32,
        /// Number of `sendfile`.
        76 => sendfile: u32,
        /// Offset in `pt_regs` of the system call number.
        80 => regs_number: u32,
        /// Offsets in `pt_regs` of the first three arguments.
        84 => regs_args: [u32; 3],
        /// Offset of `pt_regs` from the lowest address of the kernel stack, for kernels without
        /// `bpf_task_pt_regs` (before 5.15). 0: the kernel has that helper.
        96 => regs_in_stack: u32,
        /// Bytes of a page.
        100 => page_bytes: u32,
    }
}

record! {
    /// How the stall log is divided among the CPUs.
    pub struct LogLayout: 4 {
        /// Records of one CPU, a power of two.
        0 => run: u32,
    }
}
