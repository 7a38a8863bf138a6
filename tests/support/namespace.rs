//! A mount namespace in which one file system is a test's own.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::child::TestChild;
use super::helper;

/// The namespace, held by a process of its own.
pub struct MountNamespace {
    holder: TestChild,
    file: File,
}

impl MountNamespace {
    /// Mounts an empty file system of this kind at a path. Needs root.
    #[track_caller]
    pub fn new(kind: &str, at: &str) -> Self {
        let mut holder = TestChild::with_pipes(helper::command("holds_namespace", &[kind, at]));
        assert_eq!(holder.line(), "open");
        let file = File::open(format!("/proc/{}/ns/mnt", holder.process().tgid)).expect("its namespace");
        Self { holder, file }
    }

    /// Makes a command run in the namespace.
    pub fn enter(&self, command: &mut Command) {
        let namespace = self.file.as_raw_fd();
        // SAFETY: between fork and exec one system call is made, on a descriptor that the child has.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace, libc::CLONE_NEWNS) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }

    /// The root directory of the namespace, as seen from outside.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder.process().tgid))
    }
}
