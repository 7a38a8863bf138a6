//! A file system in user space (FUSE) that stops to answer: it has one file, opens it, and never delivers its
//! content.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// The name of the file.
pub const FILE: &str = "file";

/// The mounted file system. Dropped, it answers everything with an error, and nobody waits any more.
pub struct MuteFs {
    place: tempfile::TempDir,
    end: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl MuteFs {
    /// Mounts it. `None` where that is not possible.
    pub fn mount() -> Option<Self> {
        let place = tempfile::tempdir().expect("a directory");
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty()).ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other\0", device.as_raw_fd());
        let target = std::ffi::CString::new(place.path().to_str().expect("text")).expect("no zero byte");
        // SAFETY: all pointers are to strings that end in a zero byte.
        let mounted = unsafe {
            libc::mount(c"mute".as_ptr(), target.as_ptr(), c"fuse".as_ptr(), 0, options.as_ptr().cast())
        };
        if mounted != 0 {
            return None;
        }
        let end = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&end);
        let server = std::thread::spawn(move || serve(&device, &ends));
        Some(Self { place, end, server: Some(server) })
    }

    /// The directory it is mounted on.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// The file whose content never comes.
    pub fn file(&self) -> PathBuf {
        self.place.path().join(FILE)
    }
}

impl Drop for MuteFs {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        // The server closes the device, which aborts all requests.
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        let _ = rustix::mount::unmount(self.place.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

fn serve(device: &OwnedFd, end: &AtomicBool) {
    let mut request = vec![0u8; 1 << 20];
    while !end.load(Ordering::Acquire) {
        let wait = Timespec::try_from(Duration::from_millis(20)).expect("short");
        let mut fds = [PollFd::new(device, PollFlags::IN)];
        if poll(&mut fds, Some(&wait)).unwrap_or(0) == 0 {
            continue;
        }
        let Ok(length) = rustix::io::read(device, &mut request) else { continue };
        if let Some(reply) = answer(&request[..length]) {
            let _ = rustix::io::write(device, &reply);
        }
    }
}

/// The answer to a request; `None` when there is none.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let u32_at = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
    let (opcode, unique, node) = (u32_at(4), u64_at(8), u64_at(16));
    let name = request[40..].strip_suffix(b"\0").unwrap_or_default();
    let body: Result<Vec<u8>, i32> = match opcode {
        FORGET | BATCH_FORGET | INTERRUPT | READ => return None,
        INIT => Ok(init()),
        LOOKUP if name == FILE.as_bytes() => {
            // Node, generation, validity of entry and attributes.
            let mut body: Vec<u8> = [2u64, 0, 0, 0, 0].iter().flat_map(|it| it.to_ne_bytes()).collect();
            body.extend(attributes(2));
            Ok(body)
        }
        LOOKUP => Err(libc::ENOENT),
        GETATTR => Ok([0u64, 0].iter().flat_map(|it| it.to_ne_bytes()).chain(attributes(node)).collect()),
        // FOPEN_KEEP_CACHE: an open that drops what is cached waits for the page that never comes.
        OPEN => Ok([0u32, 0, 2, 0].iter().flat_map(|it| it.to_ne_bytes()).collect()),
        OPENDIR => Ok(vec![0; 16]),
        RELEASE | RELEASEDIR => Ok(Vec::new()),
        STATFS => Ok(vec![0; 80]),
        _ => Err(libc::ENOSYS),
    };
    let (error, body) = match body {
        Ok(body) => (0, body),
        Err(errno) => (-errno, Vec::new()),
    };
    let mut reply = Vec::new();
    reply.extend((16 + body.len() as u32).to_ne_bytes());
    reply.extend(error.to_ne_bytes());
    reply.extend(unique.to_ne_bytes());
    reply.extend(body);
    Some(reply)
}

/// `struct fuse_init_out` of version 7.31.
fn init() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend([7u32, 31, 0, 0].iter().flat_map(|it| it.to_ne_bytes()));
    body.extend([16u16, 12].iter().flat_map(|it| it.to_ne_bytes()));
    body.extend([4096u32, 1].iter().flat_map(|it| it.to_ne_bytes()));
    body.resize(64, 0);
    body
}

/// `struct fuse_attr`: the root directory is 1, the file 2.
fn attributes(node: u64) -> Vec<u8> {
    let (mode, size) = if node == 1 { (0o40_755u32, 0u64) } else { (0o100_755, 4096) };
    let mut body: Vec<u8> = [node, size, 8, 0, 0, 0].iter().flat_map(|it| it.to_ne_bytes()).collect();
    body.extend([0u32, 0, 0, mode, 1, 0, 0, 0, 4096, 0].iter().flat_map(|it| it.to_ne_bytes()));
    body
}

/// Reports why it is not mounted.
pub fn last_error() -> io::Error {
    io::Error::last_os_error()
}
