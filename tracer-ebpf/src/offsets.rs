//! The kernel fields the programs read, by struct and member path.
//!
//! The loader looks each one up in the running kernel's BTF and sets the result as the read-only global
//! `OFFSETS`, which the verifier sees as constants. Nothing is read at a fixed offset. A field that a kernel
//! does not have is [`ABSENT`]. Where the programs work without it, [`Field::needed`] is false.

/// The offset of a field that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A question to BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Byte offset of the first of these member paths that exists.
    Offset(&'static [&'static str]),
    /// Bit offset of a bit field.
    BitOffset(&'static str),
    /// Size of the struct, bytes.
    Size,
}

/// A number that the programs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The member of [`Offsets`].
    pub name: &'static str,
    /// The kernel's struct.
    pub of: &'static str,
    /// The question about it.
    pub ask: Ask,
    /// Whether the programs do not work without it.
    pub needed: bool,
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident: $of:literal, $ask:expr, $needed:ident;)*) => {
        /// The numbers, in the order of [`FIELDS`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        pub struct Offsets { $($(#[$doc])* pub $name: u32,)* }

        /// How each member of [`Offsets`] is found.
        pub const FIELDS: &[Field] = &[
            $(Field { name: stringify!($name), of: $of, ask: $ask, needed: needed::$needed },)*
        ];

        impl Offsets {
            /// Every field absent.
            pub const NONE: Self = Self { $($name: ABSENT,)* };

            /// From one number per field, in the order of [`FIELDS`].
            pub fn from_array(numbers: [u32; FIELDS.len()]) -> Self {
                zerocopy::transmute!(numbers)
            }

            /// One number per field, in the order of [`FIELDS`].
            pub fn to_array(&self) -> [u32; FIELDS.len()] {
                zerocopy::transmute!(*self)
            }
        }
    };
}

mod needed {
    pub const NEEDED: bool = true;
    pub const OPTIONAL: bool = false;
}

use Ask::{BitOffset, Offset, Size};

