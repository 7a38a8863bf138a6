//! `cargo xtask dist`: what is given away: static binaries, archives, packages, and their digests.
//!
//! The binaries are linked with musl, so they run on any distribution of the same architecture. Everything
//! that depends on the date or the builder is left out of the archives: two builds of one commit with one
//! compiler make the same files.

mod arch;
mod files;
mod packages;
mod spdx;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::arch::{Arch, PROFILE};
use crate::build_ebpf::record::digest;
use crate::exec::{exec, output};
use crate::workspace::{cargo, root, target_dir};

/// The largest stripped binary that is given away, bytes.
const MAX_BINARY_BYTES: u64 = 12 << 20;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Build for this architecture only; may be repeated [default: this machine's]
    #[arg(long = "arch", value_enum)]
    archs: Vec<Arch>,
    /// Make no .deb and no .rpm
    #[arg(long)]
    no_packages: bool,
    /// Write the files to this directory [default: dist/ in Cargo's target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds, packs and prints the files with their sizes.
///
/// # Errors
/// When a tool is missing, something does not build, or a binary is too large or not static.
pub fn run(args: &Args) -> Result<()> {
    let native = Arch::native()?;
    let archs = if args.archs.is_empty() { vec![native] } else { args.archs.clone() };
    if !args.no_packages {
        packages::check_tools()?;
    }
    let out = args.out.clone().unwrap_or_else(|| target_dir().join("dist"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    // Pages and completions come from the tool itself, so one that runs here is needed in any case.
    let tool = build(native)?;
    let mut made = Vec::new();
    for arch in archs {
        let binary = if arch == native { tool.clone() } else { build(arch)? };
        made.extend(pack(arch, &binary, &tool, &out, !args.no_packages)?);
    }
    let mut sums = String::new();
    made.sort();
    for file in &made {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        sums.push_str(&format!("{}  {name}\n", digest(&bytes)));
        println!("{:>9.1} MiB  {}", bytes.len() as f64 / f64::from(1 << 20), file.display());
    }
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("cannot write {}", path.display()))
}

/// Builds the static binary with its line tables and returns its path.
fn build(arch: Arch) -> Result<PathBuf> {
    let target = arch.target();
    let variable = format!("CARGO_TARGET_{}", target.to_uppercase().replace('-', "_"));
    let flags = format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=. \
         --remap-path-prefix={}=cargo",
        root().display(),
        crate::workspace::cargo_home().display()
    );
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--package=tracer-user", "--bin=tracer-user"]);
    build.args(["--profile", PROFILE, "--target", &target]);
    // The compiler's own linker and start files are enough for musl: no C compiler of the target is needed.
    build.env(format!("{variable}_LINKER"), "rust-lld").env(format!("{variable}_RUSTFLAGS"), flags);
    exec(&mut build)
        .with_context(|| format!("`rustup target add {target}` installs its standard library"))?;
    Ok(arch.products().join("tracer-user"))
}

/// Packs one architecture. Returns the files.
fn pack(arch: Arch, binary: &Path, tool: &Path, out: &Path, with_packages: bool) -> Result<Vec<PathBuf>> {
    let name = format!("tracer-user-{}-{}-linux", arch::version(), arch.name());
    let share = arch.products().join("share");
    let stage = share.join(&name);
    if share.exists() {
        fs::remove_dir_all(&share).with_context(|| format!("cannot remove {}", share.display()))?;
    }
    fs::create_dir_all(&stage).with_context(|| format!("cannot make {}", stage.display()))?;

    let debug = out.join(format!("{name}.debug"));
    let stripped = stage.join("tracer-user");
    split(binary, &stripped, &debug)?;
    let bytes = fs::metadata(&stripped)?.len();
    if bytes > MAX_BINARY_BYTES {
        bail!("{} has {bytes} bytes, the limit is {MAX_BINARY_BYTES}", stripped.display());
    }
    files::check_static(&stripped)?;
    files::pages(tool, &stage.join("man"))?;
    files::completions(tool, &stage.join("completions"))?;
    files::texts(&stage)?;
    let packages_of_the_binary = spdx::document(&arch.target())?;
    fs::write(stage.join("tracer-user.spdx.json"), packages_of_the_binary)?;

    let mut made = vec![files::archive(&share, &name, out)?, debug];
    if with_packages {
        made.push(packages::deb(arch, &stage, out)?);
        made.push(packages::rpm(arch, &stage, out)?);
    }
    Ok(made)
}

/// Separates the line tables from the binary. A debugger finds them by the name in the stripped file.
fn split(binary: &Path, stripped: &Path, debug: &Path) -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    let bin = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-objcopy", std::env::consts::ARCH);
    let ours = Path::new(sysroot.trim()).join(bin);
    // The compiler's own objcopy knows all architectures. Distributions leave it out.
    let objcopy = if ours.exists() { ours } else { PathBuf::from("objcopy") };
    exec(Command::new(&objcopy).arg("--only-keep-debug").arg(binary).arg(debug))?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    exec(Command::new(&objcopy).arg("--strip-all").arg(link).arg(binary).arg(stripped))
}
