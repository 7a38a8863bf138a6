//! How system calls are passed to the kernel, by architecture: the numbers of the calls that write, and the
//! members of `pt_regs` that hold number and arguments.

use tracer_ebpf::offsets::ABSENT;
use tracer_ebpf::wire::SyscallAbi;

use super::{btf::Btf, error::KernelError};
use crate::core::syscalls::{self, Architecture};

/// Bytes of a kernel stack (`THREAD_SIZE`) on both architectures with 4 KiB pages and without KASAN. Only
/// used on kernels without `bpf_task_pt_regs` (before 5.15).
const KERNEL_STACK_BYTES: u32 = 16 * 1024;

/// Members of `pt_regs`.
struct Registers {
    /// The call's number.
    number: &'static str,
    /// The first three arguments, as member and byte offset in it.
    arguments: [(&'static str, u32); 3],
}

fn registers(architecture: Architecture) -> Registers {
    match architecture {
        Architecture::X86_64 => Registers { number: "orig_ax", arguments: [("di", 0), ("si", 0), ("dx", 0)] },
        Architecture::Aarch64 => {
            Registers { number: "syscallno", arguments: [("orig_x0", 0), ("regs", 8), ("regs", 16)] }
        }
    }
}

/// Number of a call. [`ABSENT`], which no call has, where the architecture lacks it.
fn number(architecture: Architecture, name: &str) -> u32 {
    let number = syscalls::number(architecture, name);
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(ABSENT)
}

/// For a machine of this architecture (a value of `std::env::consts::ARCH`). `has_regs_helper`: the kernel
/// has `bpf_task_pt_regs`.
pub fn resolve(btf: &Btf, architecture: &str, has_regs_helper: bool) -> Result<SyscallAbi, KernelError> {
    let architecture = Architecture::named(architecture)
        .ok_or_else(|| KernelError::Architecture(architecture.to_owned()))?;
    let registers = registers(architecture);
    let pt_regs = btf.struct_id("pt_regs").ok_or_else(|| KernelError::MissingField("pt_regs".to_owned()))?;
    let member = |name: &str| {
        btf.member(pt_regs, name)
            .map(|member| member.bit_offset / 8)
            .ok_or_else(|| KernelError::MissingField(format!("pt_regs.{name}")))
    };
    let mut regs_args = [0; 3];
    for (offset, (name, within)) in regs_args.iter_mut().zip(registers.arguments) {
        *offset = member(name)? + within;
    }
    let moves @ [splice, tee, vmsplice, sendfile] =
        ["splice", "tee", "vmsplice", "sendfile"].map(|name| number(architecture, name));
    let mut write_calls = [0; 8];
    for number in syscalls::WRITES.map(|name| number(architecture, name)).into_iter().chain(moves) {
        if let Some(word) = write_calls.get_mut((number >> 6) as usize) {
            *word |= 1 << (number & 63);
        }
    }
    let regs_in_stack = if has_regs_helper {
        0
    } else {
        let size = btf.struct_size(pt_regs).ok_or_else(|| KernelError::MissingField("pt_regs".to_owned()))?;
        KERNEL_STACK_BYTES - size
    };
    Ok(SyscallAbi {
        write_calls,
        splice,
        tee,
        vmsplice,
        sendfile,
        regs_number: member(registers.number)?,
        regs_args,
        regs_in_stack,
        page_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(ABSENT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: [&str; 4] = ["splice", "tee", "vmsplice", "sendfile"];

    fn numbers(architecture: &str) -> Vec<u32> {
        let architecture = Architecture::named(architecture).unwrap();
        syscalls::WRITES.into_iter().chain(MOVES).map(|name| number(architecture, name)).collect()
    }

    #[test]
    fn this_machines_numbers_are_those_of_its_c_library() {
        let known = [
            libc::SYS_write,
            libc::SYS_pwrite64,
            libc::SYS_writev,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_sendmmsg,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_vmsplice,
            libc::SYS_sendfile,
        ];
        let numbers = numbers(std::env::consts::ARCH).into_iter().map(i64::from);
        assert_eq!(numbers.collect::<Vec<_>>(), known);
    }

    /// A kernel's type information with aarch64's `pt_regs` as its source has it: `union { struct
    /// user_pt_regs user_regs; struct { u64 regs[31]; … }; }; u64 orig_x0; s32 syscallno; …`, 336 bytes.
    fn pt_regs_of_aarch64() -> Btf {
        const STRUCT: u32 = 4 << 24;
        const UNION: u32 = 5 << 24;
        let strings = b"\0pt_regs\0regs\0orig_x0\0syscallno\0user_regs\0";
        let name = |text: &str| {
            let wanted = format!("\0{text}\0");
            strings.windows(wanted.len()).position(|at| at == wanted.as_bytes()).unwrap() as u32 + 1
        };
        let types = [
            &[0, 1 << 24, 8, 64][..],                               // 1: u64
            &[0, 3 << 24, 0, 1, 1, 31],                             // 2: u64[31]
            &[0, STRUCT | 1, 272, name("regs"), 2, 0],              // 3
            &[0, UNION | 2, 272, name("user_regs"), 3, 0, 0, 3, 0], // 4
            &[name("pt_regs"), STRUCT | 3, 336, 0, 4, 0],
            &[name("orig_x0"), 1, 2176, name("syscallno"), 1, 2240],
        ]
        .concat();
        let length = types.len() as u32 * 4;
        let header = [0x1_eb9f, 24, 0, length, length, strings.len() as u32];
        let words = header.into_iter().chain(types).flat_map(u32::to_le_bytes);
        Btf::parse(words.chain(*strings).collect::<Vec<u8>>().into()).unwrap()
    }

    #[test]
    fn registers_of_aarch64_are_found_in_its_pt_regs() {
        let abi = resolve(&pt_regs_of_aarch64(), "aarch64", true).unwrap();
        assert_eq!((abi.regs_number, abi.regs_args, abi.regs_in_stack), (280, [272, 8, 16], 0));
        assert_eq!(abi.write_calls[1] & 1, 1, "write is 64");
        assert_eq!(abi.write_calls.iter().map(|word| word.count_ones()).sum::<u32>(), 12);
        let old = resolve(&pt_regs_of_aarch64(), "aarch64", false).unwrap();
        assert_eq!(old.regs_in_stack, KERNEL_STACK_BYTES - 336);
        let of_another = resolve(&pt_regs_of_aarch64(), "x86_64", true).unwrap_err();
        assert!(of_another.to_string().contains("pt_regs.di"), "{of_another}");
    }

    /// Compares with the kernel's header of generic numbers, which are aarch64's. The header comes with the C
    /// library's.
    #[test]
    fn the_numbers_of_aarch64_are_the_generic_ones() {
        let Ok(header) = std::fs::read_to_string("/usr/include/asm-generic/unistd.h") else {
            println!("skipped: the C library's headers are not installed");
            return;
        };
        let generic = |call: &str| {
            let number = |prefix: &str| {
                let define = format!("#define __NR{prefix}_{call} ");
                header.lines().find_map(|line| line.strip_prefix(&define)?.trim().parse().ok())
            };
            // `sendfile` is one of two calls, by the word size, and has a number under this name only.
            number("").or_else(|| number("3264")).unwrap_or_else(|| panic!("{call} has no number"))
        };
        let known: Vec<u32> = syscalls::WRITES.into_iter().chain(MOVES).map(generic).collect();
        assert_eq!(numbers("aarch64"), known);
    }
}