offsets! {
    /// Scheduling state. Renamed in 5.14.
    task_state: "task_struct", Offset(&["__state", "state"]), NEEDED;
    /// `PF_*` bits.
    task_flags: "task_struct", Offset(&["flags"]), NEEDED;
    /// Thread id.
    task_pid: "task_struct", Offset(&["pid"]), NEEDED;
    /// Thread group id.
    task_tgid: "task_struct", Offset(&["tgid"]), NEEDED;
    /// Name, 16 bytes.
    task_comm: "task_struct", Offset(&["comm"]), NEEDED;
    /// Shared signal state of the thread group.
    task_signal: "task_struct", Offset(&["signal"]), NEEDED;
    /// Thread group leader.
    task_group_leader: "task_struct", Offset(&["group_leader"]), NEEDED;
    /// Parent, not the ptracer.
    task_real_parent: "task_struct", Offset(&["real_parent"]), NEEDED;
    /// The thread's own wait status.
    task_exit_code: "task_struct", Offset(&["exit_code"]), NEEDED;
    /// Start, nanoseconds of CLOCK_BOOTTIME. `real_start_time` before 5.5.
    task_start_boottime: "task_struct", Offset(&["start_boottime", "real_start_time"]), NEEDED;
    /// Its `struct pid`.
    task_thread_pid: "task_struct", Offset(&["thread_pid"]), OPTIONAL;
    /// Open files.
    task_files: "task_struct", Offset(&["files"]), NEEDED;
    /// Lowest address of the kernel stack.
    task_stack: "task_struct", Offset(&["stack"]), NEEDED;
    /// CPU time of the thread, nanoseconds.
    task_sum_exec_runtime: "task_struct", Offset(&["se.sum_exec_runtime"]), OPTIONAL;
    /// Number of times it went to sleep. Counted before the tracepoint `sched_switch`.
    task_nvcsw: "task_struct", Offset(&["nvcsw"]), NEEDED;
    /// Number of times it was preempted.
    task_nivcsw: "task_struct", Offset(&["nivcsw"]), NEEDED;
    /// Threads that have not begun to exit.
    signal_live: "signal_struct", Offset(&["live"]), NEEDED;
    /// `SIGNAL_*` bits.
    signal_flags: "signal_struct", Offset(&["flags"]), NEEDED;
    /// Wait status of the whole group, when a flag says so.
    signal_group_exit_code: "signal_struct", Offset(&["group_exit_code"]), NEEDED;
    /// Set for a victim of memory shortage.
    signal_oom_mm: "signal_struct", Offset(&["oom_mm"]), OPTIONAL;
    /// CPU time of the threads that were released, nanoseconds.
    signal_sum_sched_runtime: "signal_struct", Offset(&["sum_sched_runtime"]), OPTIONAL;
    /// Bit: the process inherits orphans below it.
    signal_is_child_subreaper: "signal_struct", BitOffset("is_child_subreaper"), OPTIONAL;
    /// Bit: an ancestor inherits orphans.
    signal_has_child_subreaper: "signal_struct", BitOffset("has_child_subreaper"), OPTIONAL;
    /// Depth of the pid namespace.
    pid_level: "pid", Offset(&["level"]), OPTIONAL;
    /// One `upid` per namespace.
    pid_numbers: "pid", Offset(&["numbers"]), OPTIONAL;
    /// Inode of its pidfds. 64 bits and unique from 6.14 on.
    pid_ino: "pid", Offset(&["ino"]), OPTIONAL;
    /// The number.
    upid_nr: "upid", Offset(&["nr"]), OPTIONAL;
    /// The namespace.
    upid_ns: "upid", Offset(&["ns"]), OPTIONAL;
    /// Distance of one `upid` from the next.
    upid_size: "upid", Size, OPTIONAL;
    /// Inode of a pid namespace.
    pidns_inum: "pid_namespace", Offset(&["ns.inum"]), OPTIONAL;
    /// Its init.
    pidns_child_reaper: "pid_namespace", Offset(&["child_reaper"]), OPTIONAL;
    /// The table in use.
    files_fdt: "files_struct", Offset(&["fdt"]), NEEDED;
    /// Its array of files.
    fdtable_fd: "fdtable", Offset(&["fd"]), NEEDED;
    /// Entries of that array.
    fdtable_max_fds: "fdtable", Offset(&["max_fds"]), NEEDED;
    /// The object behind the file: a pipe, a socket.
    file_private_data: "file", Offset(&["private_data"]), NEEDED;
    /// The inode.
    file_f_inode: "file", Offset(&["f_inode"]), NEEDED;
    /// `FMODE_*` bits.
    file_f_mode: "file", Offset(&["f_mode"]), NEEDED;
    /// Inode number.
    inode_i_ino: "inode", Offset(&["i_ino"]), NEEDED;
    /// Type and permissions.
    inode_i_mode: "inode", Offset(&["i_mode"]), NEEDED;
    /// Device of a device file.
    inode_i_rdev: "inode", Offset(&["i_rdev"]), NEEDED;
    /// The file system.
    inode_i_sb: "inode", Offset(&["i_sb"]), NEEDED;
    /// Its device.
    super_block_s_dev: "super_block", Offset(&["s_dev"]), NEEDED;
    /// Its magic number.
    super_block_s_magic: "super_block", Offset(&["s_magic"]), NEEDED;
    /// Buffers ever written. In an anonymous union from 6.14 on.
    pipe_head: "pipe_inode_info", Offset(&["head"]), NEEDED;
    /// Buffers ever read.
    pipe_tail: "pipe_inode_info", Offset(&["tail"]), NEEDED;
    /// Number of buffers that may be in use.
    pipe_max_usage: "pipe_inode_info", Offset(&["max_usage"]), NEEDED;
    /// Length of the ring, a power of two.
    pipe_ring_size: "pipe_inode_info", Offset(&["ring_size"]), NEEDED;
    /// Open read ends.
    pipe_readers: "pipe_inode_info", Offset(&["readers"]), NEEDED;
    /// Open write ends.
    pipe_writers: "pipe_inode_info", Offset(&["writers"]), NEEDED;
    /// The ring.
    pipe_bufs: "pipe_inode_info", Offset(&["bufs"]), NEEDED;
    /// Bytes in one buffer.
    pipe_buffer_len: "pipe_buffer", Offset(&["len"]), NEEDED;
    /// Distance of one buffer from the next.
    pipe_buffer_size: "pipe_buffer", Size, NEEDED;
    /// Socket type.
    socket_type: "socket", Offset(&["type"]), NEEDED;
    /// The protocol's part of a socket.
    socket_sk: "socket", Offset(&["sk"]), NEEDED;
    /// Address family.
    sock_family: "sock", Offset(&["__sk_common.skc_family"]), NEEDED;
    /// Most bytes it queues for sending.
    sock_sk_sndbuf: "sock", Offset(&["sk_sndbuf"]), OPTIONAL;
    /// One more than the bytes of packets under way or with the receiver, with their overhead in memory: a
    /// reference count, which a socket keeps above zero.
    sock_sk_wmem_alloc: "sock", Offset(&["sk_wmem_alloc"]), OPTIONAL;
    /// Bytes that a stream (TCP) holds until they are acknowledged. Zero in other sockets.
    sock_sk_wmem_queued: "sock", Offset(&["sk_wmem_queued"]), OPTIONAL;
    /// The `socket` that a file refers to. None before a connection is accepted.
    sock_sk_socket: "sock", Offset(&["sk_socket"]), OPTIONAL;
    /// The other end of a UNIX socket.
    unix_sock_peer: "unix_sock", Offset(&["peer"]), OPTIONAL;
    /// The inode that lies behind each `socket`, which is the struct's first member.
    socket_inode: "socket_alloc", Offset(&["vfs_inode"]), OPTIONAL;
    /// How a signal was sent.
    siginfo_si_code: "kernel_siginfo", Offset(&["si_code"]), OPTIONAL;
    /// Name of the executed file.
    binprm_filename: "linux_binprm", Offset(&["filename"]), OPTIONAL;
}
