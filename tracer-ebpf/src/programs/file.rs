//! The file of a blocked write, read from the kernel's own structures.

use tracer_ebpf::{
    limits::PIPE_BUFFERS,
    offsets::ABSENT,
    wire::{Inspection, NO_PEER, resource_kind},
};

use super::read::{self, global, probe};

const S_IFMT: u32 = 0o170000;
const S_IFIFO: u32 = 0o010000;
const S_IFSOCK: u32 = 0o140000;
const S_IFCHR: u32 = 0o020000;
const AF_UNIX: u16 = 1;
/// `PIPEFS_MAGIC` (`include/uapi/linux/magic.h`).
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// Address of the file behind a descriptor of the task. 0: none.
#[inline(always)]
pub fn of_fd(task: u64, fd: u32) -> u64 {
    let files: u64 = probe!(task, task_files: u64);
    let table: u64 = probe!(files, files_fdt: u64);
    if fd >= probe!(table, fdtable_max_fds: u32) {
        return 0;
    }
    let array: u64 = probe!(table, fdtable_fd: u64);
    read::at::<u64>(array + fd as u64 * 8, 0)
}

/// Whether the file is a pipe or FIFO without room. False for everything else.
#[inline(always)]
pub fn is_full_pipe(file: u64) -> bool {
    if !is_pipe(file) {
        return false;
    }
    let pipe: u64 = probe!(file, file_private_data: u64);
    let used = probe!(pipe, pipe_head: u32).wrapping_sub(probe!(pipe, pipe_tail: u32));
    used >= probe!(pipe, pipe_max_usage: u32)
}

/// Whether the file is a pipe or FIFO with nothing in it.
#[inline(always)]
pub fn is_empty_pipe(file: u64) -> bool {
    if !is_pipe(file) {
        return false;
    }
    let pipe: u64 = probe!(file, file_private_data: u64);
    probe!(pipe, pipe_head: u32) == probe!(pipe, pipe_tail: u32)
}

/// Whether the file is a pipe or FIFO.
#[inline(always)]
pub fn is_pipe(file: u64) -> bool {
    mode(file) & S_IFMT == S_IFIFO
}

#[inline(always)]
fn mode(file: u64) -> u32 {
    let inode: u64 = probe!(file, file_f_inode: u64);
    probe!(inode, inode_i_mode: u16) as u32
}

/// Describes the file. A program of its own counts the bytes in a pipe, see [`pipe_bytes`].
#[inline(always)]
pub fn describe(file: u64, out: &mut Inspection) {
    out.file = file;
    out.f_mode = probe!(file, file_f_mode: u32);
    let inode: u64 = probe!(file, file_f_inode: u64);
    let super_block: u64 = probe!(inode, inode_i_sb: u64);
    let record = &mut out.record;
    record.inode = probe!(inode, inode_i_ino: u64);
    record.device = probe!(super_block, super_block_s_dev: u32);
    record.used_bytes = u64::MAX;
    match mode(file) & S_IFMT {
        S_IFIFO => {
            let pipe: u64 = probe!(file, file_private_data: u64);
            let head = probe!(pipe, pipe_head: u32);
            let tail = probe!(pipe, pipe_tail: u32);
            let slots = probe!(pipe, pipe_max_usage: u32);
            record.resource_kind = if probe!(super_block, super_block_s_magic: u64) == PIPEFS_MAGIC {
                resource_kind::PIPE
            } else {
                resource_kind::FIFO
            };
            record.slots = slots;
            record.slots_used = head.wrapping_sub(tail);
            record.capacity_bytes = slots as u64 * global!(ABI.page_bytes) as u64;
            record.readers = probe!(pipe, pipe_readers: u32);
            record.writers = probe!(pipe, pipe_writers: u32);
        }
        S_IFSOCK => {
            let socket: u64 = probe!(file, file_private_data: u64);
            let sock: u64 = probe!(socket, socket_sk: u64);
            let family = probe!(sock, sock_family: u16);
            record.resource_kind =
                if family == AF_UNIX { resource_kind::UNIX_SOCKET } else { resource_kind::SOCKET };
            record.socket = family as u32 | (probe!(socket, socket_type: u16) as u32) << 16;
            record.capacity_bytes = probe!(sock, sock_sk_sndbuf: u32) as u64;
            if global!(OFFSETS.sock_sk_wmem_alloc) != ABSENT {
                let under_way = probe!(sock, sock_sk_wmem_alloc: u32).saturating_sub(1);
                record.used_bytes = under_way.max(probe!(sock, sock_sk_wmem_queued: u32)) as u64;
            }
        }
        S_IFCHR => {
            record.device = probe!(inode, inode_i_rdev: u32);
            record.resource_kind =
                if is_tty(record.device >> 20) { resource_kind::TTY } else { resource_kind::OTHER };
        }
        _ => record.resource_kind = resource_kind::OTHER,
    }
}

