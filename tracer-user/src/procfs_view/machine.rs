//! What `/proc` and `/sys` say of the machine as a whole, for `doctor`.

use std::io;
use std::path::{Path, PathBuf};

use super::ProcRoot;

/// The inode of the machine's first pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// The whole range of user ids, mapped to itself: the machine's first user namespace.
const INITIAL_UID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// Where to look.
#[derive(Clone, Debug)]
pub struct Machine {
    proc: ProcRoot,
    sys: PathBuf,
}

impl Machine {
    /// This machine.
    pub fn system() -> Self {
        Self { proc: ProcRoot::system(), sys: PathBuf::from("/sys") }
    }

    /// Directories laid out like `/proc` and `/sys`.
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

    /// Size of the kernel's type information, bytes. `None` without any.
    pub fn btf_size(&self) -> Option<io::Result<u64>> {
        let path = self.sys.join("kernel/btf/vmlinux");
        match std::fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) => Some(Ok(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The mode of lockdown: the word in brackets.
    pub fn lockdown(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.sys.join("kernel/security/lockdown")).ok()?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    /// Effective capabilities of this process, bit by number.
    pub fn capabilities(&self) -> Option<u64> {
        let status = self.proc_text("self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    /// Whether this is the machine's first user namespace.
    pub fn in_initial_user_namespace(&self) -> Option<bool> {
        let map = self.proc_text("self/uid_map")?;
        Some(map.split_whitespace().eq(INITIAL_UID_MAP))
    }

    /// Whether this is the machine's first pid namespace.
    pub fn in_initial_pid_namespace(&self) -> Option<bool> {
        let link = std::fs::read_link(self.proc.path().join("self/ns/pid")).ok()?;
        Some(link == Path::new(INITIAL_PID_NAMESPACE))
    }

    /// Whether the BPF file system is mounted where it belongs.
    pub fn has_bpffs(&self) -> bool {
        let place = self.sys.join("fs/bpf");
        self.mounts().any(|mount| mount.kind == "bpf" && Path::new(&mount.place) == place)
    }

    /// `hidepid` of the mount of `/proc`, unless it is off.
    pub fn hidepid(&self) -> Option<String> {
        let mount = self.mounts().filter(|mount| Path::new(&mount.place) == self.proc.path()).last()?;
        let mode = mount.options.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
        (!matches!(mode, "0" | "off")).then(|| mode.to_owned())
    }

    /// A number under `/proc/sys`.
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.proc_text(&format!("sys/{name}"))?.trim().parse().ok()
    }

    fn mounts(&self) -> impl Iterator<Item = Mount> + use<> {
        let text = self.proc_text("self/mountinfo").unwrap_or_default();
        let mounts: Vec<_> = text.lines().filter_map(Mount::parse).collect();
        mounts.into_iter()
    }
}

struct Mount {
    place: String,
    kind: String,
    /// Of the file system, not of the mount: `hidepid` is one.
    options: String,
}

impl Mount {
    /// A line of mountinfo; see proc_pid_mountinfo(5).
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        Some(Self {
            place: left.split(' ').nth(4)?.to_owned(),
            kind: right.next()?.to_owned(),
            options: right.nth(1)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let machine = Machine::at(directory.path().join("proc"), directory.path().join("sys"));
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
