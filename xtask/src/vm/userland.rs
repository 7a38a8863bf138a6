//! What a guest has beside what is tried in it: busybox, the few programs that tests call, Python, and libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cpio::Archive;
use crate::exec::{output, probe};
use crate::setup;

const BUSYBOX: &str = "/bin/busybox";
/// Programs beside busybox's that tests use, taken along where this machine has them.
const PROGRAMS: &[&str] = &["/bin/bash", "/usr/bin/setsid", "/usr/bin/env"];

/// Of this machine, with the libraries that the `built` programs need.
///
/// # Errors
/// When busybox cannot be had, or a file cannot be read.
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
        // Its modules in C bring libraries of their own.
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

/// Debian packages that are the userland of another machine's guests.
pub const PACKAGES: [&str; 3] = ["busybox-static", "bash", "python3"];

/// That of another machine: packages unpacked below `root`, without what is there for people to read.
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

/// Where scripts and tests look for a program as well: both places are one on an installed system.
fn other_place(program: &str) -> String {
    program.strip_prefix("/usr").map_or_else(|| format!("/usr{program}"), String::from)
}

/// Links to busybox for all it can be, but for what is there itself. They are the same on every machine.
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

/// The shared libraries a program is run with, its loader among them; none when it is static.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(listed) = probe(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

/// The files below a folder, where they are here. Links lead out of it.
pub fn add_below(archive: &mut Archive, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
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

/// Files and links below a folder, where they are below `root`.
fn add_tree(archive: &mut Archive, root: &Path, folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder).into_iter().flatten() {
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

/// They are half of it.
fn are_pythons_tests(folder: &Path) -> bool {
    folder.ends_with("test")
}
