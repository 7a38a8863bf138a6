//! The packages of distributions, made by `cargo deb` and `cargo generate-rpm`. What is in them is in
//! `tracer-user/Cargo.toml`; both take the files from the staged directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::arch::{Arch, PROFILE, version};
use crate::exec::{exec, probe};
use crate::workspace::{cargo, target_dir};

/// The tools, as sub-commands of cargo and as crates.
const TOOLS: [(&str, &str); 2] = [("deb", "cargo-deb"), ("generate-rpm", "cargo-generate-rpm")];

/// Fails when a tool is missing, before anything is built.
pub fn check_tools() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(verb, _)| probe(cargo().args([verb, "--help"])).is_none())
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing: `cargo install --locked {}` installs it; or use --no-packages", missing.join(" "))
}

/// Makes the .deb and returns its path.
pub fn deb(arch: Arch, stage: &Path, out: &Path) -> Result<PathBuf> {
    let assets = beside_the_products(arch, stage)?;
    let made = assets.join("tracer-user.deb");
    let mut deb = cargo();
    deb.args(["deb", "--quiet", "--no-build", "--no-strip", "--no-separate-debug-symbols"]);
    deb.args(["--package=tracer-user", "--profile", PROFILE, "--target", &arch.target(), "--output"]);
    exec(deb.arg(&made))?;
    renamed(&made, out, &format!("tracer-user_{}_{}.deb", version(), debian(arch)))
}

/// Makes the .rpm and returns its path.
pub fn rpm(arch: Arch, stage: &Path, out: &Path) -> Result<PathBuf> {
    let assets = beside_the_products(arch, stage)?;
    let made = assets.join("tracer-user.rpm");
    let mut rpm = cargo();
    rpm.args(["generate-rpm", "--package=tracer-user", "--auto-req=disabled", "--profile", PROFILE]);
    rpm.args(["--target", &arch.target(), "--arch", arch.name(), "--source-date=0"]);
    rpm.arg("--target-dir").arg(target_dir()).arg("--output").arg(&made);
    exec(&mut rpm)?;
    renamed(&made, out, &format!("tracer-user-{}-1.{}.rpm", version(), arch.name()))
}

/// Both tools look for files below the build products: the staged files go there, under a fixed name.
fn beside_the_products(arch: Arch, stage: &Path) -> Result<PathBuf> {
    let place = arch.products().join("packaged");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    copy(stage, &place)?;
    Ok(place)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot copy {}", target.display()))?;
        }
    }
    Ok(())
}

fn renamed(made: &Path, out: &Path, name: &str) -> Result<PathBuf> {
    let path = out.join(name);
    fs::copy(made, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The name of the architecture in Debian.
fn debian(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
    }
}
