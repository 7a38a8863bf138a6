//! A process's file descriptors: which object each refers to, and how it was opened.

use std::io;

use rustix::fs::{AtFlags, FileType, StatxFlags, makedev, statx};

use super::fdinfo::{self, FdInfo};
use crate::core::evidence::{AnonKind, ByteString, Fd, ObjectId, PtySide};
use crate::procfs_view::mounts::Mounts;
use crate::procfs_view::proc_dir::{Decimal, ProcDir};

/// An fd, and what reading it showed beside the evidence's own fields.
#[derive(Clone, Debug)]
pub(crate) struct OpenFd {
    /// As the evidence has it. The object of a socket is [`ObjectId::Socket`] until its family is known.
    pub fd: Fd,
    pub info: FdInfo,
    /// Path of what has one, without the kernel's ` (deleted)`.
    pub path: Option<ByteString>,
    /// Its path was unlinked.
    pub deleted: bool,
    /// Type of the file system that it is on.
    pub filesystem: Option<ByteString>,
}

/// Reads fds, and keeps the tables and buffers that serve all processes.
#[derive(Debug, Default)]
pub(crate) struct FdReader {
    mounts: Mounts,
    text: Vec<u8>,
    link: Vec<u8>,
}

/// Longest link text: a path and ` (deleted)`.
const LINK_MAX: usize = 4096 + 16;
const DELETED: &[u8] = b" (deleted)";
/// File system type of POSIX message queues (ipc/mqueue.c).
const MQUEUE_MAGIC: u64 = 0x1980_0202;

impl FdReader {
    /// All fds of a process. `tty` is its controlling terminal, to which `/dev/tty` refers.
    pub(crate) fn table(&mut self, process: &ProcDir, tgid: u32, tty: u32) -> io::Result<Vec<OpenFd>> {
        let links = process.sub("fd")?;
        let infos = process.sub("fdinfo")?;
        self.link.resize(LINK_MAX, 0);
        let mut table = Vec::new();
        for number in links.numbers()? {
            let digits = Decimal::new(number);
            let link = match links.link(digits.as_str(), &mut self.link) {
                Ok(link) => link,
                // It was closed after the directory was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let info = infos.read(digits.as_str(), &mut self.text).map(fdinfo::parse).unwrap_or_default();
            let mut opened = OpenFd {
                fd: Fd {
                    number,
                    object: ObjectId::Unknown,
                    access: info.access(),
                    nonblocking: info.nonblocking(),
                    cloexec: info.cloexec(),
                    description: None,
                    locks: info.locks.clone(),
                },
                info,
                path: None,
                deleted: false,
                filesystem: None,
            };
            if link.starts_with(b"/") {
                self.path_object(&mut opened, link, process, &links, digits.as_str(), tty);
            } else {
                opened.fd.object = named_object(&link, &opened.info, tgid, number);
            }
            table.push(opened);
        }
        Ok(table)
    }

    /// An fd whose link is a path: file, FIFO, device, terminal, memfd, message queue.
    fn path_object(
        &mut self,
        opened: &mut OpenFd,
        mut path: Vec<u8>,
        process: &ProcDir,
        links: &ProcDir,
        digits: &str,
        tty: u32,
    ) {
        if path.ends_with(DELETED) {
            path.truncate(path.len() - DELETED.len());
            opened.deleted = true;
        }
        let mount = opened.info.mount.and_then(|id| self.mounts.find(id, process, &mut self.text));
        opened.filesystem = mount.map(|m| ByteString(m.kind.clone()));
        opened.path = Some(ByteString(path));
        if let Some(index) = opened.info.tty_index {
            opened.fd.object = ObjectId::Pty { index, side: PtySide::Master };
            return;
        }
        if let Some(mount) = mount
            && let Some(ino) = opened.info.ino
        {
            if mount.kind == b"mqueue" {
                opened.fd.object = ObjectId::MessageQueue { dev: mount.dev, ino };
                return;
            }
            if mount.may_hang() {
                opened.fd.object = ObjectId::File { dev: mount.dev, ino };
                return;
            }
        }
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let Ok(stat) = statx(links, digits, flags, StatxFlags::TYPE | StatxFlags::INO) else { return };
        // Locks and epoll name the device of the super block, which for some file systems is not the one stat
        // shows.
        let dev = mount.map_or(makedev(stat.stx_dev_major, stat.stx_dev_minor), |m| m.dev);
        let ino = stat.stx_ino;
        // A queue of mq_open is on the kernel's own mount, which no mountinfo lists.
        if mount.is_none() && links.filesystem(digits) == Some(MQUEUE_MAGIC) {
            opened.fd.object = ObjectId::MessageQueue { dev, ino };
            return;
        }
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        opened.fd.object = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Fifo => ObjectId::Fifo { dev, ino },
            FileType::CharacterDevice => {
                terminal(major, minor, tty).unwrap_or(ObjectId::Device { major, minor })
            }
            FileType::BlockDevice => ObjectId::Device { major, minor },
            FileType::RegularFile | FileType::Directory | FileType::Symlink => ObjectId::File { dev, ino },
            _ => ObjectId::Unknown,
        };
    }
}

