//! Builds for another machine than this one, and fetches what its guests need from that machine's
//! distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::machine::Machine;
use super::userland;
use crate::build_ebpf::toolchain;
use crate::exec::probe;
use crate::setup;
use crate::workspace::{root, target_dir};

/// What is needed to build for a machine and to pack its guests.
pub struct Cross {
    machine: Machine,
    compiler: Compiler,
    userland: PathBuf,
}

/// The standard library for the machine.
enum Compiler {
    /// Part of the toolchain that builds everything here (`rustup target add`).
    Ours,
    /// Unpacked from the distribution, for its own compiler.
    Distributions { rustc: PathBuf, sysroot: PathBuf },
}

impl Cross {
    /// Fetches what is missing: a linker is installed, everything else goes into the cache.
    ///
    /// # Errors
    /// When something is unavailable.
    pub fn get(cache: &Path, machine: Machine) -> Result<Self> {
        if probe(Command::new(linker(machine)).arg("--version")).is_none() {
            let package = machine.cross_package();
            let libc = format!("libc6-dev-{}-cross", machine.debian());
            setup::install(&[&format!("gcc-{package}"), &libc])?;
        }
        Ok(Self {
            machine,
            compiler: compiler(cache, machine)?,
            userland: kept(cache, "userland", machine, fetch_userland)?,
        })
    }

    /// The directory with the userland of its guests.
    pub fn userland(&self) -> &Path {
        &self.userland
    }

    /// The name of its `strip`.
    pub fn strip(&self) -> String {
        format!("{}-strip", self.machine.gnu())
    }

    /// Makes a cargo command build for the machine.
    pub fn prepare(&self, cargo: &mut Command) {
        let target = self.machine.target();
        let variable =
            |name: &str| format!("CARGO_TARGET_{}_{name}", target.to_uppercase().replace('-', "_"));
        cargo.env("CARGO_BUILD_TARGET", &target).env(variable("LINKER"), linker(self.machine));
        if let Compiler::Distributions { rustc, sysroot } = &self.compiler {
            cargo.env("RUSTC", rustc).env("CARGO_TARGET_DIR", target_dir().join(self.machine.name()));
            // The flags apply to the target only: build scripts and macros are built for this machine.
            cargo.env(variable("RUSTFLAGS"), format!("--sysroot={}", sysroot.display()));
        }
    }
}

fn linker(machine: Machine) -> String {
    format!("{}-gcc", machine.gnu())
}

fn compiler(cache: &Path, machine: Machine) -> Result<Compiler> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut ask = Command::new(rustc);
    ask.current_dir(root()).args(["--print", "target-libdir", "--target", &machine.target()]);
    if probe(&mut ask).is_some_and(|directory| Path::new(directory.trim()).exists()) {
        return Ok(Compiler::Ours);
    }
    let Some((rustc, ..)) = toolchain::distribution() else {
        bail!(
            "the standard library for {0} is missing: `rustup target add {0}`, or on Debian the distribution's rustc, \
             which `cargo xtask setup` installs",
            machine.target()
        );
    };
    let ask = |arguments: [&str; 3], of: &Path| probe(Command::new("dpkg-query").args(arguments).arg(of));
    let owner = ask(["--no-pager", "-S", "--"], &rustc).context("no package has the distribution's rustc")?;
    let package = owner.split(':').next().unwrap_or("rustc");
    let version = ask(["--no-pager", "-W", "-f=${Version}"], Path::new(package));
    let version = version.with_context(|| format!("the version of {package} is not known"))?;
    let library = format!("lib{}-dev", package.replacen("rustc", "std-rust", 1));
    // Compiler and library must have the same version.
    let sysroot = kept(cache, &format!("{library}-{version}"), machine, |apt, directory| {
        apt.unpack(&[format!("{library}={version}")], directory)
    })?;
    let sysroot = sysroot.join("usr");
    if !sysroot.join("lib/rustlib").join(machine.target()).exists() {
        bail!("{library} for {} holds no standard library", machine.debian());
    }
    Ok(Compiler::Distributions { rustc, sysroot })
}

/// Fetches the packages of a userland and their dependencies from the suite of this system.
fn fetch_userland(apt: &Apt, directory: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release names no suite")?;
    apt.unpack(&apt.closure(suite, &userland::PACKAGES)?, directory)
}

/// A directory in the cache, filled on first use.
fn kept(
    cache: &Path,
    name: &str,
    machine: Machine,
    fill: impl FnOnce(&Apt, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = cache.join(name);
    if !directory.exists() {
        println!("fetching {name} for {}", machine.debian());
        // Incomplete content is not kept.
        let half = tempfile::tempdir_in(cache)?;
        fill(&Apt::open(cache, machine)?, half.path())?;
        fs::rename(half.keep(), &directory)?;
    }
    Ok(directory)
}
