//! What differs by architecture: system call numbers, and which registers hold their arguments. One table.

use tracer_ebpf::offsets::{ABSENT, SyscallAbi};

use super::{btf::Btf, error::KernelError};

/// Bytes of a kernel stack (`THREAD_SIZE`) on both architectures with 4 KiB pages and without KASAN. Only
/// kernels without `bpf_task_pt_regs` (before 5.15) are read with it.
const KERNEL_STACK_BYTES: u32 = 16 * 1024;

/// An architecture.
struct Machine {
    name: &'static str,
    /// `pt_regs` members: number, and the first three arguments as member and byte offset in it.
    number: &'static str,
    arguments: [(&'static str, u32); 3],
    /// write, pwrite64, writev, pwritev, pwritev2, sendto, sendmsg, sendmmsg (`asm/unistd_64.h`).
    writes: [u32; 8],
    splice: u32,
    tee: u32,
    vmsplice: u32,
    sendfile: u32,
}

const MACHINES: [Machine; 2] = [
    Machine {
        name: "x86_64",
        number: "orig_ax",
        arguments: [("di", 0), ("si", 0), ("dx", 0)],
        writes: [1, 18, 20, 296, 328, 44, 46, 307],
        splice: 275,
        tee: 276,
        vmsplice: 278,
        sendfile: 40,
    },
    Machine {
        name: "aarch64",
        number: "syscallno",
        arguments: [("orig_x0", 0), ("regs", 8), ("regs", 16)],
        writes: [64, 68, 66, 70, 287, 206, 211, 269],
        splice: 76,
        tee: 77,
        vmsplice: 75,
        sendfile: 71,
    },
];

/// What the programs are told of this machine. `has_regs_helper`: the kernel knows `bpf_task_pt_regs`.
pub fn resolve(btf: &Btf, has_regs_helper: bool) -> Result<SyscallAbi, KernelError> {
    let architecture = std::env::consts::ARCH;
    let machine = MACHINES
        .iter()
        .find(|machine| machine.name == architecture)
        .ok_or(KernelError::Architecture(architecture))?;
    let member = |name: &str| {
        btf.member("pt_regs", name)
            .map(|member| member.bit_offset / 8)
            .ok_or_else(|| KernelError::MissingField(format!("pt_regs.{name}")))
    };
    let mut regs_args = [0; 3];
    for (offset, (name, within)) in regs_args.iter_mut().zip(machine.arguments) {
        *offset = member(name)? + within;
    }
    let mut write_calls = [0; 8];
    let moves = [machine.splice, machine.tee, machine.vmsplice, machine.sendfile];
    for number in machine.writes.into_iter().chain(moves) {
        write_calls[(number >> 6) as usize & 7] |= 1 << (number & 63);
    }
    let regs_in_stack = if has_regs_helper {
        0
    } else {
        let size =
            btf.struct_size("pt_regs").ok_or_else(|| KernelError::MissingField("pt_regs".to_owned()))?;
        KERNEL_STACK_BYTES - size
    };
    Ok(SyscallAbi {
        write_calls,
        splice: machine.splice,
        tee: machine.tee,
        vmsplice: machine.vmsplice,
        sendfile: machine.sendfile,
        regs_number: member(machine.number)?,
        regs_args,
        regs_in_stack,
        page_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(ABSENT),
    })
}