/// Inode of the socket at the other end of a UNIX socket, see [`Inspection::unix_peer`].
#[inline(always)]
pub fn unix_peer(file: u64) -> u64 {
    if mode(file) & S_IFMT != S_IFSOCK || global!(OFFSETS.unix_sock_peer) == ABSENT {
        return 0;
    }
    let socket: u64 = probe!(file, file_private_data: u64);
    let sock: u64 = probe!(socket, socket_sk: u64);
    if probe!(sock, sock_family: u16) != AF_UNIX {
        return 0;
    }
    let peer: u64 = probe!(sock, unix_sock_peer: u64);
    if peer == 0 {
        return NO_PEER;
    }
    if global!(OFFSETS.sock_sk_socket) == ABSENT || global!(OFFSETS.socket_inode) == ABSENT {
        return 0;
    }
    let other: u64 = probe!(peer, sock_sk_socket: u64);
    if other == 0 {
        // The connection is not accepted yet: that end has no inode.
        return 0;
    }
    let inode: u64 = other + global!(OFFSETS.socket_inode) as u64;
    probe!(inode, inode_i_ino: u64)
}

/// Whether a character device of this major number is a terminal (`Documentation/admin-guide/devices.txt`):
/// consoles and serial lines, /dev/tty and ptmx, the old pty masters and slaves, UNIX 98 ptys, USB serial.
#[inline(always)]
fn is_tty(major: u32) -> bool {
    matches!(major, 2..=5 | 128..=143 | 166 | 188 | 204 | 229)
}

/// Bytes in [`PIPE_BUFFERS`] of a pipe's buffers, from the `first` on, counted from the oldest. 0 when there
/// are no more.
#[inline(always)]
pub fn pipe_bytes(file: u64, first: u32) -> u64 {
    if !is_pipe(file) {
        return 0;
    }
    let pipe: u64 = probe!(file, file_private_data: u64);
    let tail = probe!(pipe, pipe_tail: u32);
    let mask = probe!(pipe, pipe_ring_size: u32).wrapping_sub(1);
    let used = probe!(pipe, pipe_head: u32).wrapping_sub(tail);
    let lengths = probe!(pipe, pipe_bufs: u64) + global!(OFFSETS.pipe_buffer_len) as u64;
    let stride = global!(OFFSETS.pipe_buffer_size) as u64;
    let mut bytes = 0;
    // Always all rounds: after optimization the verifier cannot see the bound of a loop that may end early.
    for n in 0..PIPE_BUFFERS {
        let nth = first.wrapping_add(n);
        let index = tail.wrapping_add(nth) & mask;
        let length = read::at::<u32>(lengths + index as u64 * stride, 0);
        // 1 for a buffer in use, else 0: the sign of the difference, without a branch.
        bytes += length as u64 * ((nth as u64).wrapping_sub(used as u64) >> 63);
    }
    bytes
}
