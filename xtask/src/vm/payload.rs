//! The initial file system of the guests: busybox, the tool and its test programs with their libraries, and
//! an init that runs them.
//!
//! The programs are those that `cargo test` builds, at the same paths as on this machine, because the tests
//! contain the path at which cargo built the tool.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cases::Suites;
use super::cpio::Archive;
use super::cross::Cross;
use super::kernels::{Kernel, MODULES};
use super::machine::Machine;
use super::protocol::{BEGIN, END, LAST_LINE};
use super::userland;
use crate::exec::{exec, output};
use crate::workspace::{cargo, root};

/// Programs that the tests start.
const TOOLS: [&str; 2] = ["tracer-user", "test-helper"];

/// A built test program.
struct Program {
    path: PathBuf,
    directory: PathBuf,
}

/// Builds the tool and the test programs of a run, and packs the initial file system.
///
/// # Errors
/// When something does not build, or a part of the guests is unavailable.
pub fn make(
    suites: Suites,
    with_python: bool,
    kernels: &[Kernel],
    machine: Machine,
    cache: &Path,
) -> Result<Vec<u8>> {
    let cross = if machine == Machine::here() { None } else { Some(Cross::get(cache, machine)?) };
    let (programs, tools) = build(&suites, cross.as_ref())?;
    let mut archive = Archive::default();
    for directory in ["proc", "sys", "dev", "tmp", "run", "root", "var/log", "etc"] {
        archive.directory(directory);
    }
    archive.device("dev/console", 5, 1);
    archive.device("dev/null", 1, 3);
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    );
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    let built: Vec<&Path> = programs
        .values()
        .map(|program| program.path.as_path())
        .chain(tools.iter().map(PathBuf::as_path))
        .collect();
    match &cross {
        None => userland::of_this_machine(&mut archive, with_python, &built)?,
        Some(cross) => userland::unpacked(&mut archive, cross.userland())?,
    }
    let strip = cross.as_ref().map_or_else(|| "strip".into(), Cross::strip);
    for path in built {
        archive.file(&path.to_string_lossy(), 0o755, &stripped(&strip, path)?);
    }
    for kernel in kernels {
        for module in MODULES {
            let file = format!("{module}.ko");
            if let Ok(module) = fs::read(kernel.modules.join(&file)) {
                archive.file(&format!("modules/{}/{file}", kernel.release), 0o644, &module);
            }
        }
    }
    userland::add_below(&mut archive, &root().join("tests"))?;
    archive.file("init", 0o755, init(&suites, &programs, machine)?.as_bytes());
    for program in programs.values() {
        archive.directory(&program.directory.to_string_lossy());
    }
    Ok(archive.finish())
}

fn init(suites: &Suites, programs: &BTreeMap<String, Program>, machine: Machine) -> Result<String> {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TRACER_REQUIRE_BPF=1 RUST_BACKTRACE=1\n\
         mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/shm /dev/pts\n\
         ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devpts -o ptmxmode=0666 pts /dev/pts\n\
         mount -t tmpfs -o mode=1777 tmpfs /dev/shm\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t debugfs debug /sys/kernel/debug\n\
         mount -t tracefs trace /sys/kernel/tracing 2>/dev/null\n\
         mount -t cgroup2 cgroup /sys/fs/cgroup\n\
         ip link set lo up\n",
    );
    // A mount would hide test programs below these directories.
    let hides = |directory: &&&str| !programs.values().any(|program| program.path.starts_with(directory));
    for directory in ["/tmp", "/run"].iter().filter(hides) {
        script += &format!("mount -t tmpfs -o mode=1777 tmpfs {directory}\n");
    }
    script += &format!("stty raw -echo -F /dev/{}\n", machine.console());
    script += &format!(
        "for module in {}; do insmod /modules/$(uname -r)/$module.ko 2>/dev/null; done\n",
        MODULES.join(" ")
    );
    for (suite, tests) in suites {
        let (program, module) = suite.split_once("::").context("a suite is a module of a program")?;
        let Program { path, directory } = programs.get(program).context("not built")?;
        let (path, directory) = (path.display(), directory.display());
        let named: Vec<String> = tests.iter().map(|test| format!("{module}::{test}")).collect();
        let chosen =
            if named.is_empty() { format!("{module}::") } else { format!("--exact {}", named.join(" ")) };
        // The test program is not the session leader: a terminal opened by a leader becomes the controlling
        // terminal.
        script += &format!(
            "echo '{BEGIN}{suite}'\ncd {directory}\n\
             setsid sh -c '{path} --test-threads=2 {chosen}; exit $?' </dev/null 2>&1\n\
             echo \"{END}{suite} $? at $(cut -d' ' -f1 /proc/uptime) s\"\n"
        );
    }
    script += &format!("echo '{LAST_LINE}'\nsync\npoweroff -f\n");
    Ok(script)
}

/// Builds the test programs of the suites, by name, and [`TOOLS`].
fn build(suites: &Suites, cross: Option<&Cross>) -> Result<(BTreeMap<String, Program>, Vec<PathBuf>)> {
    let mut command = cargo();
    if let Some(cross) = cross {
        cross.prepare(&mut command);
    }
    command.args(["test", "--quiet", "--package=tracer-user", "--no-run", "--message-format=json"]);
    let wanted: BTreeSet<&str> =
        suites.iter().filter_map(|(suite, _)| Some(suite.split_once("::")?.0)).collect();
    command.args(wanted.iter().map(|program| format!("--test={program}")));
    let messages = output(&mut command)?;
    let mut built = BTreeMap::new();
    let mut tools = BTreeMap::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default().to_string();
        if message["profile"]["test"] == true {
            let directory = message["manifest_path"].as_str().map(Path::new).and_then(Path::parent);
            let directory = directory.context("a test has no package")?.to_path_buf();
            built.insert(name, Program { path, directory });
        } else if TOOLS.contains(&&*name) {
            tools.insert(name, path);
        }
    }
    for program in wanted {
        ensure!(built.contains_key(program), "cargo built no {program}");
    }
    for tool in TOOLS {
        ensure!(tools.contains_key(tool), "cargo built no {tool}");
    }
    Ok((built, tools.into_values().collect()))
}

/// A program without its symbols, because a guest's memory is small.
fn stripped(strip: &str, program: &Path) -> Result<Vec<u8>> {
    let smaller = tempfile::NamedTempFile::new()?;
    exec(Command::new(strip).arg("-o").arg(smaller.path()).arg(program))?;
    Ok(fs::read(smaller.path())?)
}
