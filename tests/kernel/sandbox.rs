//! A mount namespace with an empty BPF file system, and a directory, for the tracers of one test. Whatever is
//! found there was left by them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::TRACER;
use crate::support::helper::HELPER;
use crate::support::namespace::MountNamespace;
use crate::traced;

/// See the module.
pub struct TracerSandbox {
    namespace: MountNamespace,
    directory: tempfile::TempDir,
}

impl TracerSandbox {
    /// `None`: this machine has no kernel events and need not have them.
    pub fn open() -> Option<Self> {
        traced::Traced::start(traced::NO_STALLS)?.finish();
        let namespace = MountNamespace::new("bpf", "/sys/fs/bpf");
        let place = Some("/dev/shm").filter(|place| Path::new(place).is_dir());
        let directory = match place {
            Some(place) => tempfile::tempdir_in(place),
            None => tempfile::tempdir(),
        };
        let directory = directory.expect("a directory");
        for name in ["log", "live"] {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).expect("made");
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).expect("mode");
        }
        Some(Self { namespace, directory })
    }

    /// Makes a command run in here.
    pub fn inside(&self, mut command: Command) -> Command {
        self.namespace.enter(&mut command);
        command
    }

    /// The words of `tracer-user run` of a helper, with a session in here.
    pub fn run_words(&self, session: &str, helper: &str, words: &[&str]) -> Vec<String> {
        let at = |name: &str| self.directory().join(name).to_str().expect("text").to_owned();
        let (log, live) = (at("log"), at("live"));
        let options = [TRACER, "run", "--quiet", "--session-id", session, "--stall-threshold", "200ms"];
        let places = ["--log-dir", &log, "--trace-dir", &live, "--", HELPER, helper];
        options.iter().chain(&places).chain(words).map(|word| (*word).to_owned()).collect()
    }

    /// A helper under `tracer-user run`, in here.
    pub fn run(&self, session: &str, helper: &str, words: &[&str]) -> Command {
        let run = self.run_words(session, helper, words);
        let mut command = Command::new(&run[0]);
        command.args(&run[1..]);
        self.inside(command)
    }

    /// The tool with any arguments, in here.
    pub fn tracer(&self, words: &[&str]) -> Command {
        let mut command = Command::new(TRACER);
        command.args(words);
        self.inside(command)
    }

    /// The directory of the sessions' files: `live` and `log` are below it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The names in the BPF file system, as seen from outside.
    pub fn pins(&self) -> BTreeSet<String> {
        let root = self.namespace.root().join("sys/fs/bpf/tracer-user");
        match std::fs::read_dir(root) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(_) => BTreeSet::new(),
        }
    }

    /// Files in the trace directory.
    pub fn live_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.directory().join("live")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Checks that nothing of a tracer is left in the kernel or in the trace directory.
    #[track_caller]
    pub fn is_clean(&self, after: &str) {
        assert_eq!(self.pins(), BTreeSet::new(), "pins after {after}");
        let files = self.live_files();
        // A lock file stays.
        let sessions: Vec<_> =
            files.iter().filter(|path| !path.to_string_lossy().ends_with("lock")).collect();
        assert!(sessions.is_empty(), "files after {after}: {sessions:?}");
    }

    /// The files of a finished session.
    pub fn filed(&self, session: &str) -> Filed {
        let path = self.directory().join("log/sessions").join(session);
        let summary = std::fs::read(path.join("summary.json")).expect("the session is in the log");
        let events = std::fs::read_to_string(path.join("events.jsonl")).expect("with events");
        Filed {
            summary: serde_json::from_slice(&summary).unwrap(),
            events: events.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    }
}

/// A finished session's files.
pub struct Filed {
    /// `summary.json`.
    pub summary: Value,
    /// Lines of `events.jsonl`.
    pub events: Vec<Value>,
}

impl Filed {
    /// Pid and start of the processes in the session's lines of a kind.
    pub fn processes(&self, kind: &str) -> Vec<(u32, u64)> {
        let lines = self.events.iter().filter(|line| line["kind"] == kind);
        lines
            .map(|line| (line["pid"].as_u64().unwrap() as u32, line["start_ticks"].as_u64().unwrap()))
            .collect()
    }
}
