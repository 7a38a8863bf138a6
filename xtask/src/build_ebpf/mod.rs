//! `cargo xtask build-ebpf [--check]`: builds the object that is committed beside its sources and embedded in
//! the tool.
//!
//! Building the tool needs no BPF toolchain: the object is in the repository, with a record of what it was
//! made from. The build gives the same bytes in any directory: no path of the machine gets into the object,
//! and debug sections (but not BTF) are removed.

mod object;
pub mod record;
pub mod toolchain;
mod versions;

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::exec::exec;
use crate::workspace::{cargo_home, root, target_dir};
use record::Record;
use toolchain::Toolchain;

/// Cargo flags of the build. They are part of the digest, because another flag gives another object.
const CARGO_FLAGS: &[&str] = &[
    "--release",
    "--package=tracer-ebpf",
    "--bin=tracer-ebpf",
    "--target=bpfel-unknown-none",
    "--config=profile.release.panic='abort'",
    "--config=profile.release.lto=false",
    "--config=profile.release.codegen-units=1",
    "--config=profile.release.opt-level=3",
    "--config=profile.release.debug=2",
    "--config=profile.release.overflow-checks=false",
];
/// Flags for rustc, part of the digest as well. BTF is made from the debug information.
const RUST_FLAGS: &[&str] = &["-Clinker=bpf-linker", "-Clink-arg=--btf"];

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when the committed object is not what the sources give
    #[arg(long)]
    pub check: bool,
}

/// The committed object, relative to the root.
const OBJECT: &str = "tracer-ebpf/object/tracer.bpf.o";
/// The record of what it was built from, relative to the root.
const RECORD: &str = "tracer-ebpf/object/tracer.bpf.json";

/// Builds the object, or checks the committed one.
///
/// # Errors
/// When a part of the toolchain is missing (with the command that installs it), when the programs do not
/// build, or, with `--check`, when the committed object is not what the sources give.
pub fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { write() }
}

fn write() -> Result<()> {
    let toolchain = toolchain::find(None)?;
    let object = build(&toolchain)?;
    let record = Record::new(&object, record::source_digest(&flags())?, &toolchain.versions);
    fs::create_dir_all(root().join("tracer-ebpf/object"))?;
    fs::write(root().join(OBJECT), &object).with_context(|| format!("cannot write {OBJECT}"))?;
    fs::write(root().join(RECORD), record.to_json()?).with_context(|| format!("cannot write {RECORD}"))?;
    println!("{OBJECT}: {} bytes, built with {}", object.len(), toolchain.versions);
    Ok(())
}

/// Three comparisons, cheapest first: the sources with the recorded digest, the object with the recorded
/// digest, and, where there is a toolchain, the object with a fresh build. Another compiler may generate
/// other code, so with a toolchain other than the recorded one only the loader's view is compared: programs,
/// maps, globals, license.
fn check() -> Result<()> {
    let again = "run `cargo xtask build-ebpf`";
    let committed = fs::read(root().join(OBJECT)).with_context(|| format!("{OBJECT} is missing: {again}"))?;
    let text =
        fs::read_to_string(root().join(RECORD)).with_context(|| format!("{RECORD} is missing: {again}"))?;
    let record = Record::from_json(&text).with_context(|| format!("{RECORD} is damaged: {again}"))?;
    if record.sources_sha256 != record::source_digest(&flags())? {
        bail!("{OBJECT} was built from other sources: {again}");
    }
    if record.object_sha256 != record::digest(&committed) {
        bail!("{OBJECT} is not the object that {RECORD} describes: {again}");
    }
    let toolchain = match toolchain::find(Some(&record.toolchain)) {
        Ok(toolchain) => toolchain,
        Err(missing) if env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1") => {
            return Err(missing);
        }
        Err(missing) => {
            println!("{OBJECT}: the digests of sources and object match {RECORD}; not rebuilt: {missing:#}");
            return Ok(());
        }
    };
    let built = build(&toolchain)?;
    if toolchain.versions == record.toolchain {
        if built != committed {
            let kept = target_dir().join("ebpf/rebuilt.bpf.o");
            fs::write(&kept, &built)?;
            bail!(
                "{OBJECT} differs from what its sources give with the same toolchain ({}): {again}",
                object::difference(&committed, &built)?
            );
        }
        println!("{OBJECT}: rebuilt with {}, identical, {} bytes", toolchain.versions, built.len());
        return Ok(());
    }
    let (was, is) = (object::interface(&committed)?, object::interface(&built)?);
    if was != is {
        bail!(
            "{OBJECT} has other programs, maps or globals than its sources give: {was:#?} against {is:#?}: {again}"
        );
    }
    println!(
        "{OBJECT}: built with {}, here is {}; the digests match, and a rebuild has the same programs, maps, globals and license",
        record.toolchain, toolchain.versions
    );
    Ok(())
}

fn flags() -> Vec<&'static str> {
    CARGO_FLAGS.iter().chain(RUST_FLAGS).copied().collect()
}

/// Builds the object and removes its debug sections.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = target_dir().join("ebpf");
    let mut cargo = toolchain.cargo();
    cargo.arg("build").args(CARGO_FLAGS).arg("--target-dir").arg(&target);
    // The crates choose bindings by this machine's architecture unless this is set; one object serves all.
    cargo.env("AYA_BPF_TARGET_ARCH", "x86_64");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags(toolchain).join("\x1f"));
    cargo.env_remove("CARGO_CFG_BPF_TARGET_ARCH");
    for inherited in
        ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(inherited);
    }
    exec(&mut cargo)?;
    let linked = target.join("bpfel-unknown-none/release/tracer-ebpf");
    let bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let object = object::without_debug_sections(&bytes)?;
    let prefixes = [root(), cargo_home(), toolchain.sysroot.clone()];
    for prefix in prefixes.iter().filter(|prefix| prefix.components().count() > 2) {
        if object
            .windows(prefix.as_os_str().len())
            .any(|window| window == prefix.as_os_str().as_encoded_bytes())
        {
            bail!("the built object contains a path of this machine: {}", prefix.display());
        }
    }
    Ok(object)
}

fn rust_flags(toolchain: &Toolchain) -> Vec<String> {
    let registry = fs::read_dir(cargo_home().join("registry/src")).into_iter().flatten().flatten();
    let mut renamed: Vec<(PathBuf, String)> = vec![(root(), ".".into())];
    renamed.push((cargo_home(), "/cargo".into()));
    renamed.extend(registry.map(|entry| (entry.path(), "/registry".into())));
    renamed.push((toolchain.sysroot.join("lib/rustlib/src/rust"), "/rust".into()));
    let mut flags: Vec<String> = RUST_FLAGS.iter().map(ToString::to_string).collect();
    flags.extend(renamed.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    flags
}
