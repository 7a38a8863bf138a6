//! What a guest holds: busybox, the tool and its test programs with the libraries they need, and an init that runs them.
//!
//! They are what `cargo test` builds anyway, and lie where they lie on this machine: tests know the tool by the path cargo
//! built it at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::cases::Programs;
use super::cpio::Archive;
use super::kernels::{Kernel, MODULES};
use super::qemu::LAST_LINE;
use crate::exec::{exec, output, probe};
use crate::setup;
use crate::workspace::{cargo, root};

const BUSYBOX: &str = "/bin/busybox";
/// Programs beside busybox's that tests use, taken along where this machine has them.
const PROGRAMS: &[&str] = &["/bin/bash", "/usr/bin/setsid", "/usr/bin/env"];

/// Before and after a test program's output on the console.
pub const BEGIN: &str = "@@ begin ";
pub const END: &str = "@@ end ";

/// A test program, and which of its tests are to be run; none means all.
struct Program {
    name: &'static str,
    tests: Vec<&'static str>,
    path: PathBuf,
    folder: PathBuf,
}

/// Builds the tool and the test programs of a run, and makes the initial file system.
///
/// # Errors
/// When something does not build, or busybox cannot be had.
pub fn make(programs: Programs, with_python: bool, kernels: &[Kernel]) -> Result<Vec<u8>> {
    if !Path::new(BUSYBOX).exists() {
        setup::install(&["busybox-static"])?;
    }
    let (programs, tool) = build(programs)?;
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "tmp", "run", "root", "var/log", "etc"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.device("dev/null", 1, 3);
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    );
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    archive.file(BUSYBOX, 0o755, &fs::read(BUSYBOX)?);
    let own: Vec<&str> = PROGRAMS.iter().copied().filter(|program| Path::new(program).exists()).collect();
    for applet in output(Command::new(BUSYBOX).arg("--list-full"))?.lines() {
        let path = format!("/{applet}");
        if path != BUSYBOX && !own.iter().any(|own| same_name(own, &path)) {
            archive.link(&path, BUSYBOX);
        }
    }
    let mut libraries = BTreeSet::new();
    for program in &own {
        archive.file(program, 0o755, &fs::read(program)?);
        // Scripts and tests look in both places, which are one on this machine.
        let other = program.strip_prefix("/usr").map_or_else(|| format!("/usr{program}"), String::from);
        archive.link(&other, program);
        libraries.extend(needed(Path::new(program))?);
    }
    if let Some(python) = Python::of_this_machine().filter(|_| with_python) {
        archive.file("usr/bin/python3", 0o755, &fs::read(&python.program)?);
        libraries.extend(needed(&python.program)?);
        add_below(&mut archive, &python.modules)?;
        // Its modules in C bring libraries of their own.
        for module in fs::read_dir(python.modules.join("lib-dynload")).into_iter().flatten() {
            libraries.extend(needed(&module?.path())?);
        }
    }
    for path in programs.iter().map(|program| &program.path).chain([&tool]) {
        archive.file(&path.to_string_lossy(), 0o755, &stripped(path)?);
        libraries.extend(needed(path)?);
    }
    for library in libraries {
        archive.file(&library.to_string_lossy(), 0o755, &fs::read(&library)?);
    }
    for kernel in kernels {
        for module in MODULES {
            let file = format!("{module}.ko");
            if let Ok(module) = fs::read(kernel.modules.join(&file)) {
                archive.file(&format!("modules/{}/{file}", kernel.release), 0o644, &module);
            }
        }
    }
    add_below(&mut archive, &root().join("tests"))?;
    archive.file("init", 0o755, init(&programs).as_bytes());
    for program in &programs {
        archive.folder(&program.folder.to_string_lossy());
    }
    Ok(archive.finish())
}

/// The distribution's Python: tests write their hanging programs in it, though none of a quick run.
struct Python {
    program: PathBuf,
    modules: PathBuf,
}

impl Python {
    fn of_this_machine() -> Option<Self> {
        let ask = "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))";
        let told = probe(Command::new("/usr/bin/python3").args(["-I", "-c", ask]))?;
        let mut lines = told.lines().map(PathBuf::from);
        Some(Self { program: lines.next()?, modules: lines.next()? })
    }
}

fn same_name(one: &str, other: &str) -> bool {
    Path::new(one).file_name() == Path::new(other).file_name()
}

fn init(programs: &[Program]) -> String {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TRACER_REQUIRE_BPF=1 RUST_BACKTRACE=1\n\
         mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/shm /dev/pts\n\
         ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devpts -o ptmxmode=0666 pts /dev/pts\n\
         for dir in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $dir; done\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t debugfs debug /sys/kernel/debug\n\
         mount -t tracefs trace /sys/kernel/tracing 2>/dev/null\n\
         mount -t cgroup2 cgroup /sys/fs/cgroup\n\
         ip link set lo up\n\
         stty raw -echo -F /dev/ttyS0\n",
    );
    script += &format!(
        "for module in {}; do insmod /modules/$(uname -r)/$module.ko 2>/dev/null; done\n",
        MODULES.join(" ")
    );
    for Program { name, tests, path, folder } in programs {
        let (path, folder) = (path.display(), folder.display());
        let exact = if tests.is_empty() { String::new() } else { format!(" --exact {}", tests.join(" ")) };
        // Not as the session's leader itself: a terminal that a leader opens becomes the session's.
        script += &format!(
            "echo '{BEGIN}{name}'\ncd {folder}\n\
             setsid sh -c '{path} --test-threads=2{exact}; exit $?' </dev/null 2>&1\n\
             echo \"{END}{name} $? at $(cut -d' ' -f1 /proc/uptime) s\"\n"
        );
    }
    script += &format!("echo '{LAST_LINE}'\nsync\npoweroff -f\n");
    script
}

/// Builds the test programs asked for, and the tool.
fn build(wanted: Programs) -> Result<(Vec<Program>, PathBuf)> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package=tracer-user", "--no-run", "--message-format=json"]);
    command.args(wanted.iter().map(|(program, _)| format!("--test={program}")));
    let messages = output(&mut command)?;
    let mut built = BTreeMap::new();
    let mut tool = None;
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default().to_string();
        if message["profile"]["test"] == true {
            let folder = message["manifest_path"].as_str().map(Path::new).and_then(Path::parent);
            built.insert(name, (path, folder.context("a test without a package")?.to_path_buf()));
        } else if name == "tracer-user" {
            tool = Some(path);
        }
    }
    let program = |(name, tests)| {
        let (path, folder) = built.remove(name).with_context(|| format!("cargo built no {name}"))?;
        Ok(Program { name, tests, path, folder })
    };
    let programs = wanted.into_iter().map(program).collect::<Result<_>>()?;
    Ok((programs, tool.context("cargo built no tracer-user")?))
}

/// A program without its symbols: a guest's memory is small.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let smaller = tempfile::NamedTempFile::new()?;
    exec(Command::new("strip").arg("-o").arg(smaller.path()).arg(program))?;
    Ok(fs::read(smaller.path())?)
}

/// The shared libraries a program is run with, its loader among them; none when it is static.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(listed) = probe(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

fn add_below(archive: &mut Archive, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Python's own tests are half of it; links lead out of it.
        if path.ends_with("test") || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            add_below(archive, &path)?;
        } else {
            let mode = if path.extension().is_none() { 0o755 } else { 0o644 };
            archive.file(&path.to_string_lossy(), mode, &fs::read(&path)?);
        }
    }
    Ok(())
}
