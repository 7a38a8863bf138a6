//! What `/proc` and `/sys` show of the machine as a whole.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::mounts::{self, Mount};
use super::{ProcRoot, stat, table};
use crate::core::identity::INITIAL_PIDNS_INO;

/// The whole range of user ids, mapped to itself: the machine's first user namespace.
const INITIAL_UID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// Reads what concerns the whole machine. Nothing is cached.
#[derive(Clone, Debug)]
pub struct MachineView {
    proc: ProcRoot,
    sys: PathBuf,
}

impl MachineView {
    /// Of this machine's `/proc` and `/sys`.
    pub fn system() -> Self {
        Self::of(ProcRoot::system())
    }

    /// Of another `/proc`, and this machine's `/sys`.
    pub fn of(proc: ProcRoot) -> Self {
        Self { proc, sys: PathBuf::from("/sys") }
    }

    /// Of directories laid out like `/proc` and `/sys`.
    pub fn at(proc: impl Into<PathBuf>, sys: impl Into<PathBuf>) -> Self {
        Self { proc: ProcRoot::at(proc), sys: sys.into() }
    }

    fn proc_text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.proc.path().join(name)).ok()
    }

    /// Whether `/proc` shows processes.
    pub fn shows_processes(&self) -> bool {
        self.proc_text("self/stat").is_some_and(|text| !text.is_empty())
    }

    /// Whether `/proc` shows every process of the machine: it is that of the first pid namespace, and hides
    /// none.
    pub fn shows_every_process(&self) -> bool {
        self.in_initial_pid_namespace() == Some(true) && self.mounts().is_some() && self.hidepid().is_none()
    }

    /// Size of the kernel's type information, bytes. `None` when the kernel has none.
    pub fn btf_size(&self) -> Option<io::Result<u64>> {
        let path = self.sys.join("kernel/btf/vmlinux");
        match std::fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) => Some(Ok(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The lockdown mode: the word in brackets. `None` when the kernel has no lockdown.
    pub fn lockdown(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.sys.join("kernel/security/lockdown")).ok()?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    /// Effective capabilities of this process, a bit each. `None` when they cannot be read.
    pub fn capabilities(&self) -> Option<u64> {
        stat::status(self.proc_text("self/status")?.as_bytes()).capabilities
    }

    /// Whether this is the machine's first user namespace. `None` when that cannot be read.
    pub fn in_initial_user_namespace(&self) -> Option<bool> {
        let map = self.proc_text("self/uid_map")?;
        Some(map.split_whitespace().eq(INITIAL_UID_MAP))
    }

    /// Whether this is the machine's first pid namespace. `None` when that cannot be read.
    pub fn in_initial_pid_namespace(&self) -> Option<bool> {
        Some(table::own_namespaces(&self.proc).pid? == INITIAL_PIDNS_INO)
    }

    /// Whether the BPF file system is mounted where it belongs.
    pub fn has_bpffs(&self) -> bool {
        let place = self.sys.join("fs/bpf");
        self.mounts().iter().flatten().any(|mount| mount.kind == b"bpf" && mounted_at(mount, &place))
    }

    /// The `hidepid` mode of the mount of `/proc`. `None` when it hides nothing, or cannot be read.
    pub fn hidepid(&self) -> Option<String> {
        let mounts = self.mounts()?;
        let mount = mounts.iter().rfind(|mount| mounted_at(mount, self.proc.path()))?;
        let mode = mount.options.split(|b| *b == b',').find_map(|option| option.strip_prefix(b"hidepid="))?;
        let mode = String::from_utf8_lossy(mode).into_owned();
        (!matches!(mode.as_str(), "0" | "off")).then_some(mode)
    }

    /// A number in a file below `/proc/sys`.
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.proc_text(&format!("sys/{name}"))?.trim().parse().ok()
    }

    fn mounts(&self) -> Option<Vec<Mount>> {
        let text = std::fs::read(self.proc.path().join("self/mountinfo")).ok()?;
        Some(mounts::parse(&text).map(|(_, mount)| mount).collect())
    }
}

fn mounted_at(mount: &Mount, place: &Path) -> bool {
    Path::new(OsStr::from_bytes(&mount.point)) == place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, MachineView) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let machine = MachineView::at(directory.path().join("proc"), directory.path().join("sys"));
        (directory, machine)
    }

    #[test]
    fn what_is_there_is_read() {
        let (directory, machine) = machine(&[
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("proc/self/status", "Name:\tx\nCapEff:\t00000000000000ff\n"),
            ("proc/self/uid_map", "         0          0 4294967295\n"),
            ("proc/sys/fs/pipe-user-pages-soft", "16384\n"),
            ("sys/kernel/btf/vmlinux", "12345"),
        ]);
        assert_eq!(machine.lockdown().as_deref(), Some("integrity"));
        assert_eq!(machine.capabilities(), Some(0xff));
        assert_eq!(machine.in_initial_user_namespace(), Some(true));
        assert_eq!(machine.sysctl("fs/pipe-user-pages-soft"), Some(16384));
        assert_eq!(machine.btf_size().map(|size| size.expect("read")), Some(5));
        let mounts = format!(
            "22 27 0:21 / {0}/proc rw,relatime - proc proc rw,hidepid=invisible\n\
             23 27 0:22 / {0}/sys/fs/bpf rw - bpf bpf rw,mode=700\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("proc/self/mountinfo"), mounts).expect("written");
        assert_eq!(machine.hidepid().as_deref(), Some("invisible"));
        assert!(machine.has_bpffs());
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        let (_directory, machine) = machine(&[("proc/self/uid_map", "0 1000 1\n")]);
        assert!(!machine.shows_processes() && machine.btf_size().is_none() && machine.lockdown().is_none());
        assert_eq!(machine.in_initial_user_namespace(), Some(false));
        assert_eq!(machine.in_initial_pid_namespace(), None);
        assert!(!machine.has_bpffs() && machine.hidepid().is_none());
    }
}
