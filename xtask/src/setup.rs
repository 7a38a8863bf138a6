//! `cargo xtask setup`: installs what this machine lacks to build the kernel programs.
//!
//! On Debian and Ubuntu it comes from the distribution, if its rustc is new enough and has `core` for the BPF
//! target; elsewhere from rustup. Building the tool needs none of it, because the built object is in the
//! repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::build_ebpf::toolchain::{self, minor_version};
use crate::exec::{exec, probe};
use crate::workspace::{as_root, cargo, rust_version};

/// Packages of the distribution's rustc and its prebuilt `core`, newest first.
const DISTRIBUTION: &[(&str, &str)] =
    &[("rustc-web", "libstd-rust-web-dev-bpf"), ("rustc", "libstd-rust-dev-bpf")];
/// The version of bpf-linker, and the LLVM majors that it has features for.
const BPF_LINKER: &str = "0.13.0";
const BPF_LINKER_LLVM: &[u32] = &[21, 22, 23];

/// Installs the BPF toolchain, unless it is already there.
///
/// # Errors
/// When a package is unavailable or a command fails.
pub fn run() -> Result<()> {
    if let Ok(toolchain) = toolchain::find(None) {
        println!("the kernel programs can be built here: {}", toolchain.versions);
        return Ok(());
    }
    if toolchain::nightly().is_none() && toolchain::distribution().is_none() {
        compiler()?;
    }
    let llvm =
        compiler_llvm().context("the compiler for the BPF target was installed but cannot be found")?;
    if toolchain::bpf_linker().is_none() {
        linker(llvm)?;
    }
    println!("the kernel programs can be built here: {}", toolchain::find(None)?.versions);
    Ok(())
}

fn compiler() -> Result<()> {
    if has_apt() {
        exec(as_root("apt-get").arg("update").arg("-q"))?;
        let fits = |&&(rustc, core): &&(&str, &str)| {
            candidate(rustc).and_then(|version| minor_version(&version)) >= minor_version(rust_version())
                && candidate(core).is_some()
        };
        if let Some((rustc, core)) = DISTRIBUTION.iter().find(fits) {
            return install(&[rustc, core]);
        }
    }
    if probe(Command::new("rustup").arg("--version")).is_none() {
        bail!(
            "no compiler for the BPF target is available: this distribution has no package that is new enough \
             ({}), and rustup (https://rustup.rs) is not installed",
            rust_version()
        );
    }
    exec(Command::new("rustup").args([
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]))
}

/// The LLVM major of the compiler. The linker's must not be older.
fn compiler_llvm() -> Option<u32> {
    let (rustc, ..) = toolchain::nightly().or_else(toolchain::distribution)?;
    let about = probe(Command::new(rustc).arg("-vV"))?;
    about.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.split('.').next()?.parse().ok()
}

fn linker(llvm: u32) -> Result<()> {
    let majors = BPF_LINKER_LLVM.iter().filter(|major| **major >= llvm);
    for major in majors {
        let prefix = format!("/usr/lib/llvm-{major}");
        let package = format!("llvm-{major}-dev");
        if !Path::new(&prefix).join("include/llvm-c").exists() {
            if !has_apt() || candidate(&package).is_none() {
                continue;
            }
            install(&[&package, "g++"])?;
        }
        let mut install = cargo();
        install.args(["install", "bpf-linker", "--locked", "--version", BPF_LINKER, "--no-default-features"]);
        install.arg("--features").arg(format!("llvm-{major}"));
        install.env("LLVM_PREFIX", &prefix).env(format!("LLVM_SYS_{major}1_PREFIX"), &prefix);
        return exec(&mut install);
    }
    if probe(cargo().args(["binstall", "-V"])).is_some() {
        return exec(cargo().args(["binstall", "--no-confirm", &format!("bpf-linker@{BPF_LINKER}")]));
    }
    bail!(
        "bpf-linker needs LLVM {llvm} or newer (llvm-{llvm}-dev), which this system does not offer; \
         `cargo binstall bpf-linker` installs a prebuilt one"
    )
}

fn has_apt() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release.lines().any(|line| {
        (line.starts_with("ID=") || line.starts_with("ID_LIKE="))
            && (line.contains("debian") || line.contains("ubuntu"))
    });
    debian && Path::new("/usr/bin/apt-get").exists()
}

/// The version that apt would install, if any.
fn candidate(package: &str) -> Option<String> {
    let policy = probe(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_string())
}

/// Installs packages of the distribution.
pub fn install(packages: &[&str]) -> Result<()> {
    let mut apt = as_root("env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "--no-install-recommends"]);
    exec(apt.args(packages))
}