/// The terminal that a character device is; `None` when it is none.
fn terminal(major: u32, minor: u32, controlling: u32) -> Option<ObjectId> {
    const TTYAUX: u32 = 5;
    match (major, minor) {
        // /dev/tty is the process's controlling terminal.
        (TTYAUX, 0) if controlling != 0 => {
            let (major, minor) = split_device(controlling);
            terminal(major, minor, 0)
        }
        (136..=143, minor) => Some(ObjectId::Pty { index: (major - 136) << 8 | minor, side: PtySide::Slave }),
        // Virtual consoles, serial lines (ttyS, ttyUSB, ttyACM, ttyAMA), hvc.
        (4 | 188 | 166 | 204 | 229, _) | (TTYAUX, 0 | 1) => Some(ObjectId::Tty { major, minor }),
        _ => None,
    }
}

/// Major and minor of a device number as `/proc/PID/stat` shows it (`new_encode_dev`,
/// include/linux/kdev_t.h).
pub(crate) fn split_device(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00))
}

/// An fd whose link is no path: `pipe:[1]`, `socket:[2]`, `anon_inode:[eventpoll]`.
fn named_object(link: &[u8], info: &FdInfo, tgid: u32, number: u32) -> ObjectId {
    let text = std::str::from_utf8(link).unwrap_or("");
    let Some((class, name)) = text.split_once(':') else { return ObjectId::Unknown };
    let ino = || name.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    // The kernel shows no number for the file of an anonymous inode: the fd itself is a number no other
    // process has.
    let own = u64::from(tgid) << 32 | u64::from(number);
    let kind = match class {
        "pipe" => return ino().map_or(ObjectId::Unknown, |ino| ObjectId::Pipe { ino }),
        "socket" => return ino().map_or(ObjectId::Unknown, |ino| ObjectId::Socket { ino }),
        "pidfd" => AnonKind::PidFd,
        "anon_inode" => match name.trim_start_matches('[').trim_end_matches(']') {
            "eventpoll" => AnonKind::Epoll,
            "eventfd" => AnonKind::EventFd,
            "timerfd" => AnonKind::TimerFd,
            "signalfd" => AnonKind::SignalFd,
            "pidfd" => AnonKind::PidFd,
            "inotify" => AnonKind::Inotify,
            "fanotify" => AnonKind::Fanotify,
            "io_uring" => AnonKind::IoUring,
            "userfaultfd" => AnonKind::UserFault,
            "seccomp notify" => AnonKind::SeccompNotify,
            _ => AnonKind::Other,
        },
        _ => return ObjectId::Unknown,
    };
    let id = match kind {
        AnonKind::EventFd => info.eventfd.and_then(|eventfd| eventfd.id).unwrap_or(own),
        _ => own,
    };
    ObjectId::Anon { kind, id }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::path::Path;

    use super::*;
    use crate::core::evidence::Access;

    #[test]
    fn kinds_of_own_fds() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let file = tempfile::tempfile().unwrap();
        let event = rustix::event::eventfd(3, rustix::event::EventfdFlags::empty()).unwrap();
        let own = ProcDir::open(Path::new("/proc/self")).unwrap();
        let table = FdReader::default().table(&own, std::process::id(), 0).unwrap();
        let find = |fd: i32| table.iter().find(|o| o.fd.number == fd as u32).unwrap();
        let (r, w) = (find(reader.as_raw_fd()), find(writer.as_raw_fd()));
        assert_eq!((r.fd.object, r.fd.access), (w.fd.object, Access::Read));
        assert!(matches!(r.fd.object, ObjectId::Pipe { .. }));
        assert_eq!(w.fd.access, Access::Write);
        let f = find(file.as_raw_fd());
        assert!(f.deleted && matches!(f.fd.object, ObjectId::File { .. }), "{f:?}");
        let e = find(event.as_raw_fd());
        assert!(matches!(e.fd.object, ObjectId::Anon { kind: AnonKind::EventFd, .. }));
        assert_eq!(e.info.eventfd.unwrap().count, 3);
    }

    #[test]
    fn link_texts() {
        let info = FdInfo::default();
        assert_eq!(named_object(b"pipe:[77]", &info, 1, 2), ObjectId::Pipe { ino: 77 });
        assert_eq!(named_object(b"socket:[x]", &info, 1, 2), ObjectId::Unknown);
        assert_eq!(named_object(b"net:[4026531840]", &info, 1, 2), ObjectId::Unknown);
        for (link, kind) in [
            (&b"anon_inode:[eventpoll]"[..], AnonKind::Epoll),
            (b"anon_inode:inotify", AnonKind::Inotify),
            (b"pidfd:[55]", AnonKind::PidFd),
            (b"anon_inode:bpf-map", AnonKind::Other),
        ] {
            assert_eq!(named_object(link, &info, 1, 2), ObjectId::Anon { kind, id: 1 << 32 | 2 });
        }
    }

    #[test]
    fn terminals_by_number() {
        assert_eq!(terminal(136, 3, 0), Some(ObjectId::Pty { index: 3, side: PtySide::Slave }));
        assert_eq!(terminal(5, 0, 136 << 8 | 9), Some(ObjectId::Pty { index: 9, side: PtySide::Slave }));
        assert_eq!(terminal(1, 3, 0), None);
    }
}
