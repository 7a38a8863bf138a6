//! A `/proc` made of plain files, for states that no test can arrange on a live machine: a process that
//! vanishes between two reads, a file that may not be read, a mount that hides processes.
//!
//! A file that cannot be read is a directory here, because permissions do not stop root.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

/// Inode of the machine's first pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
pub const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// Inode of the network namespace of every process that is given no other.
pub const NETWORK_NAMESPACE: u64 = 4_026_531_840;

/// The directory. It is removed at the end.
pub struct FakeProc {
    directory: tempfile::TempDir,
}

impl FakeProc {
    /// A machine without processes, read from its first pid namespace. Its tables of sockets are empty.
    pub fn new() -> Self {
        let proc = Self { directory: tempfile::tempdir().expect("a directory") };
        proc.namespace("self", "pid", FIRST_PID_NAMESPACE).namespace("self", "net", NETWORK_NAMESPACE);
        for table in ["tcp", "udp", "unix"] {
            proc.file(&format!("thread-self/net/{table}"), "head\n");
        }
        proc.mounted_with("rw").file("sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
        proc
    }

    /// Its path, to be read from.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.place(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// Puts something in a file's place that can be opened and not read.
    pub fn unreadable(&self, name: &str) -> &Self {
        let path = self.place(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(path).expect("made");
        self
    }

    /// Removes a file, a directory or a process.
    pub fn remove(&self, name: &str) -> &Self {
        let path = self.path().join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// The options of the mount of this `/proc`, such as `rw,hidepid=invisible`.
    pub fn mounted_with(&self, options: &str) -> &Self {
        let line = format!("22 27 0:21 / {} rw,relatime - proc proc {options}\n", self.path().display());
        self.file("self/mountinfo", line)
    }

    fn namespace(&self, process: &str, kind: &str, inode: u64) -> &Self {
        self.link(&format!("{process}/ns/{kind}"), format!("{kind}:[{inode}]").as_bytes())
    }

    /// Makes a link.
    pub fn link(&self, name: &str, target: &[u8]) -> &Self {
        let path = self.place(name);
        let _ = fs::remove_file(&path);
        symlink(std::ffi::OsStr::from_bytes(target), path).expect("linked");
        self
    }

    /// The path of a file, in a directory that exists.
    fn place(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        path
    }
}

impl Default for FakeProc {
    fn default() -> Self {
        Self::new()
    }
}

/// A thread, as its `stat`, `status`, `syscall` and `wchan` show it.
#[derive(Clone, Debug)]
pub struct FakeThread {
    tid: u32,
    state: char,
    switches: u64,
    syscall: String,
    wchan: String,
}

impl FakeThread {
    /// A thread that sleeps in no system call.
    pub fn new(tid: u32) -> Self {
        let outside = "-1 0x7ffe0000 0x401000".to_owned();
        Self { tid, state: 'S', switches: 5, syscall: outside, wchan: "0".to_owned() }
    }

    /// Its state letter.
    pub fn state(mut self, state: char) -> Self {
        self.state = state;
        self
    }

    /// How often it went to sleep.
    pub fn switches(mut self, switches: u64) -> Self {
        self.switches = switches;
        self
    }

    /// The system call it sleeps in.
    pub fn syscall(mut self, number: u64, args: [u64; 6]) -> Self {
        let mut line = number.to_string();
        for arg in args {
            let _ = write!(line, " {arg:#x}");
        }
        self.syscall = line + " 0x7ffe0000 0x401000";
        self
    }

    /// The function of the kernel it sleeps in.
    pub fn wchan(mut self, wchan: &str) -> Self {
        self.wchan = wchan.to_owned();
        self
    }
}

/// A process that sleeps, with one thread, unless the test changes that. [`FakeProcess::write`] makes its
/// files.
#[derive(Clone, Debug)]
pub struct FakeProcess {
    pid: u32,
    comm: Vec<u8>,
    ppid: u32,
    session: u32,
    start_ticks: u64,
    cpu_ticks: u64,
    exit_code: u32,
    threads: Vec<FakeThread>,
    files: Vec<(String, Vec<u8>)>,
    links: Vec<(String, Vec<u8>)>,
    memory: Vec<(u64, Vec<u8>)>,
}

impl FakeProcess {
    /// A child of init that started at tick 1000.
    pub fn new(pid: u32) -> Self {
        let process = Self {
            pid,
            comm: b"fake".to_vec(),
            ppid: 1,
            session: pid,
            start_ticks: 1000,
            cpu_ticks: 0,
            exit_code: 0,
            threads: vec![FakeThread::new(pid)],
            files: Vec::new(),
            links: Vec::new(),
            memory: Vec::new(),
        };
        let process = process.namespace("pid", FIRST_PID_NAMESPACE).namespace("net", NETWORK_NAMESPACE);
        process.arguments(&[b"fake"]).file("environ", b"")
    }

    /// Its name: up to 15 bytes of any kind.
    pub fn comm(mut self, comm: &[u8]) -> Self {
        self.comm = comm.to_vec();
        self
    }

    /// Its parent.
    pub fn parent(mut self, ppid: u32) -> Self {
        self.ppid = ppid;
        self
    }

    /// Its login session.
    pub fn session(mut self, session: u32) -> Self {
        self.session = session;
        self
    }

    /// When it started, ticks since boot.
    pub fn start(mut self, ticks: u64) -> Self {
        self.start_ticks = ticks;
        self
    }

    /// Its CPU time, ticks.
    pub fn cpu(mut self, ticks: u64) -> Self {
        self.cpu_ticks = ticks;
        self
    }

    /// Its only thread's state letter.
    pub fn state(self, state: char) -> Self {
        let pid = self.pid;
        self.threads([FakeThread::new(pid).state(state)])
    }

    /// It has ended with a wait status and was not reaped.
    pub fn zombie(mut self, exit_code: u32) -> Self {
        self.exit_code = exit_code;
        self.state('Z')
    }

    /// Its threads; the leader's tid is the process's.
    pub fn threads(mut self, threads: impl IntoIterator<Item = FakeThread>) -> Self {
        self.threads = threads.into_iter().collect();
        self
    }

    /// Its arguments.
    pub fn arguments(self, words: &[&[u8]]) -> Self {
        let text: Vec<u8> = words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect();
        self.file("cmdline", &text)
    }

    /// A file of its own, by its name below the process's directory.
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// A link of its own: `cwd`, `exe`.
    pub fn link(mut self, name: &str, target: impl AsRef<[u8]>) -> Self {
        self.links.push((name.to_owned(), target.as_ref().to_vec()));
        self
    }

    /// An open descriptor: what its link shows, and its open flags.
    pub fn fd(self, number: u32, target: impl AsRef<[u8]>, flags: u32) -> Self {
        let info = format!("pos:\t0\nflags:\t0{flags:o}\nmnt_id:\t9\n");
        self.link(&format!("fd/{number}"), target).file(&format!("fdinfo/{number}"), info)
    }

    /// The namespace of a kind that it is in.
    pub fn namespace(self, kind: &str, inode: u64) -> Self {
        self.link(&format!("ns/{kind}"), format!("{kind}:[{inode}]"))
    }

    /// Bytes of its memory. Addresses are offsets in a file here: the file system limits them.
    pub fn memory(mut self, address: u64, bytes: &[u8]) -> Self {
        self.memory.push((address, bytes.to_vec()));
        self
    }

    /// Makes its files. What a process of this number had before is gone.
    pub fn write(&self, proc: &FakeProc) {
        let _ = fs::remove_dir_all(proc.path().join(self.pid.to_string()));
        let leader = self.threads.iter().find(|thread| thread.tid == self.pid);
        if let Some(leader) = leader {
            self.write_thread(proc, leader, &self.pid.to_string());
        }
        for thread in &self.threads {
            self.write_thread(proc, thread, &format!("{}/task/{}", self.pid, thread.tid));
        }
        // A leader that ended before its threads shows neither descriptors nor memory.
        let dead = leader.is_some_and(|leader| leader.state == 'Z');
        let living = self.threads.iter().find(|thread| thread.state != 'Z');
        let own = match living {
            Some(thread) if dead => format!("{}/task/{}", self.pid, thread.tid),
            _ => self.pid.to_string(),
        };
        for (name, target) in &self.links {
            proc.link(&format!("{own}/{name}"), target);
        }
        for (name, content) in &self.files {
            proc.file(&format!("{own}/{name}"), content);
        }
        for directory in ["fd", "fdinfo"] {
            fs::create_dir_all(proc.path().join(&own).join(directory)).expect("made");
        }
        if !self.memory.is_empty() {
            let file = fs::File::create(proc.place(&format!("{own}/mem"))).expect("made");
            for (address, bytes) in &self.memory {
                file.write_all_at(bytes, *address).expect("written");
            }
        }
    }

    fn write_thread(&self, proc: &FakeProc, thread: &FakeThread, place: &str) {
        let mut stat = format!("{} (", thread.tid).into_bytes();
        stat.extend_from_slice(&self.comm);
        let (state, ppid, session, cpu) = (thread.state, self.ppid, self.session, self.cpu_ticks);
        let (threads, start, exit) = (self.threads.len(), self.start_ticks, self.exit_code);
        // Fields 3 to 22, up to the exit code in field 52; proc_pid_stat(5).
        let fields = format!(
            ") {state} {ppid} {session} {session} 0 -1 0 0 0 0 0 {cpu} 0 0 0 20 0 {threads} 0 {start} {}{exit}\n",
            "0 ".repeat(29)
        );
        stat.extend_from_slice(fields.as_bytes());
        let status = format!(
            "Name:\tfake\nTracerPid:\t0\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t{tid}\nVmRSS:\t  12 kB\n\
             SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n\
             SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\nvoluntary_ctxt_switches:\t{switches}\n\
             nonvoluntary_ctxt_switches:\t0\n",
            tid = thread.tid,
            switches = thread.switches
        );
        let comm = [&self.comm[..], b"\n"].concat();
        proc.file(&format!("{place}/stat"), stat)
            .file(&format!("{place}/status"), status)
            .file(&format!("{place}/comm"), comm)
            .file(&format!("{place}/schedstat"), format!("{} 0 1\n", cpu * 10_000_000))
            .file(&format!("{place}/syscall"), &thread.syscall)
            .file(&format!("{place}/wchan"), &thread.wchan);
    }
}
