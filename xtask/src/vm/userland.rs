//! The userland of a guest: busybox, the few programs that tests call, Python, and libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cpio::Archive;
use crate::exec::{output, probe};
use crate::setup;

const BUSYBOX: &str = "/bin/busybox";
/// Programs that tests use besides busybox, copied if this machine has them.
const PROGRAMS: &[&str] = &["/bin/bash", "/usr/bin/setsid", "/usr/bin/env"];

/// Adds the userland of this machine, with the libraries of the `built` programs.
///
/// # Errors
/// When busybox is unavailable or a file cannot be read.
pub fn of_this_machine(archive: &mut Archive, with_python: bool, built: &[&Path]) -> Result<()> {
    if !Path::new(BUSYBOX).exists() {
        setup::install(&["busybox-static"])?;
    }
    archive.file(BUSYBOX, 0o755, &fs::read(BUSYBOX)?);
    let own: Vec<&str> = PROGRAMS.iter().copied().filter(|program| Path::new(program).exists()).collect();
    link_applets(archive, |applet| own.iter().any(|own| same_name(own, applet)))?;
    let mut libraries = BTreeSet::new();
    for program in &own {
        archive.file(program, 0o755, &fs::read(program)?);
        archive.link(&other_place(program), program);
        libraries.extend(needed(Path::new(program))?);
    }
    if let Some(python) = Python::of_this_machine().filter(|_| with_python) {
        archive.file("usr/bin/python3", 0o755, &fs::read(&python.program)?);
        libraries.extend(needed(&python.program)?);
        add_below(archive, &python.modules)?;
        // Its modules in C need libraries as well.
        for module in fs::read_dir(python.modules.join("lib-dynload")).into_iter().flatten() {
            libraries.extend(needed(&module?.path())?);
        }
    }
    for program in built {
        libraries.extend(needed(program)?);
    }
    for library in libraries {
        archive.file(&library.to_string_lossy(), 0o755, &fs::read(&library)?);
    }
    Ok(())
}

/// The Debian packages of the userland of another machine.
pub const PACKAGES: [&str; 3] = ["busybox-static", "bash", "python3"];

/// Adds the userland of another machine: packages unpacked below `root`, without documentation.
///
/// # Errors
/// When a file cannot be read.
pub fn unpacked(archive: &mut Archive, root: &Path) -> Result<()> {
    for top in ["bin", "sbin", "lib", "usr/bin", "usr/sbin", "usr/lib"] {
        add_tree(archive, root, &root.join(top))?;
    }
    let has = |path: &str| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
    for program in ["/bin/bash", "/usr/bin/python3"] {
        archive.link(&other_place(program), program);
    }
    link_applets(archive, |applet| has(applet) || has(&other_place(applet)))
}

/// The second path of a program: `/bin` and `/usr/bin` are one directory on an installed system.
fn other_place(program: &str) -> String {
    program.strip_prefix("/usr").map_or_else(|| format!("/usr{program}"), String::from)
}

/// Adds links to busybox for all its applets, except for programs that exist. They are the same on every
/// machine.
fn link_applets(archive: &mut Archive, is_there: impl Fn(&str) -> bool) -> Result<()> {
    for applet in output(Command::new(BUSYBOX).arg("--list-full"))?.lines() {
        let path = format!("/{applet}");
        if path != BUSYBOX && !is_there(&path) {
            archive.link(&path, BUSYBOX);
        }
    }
    Ok(())
}

fn same_name(one: &str, other: &str) -> bool {
    Path::new(one).file_name() == Path::new(other).file_name()
}

/// The distribution's Python, which tests use for hanging programs, except in a quick run.
struct Python {
    program: PathBuf,
    modules: PathBuf,
}

impl Python {
    fn of_this_machine() -> Option<Self> {
        let ask = "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))";
        let paths = probe(Command::new("/usr/bin/python3").args(["-I", "-c", ask]))?;
        let mut lines = paths.lines().map(PathBuf::from);
        Some(Self { program: lines.next()?, modules: lines.next()? })
    }
}

/// The shared libraries of a program, including its loader; none when it is static.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(listed) = probe(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

/// Adds the files below a directory at the same paths. Links are followed.
pub fn add_below(archive: &mut Archive, directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_symlink() || are_pythons_tests(&path) {
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

/// Adds files and links below a directory, relative to `root`.
fn add_tree(archive: &mut Archive, root: &Path, directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry?.path();
        let found = path.symlink_metadata()?;
        let Ok(place) = path.strip_prefix(root) else { continue };
        let place = place.to_string_lossy();
        if found.is_symlink() {
            archive.link(&place, &fs::read_link(&path)?.to_string_lossy());
        } else if found.is_file() {
            archive.file(&place, found.permissions().mode() & 0o777, &fs::read(&path)?);
        } else if found.is_dir() && !are_pythons_tests(&path) {
            add_tree(archive, root, &path)?;
        }
    }
    Ok(())
}

/// Test suites, which are half of Python's library.
fn are_pythons_tests(directory: &Path) -> bool {
    directory.ends_with("test")
}
