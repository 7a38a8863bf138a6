//! The compiler and linker that build the kernel programs.
//!
//! Two kinds of toolchain have `core` for the BPF target: a nightly with `rust-src` (rustup), and the
//! distribution's rustc with its package of prebuilt `core`. The first one found is used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::object;
use super::versions::{CoreFrom, Versions};
use crate::exec::probe;
use crate::workspace::{cargo, cargo_home, root, rust_version};

/// A toolchain that can build the programs.
pub struct Toolchain {
    /// The versions that determine the generated code.
    pub versions: Versions,
    /// The sysroot of its rustc.
    pub sysroot: PathBuf,
    rustc: PathBuf,
}

impl Toolchain {
    /// A command for a cargo that compiles for the BPF target, in the root of the repository.
    pub fn cargo(&self) -> Command {
        match self.versions.core {
            CoreFrom::Distribution => {
                let mut cargo = cargo();
                // The BPF target is unstable: stable rustc accepts its linker only with RUSTC_BOOTSTRAP.
                cargo.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            CoreFrom::RustSrc => {
                let mut cargo = Command::new("rustup");
                cargo.current_dir(root()).args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
                cargo.env_remove("RUSTC").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
        }
    }
}

/// The toolchain of this machine; if there are several, the one that `preferred` describes.
///
/// # Errors
/// The missing part, with the command that installs it.
pub fn find(preferred: Option<&Versions>) -> Result<Toolchain> {
    let Some((bpf_linker, linker_llvm)) = bpf_linker() else {
        bail!("bpf-linker is not installed: `cargo xtask setup` installs it (`cargo install bpf-linker`)");
    };
    let make = |core, (rustc, version, sysroot): (PathBuf, String, PathBuf)| Toolchain {
        versions: Versions {
            rustc: version,
            core,
            bpf_linker: bpf_linker.clone(),
            linker_llvm: linker_llvm.clone(),
        },
        sysroot,
        rustc,
    };
    let mut found: Vec<Toolchain> =
        nightly().map(|rustc| make(CoreFrom::RustSrc, rustc)).into_iter().collect();
    found.extend(distribution().map(|rustc| make(CoreFrom::Distribution, rustc)));
    if let Some(at) = found.iter().position(|toolchain| Some(&toolchain.versions) == preferred) {
        return Ok(found.swap_remove(at));
    }
    match found.into_iter().next() {
        Some(toolchain) => Ok(toolchain),
        None => bail!(
            "no toolchain has `core` for the BPF target: `cargo xtask setup` installs one \
             (`rustup toolchain install nightly --component rust-src`, or on Debian and Ubuntu \
             `apt-get install rustc libstd-rust-dev-bpf`, in bookworm `rustc-web libstd-rust-web-dev-bpf`)"
        ),
    }
}

/// rustup's nightly, if it has the `rust-src` component: rustc, version, sysroot.
pub fn nightly() -> Option<(PathBuf, String, PathBuf)> {
    let run = |flags: &[&str]| {
        let mut rustc = Command::new("rustup");
        // No network access: asking for a missing toolchain must not install it.
        probe(rustc.env("RUSTUP_AUTO_INSTALL", "0").args(["run", "nightly", "rustc"]).args(flags))
    };
    let sysroot = PathBuf::from(run(&["--print", "sysroot"])?.trim());
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists().then_some(())?;
    Some((sysroot.join("bin/rustc"), run(&["--version"])?.trim().into(), sysroot))
}

/// The distribution's rustc, if it has a prebuilt `core` for the BPF target: rustc, version, sysroot.
pub fn distribution() -> Option<(PathBuf, String, PathBuf)> {
    distribution_rustcs().into_iter().find_map(|rustc| {
        let sysroot = PathBuf::from(probe(Command::new(&rustc).args(["--print", "sysroot"]))?.trim());
        let core = fs::read_dir(sysroot.join("lib/rustlib/bpfel-unknown-none/lib")).ok()?;
        core.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-")).then_some(())?;
        let version = probe(Command::new(&rustc).arg("--version"))?.trim().to_string();
        (minor_version(version.strip_prefix("rustc ")?) >= minor_version(rust_version())).then_some(())?;
        Some((rustc, version, sysroot))
    })
}

/// `/usr/bin/rustc` and the versioned ones that Ubuntu installs, newest first.
fn distribution_rustcs() -> Vec<PathBuf> {
    let versioned = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut versioned: Vec<PathBuf> = versioned
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rust-"))
        .map(|entry| entry.path().join("bin/rustc"))
        .collect();
    versioned.sort();
    versioned.push(PathBuf::from("/usr/bin/rustc"));
    versioned.into_iter().rev().filter(|rustc| rustc.exists()).collect()
}

/// The version of bpf-linker and its shared LLVM library, if any.
pub fn bpf_linker() -> Option<(String, Option<String>)> {
    let version = probe(Command::new("bpf-linker").arg("--version"))?.trim().to_string();
    let path = std::env::var_os("PATH")?;
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(cargo_home().join("bin"));
    let file = places.iter().map(|dir| dir.join("bpf-linker")).find(|file| file.exists());
    Some((version, file.as_deref().and_then(linked_llvm)))
}

fn linked_llvm(program: &Path) -> Option<String> {
    let libraries = object::needed_libraries(&fs::read(program).ok()?).ok()?;
    libraries.into_iter().find(|name| name.starts_with("libLLVM"))
}

/// Major and minor of a version such as `1.96.0+dfsg1-1`.
pub fn minor_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_packages_and_compilers_compare() {
        assert_eq!(minor_version("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(minor_version("1.95"), Some((1, 95)));
        assert!(minor_version("1.63.0") < minor_version("1.95"));
        assert_eq!(minor_version("unknown"), None);
    }
}
