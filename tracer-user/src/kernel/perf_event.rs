//! A program on a perf event of the whole machine, for as long as a descriptor is open.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Where tracefs is mounted, if it is.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// `PERF_TYPE_TRACEPOINT` (`include/uapi/linux/perf_event.h`).
const TYPE_TRACEPOINT: u64 = 2;
/// `PERF_ATTR_SIZE_VER0`: the attributes of the first version.
const ATTR_BYTES: u64 = 64;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_SET_BPF`: `_IOW('$', 8, __u32)`.
const SET_PROGRAM: libc::Ioctl = 0x4004_2408;

/// Makes the kernel run the program on an event (`category/name`) of any process, until the descriptor is
/// closed.
///
/// One event is opened for it, on the first CPU: the kernel keeps the programs of a tracepoint, not of an
/// event, and runs them on every CPU. The event stays disabled, so that it makes no records.
pub fn attach(event: &str, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let id = id(event)?;
    // `struct perf_event_attr`: type and size, config, and zeros. Bit 0 of the sixth word is `disabled`.
    let attributes: [u64; ATTR_BYTES as usize / 8] =
        [TYPE_TRACEPOINT | ATTR_BYTES << 32, id, 0, 0, 0, 1, 0, 0];
    let (any_process, first_cpu, no_group): (libc::pid_t, libc::c_int, RawFd) = (-1, 0, -1);
    // SAFETY: the attributes are as long as their `size`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            any_process,
            first_cpu,
            no_group,
            CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which belongs to nothing else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: both descriptors are open, and the request takes a descriptor.
    if unsafe { libc::ioctl(fd.as_raw_fd(), SET_PROGRAM, program.as_raw_fd()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// The number of an event in this boot of the kernel.
fn id(event: &str) -> io::Result<u64> {
    let path = format!("events/{event}/id");
    let mounted = TRACEFS.iter().find_map(|tracefs| File::open(Path::new(tracefs).join(&path)).ok());
    let mut file = match mounted {
        Some(file) => file,
        None => {
            let tracefs = unmounted_tracefs()
                .map_err(|error| io::Error::new(error.kind(), format!("tracefs is not mounted: {error}")))?;
            openat(&tracefs, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into()
        }
    };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    text.trim().parse().map_err(io::Error::other)
}

/// tracefs in no directory of the machine: it ends with the descriptor.
fn unmounted_tracefs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}
