//! `cargo xtask build-ebpf [--check]`: the object that is committed beside its sources and embedded in the tool.
//!
//! Nobody who only builds the tool needs a BPF toolchain: the object is in the repository, and beside it a record
//! of what it was made from. The build gives the same bytes wherever the repository lies: no path of the machine
//! gets into the object, and debug sections (but not BTF) are left out.

mod object;
mod record;
pub mod toolchain;

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::exec::exec;
use crate::workspace::{cargo_home, root, target_dir};
use record::Record;
use toolchain::Toolchain;

/// How the object is built, on every machine. Part of the digest: another flag is another object.
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
/// Likewise, for rustc. BTF is made from the debug information.
const RUST_FLAGS: &[&str] = &["-Clinker=bpf-linker", "-Clink-arg=--btf"];

/// What can be asked of this task.
#[derive(clap::Args)]
pub struct Args {
    /// Writes nothing: fails when the committed object is not what the sources give
    #[arg(long)]
    pub check: bool,
}

/// The committed object, relative to the root.
const OBJECT: &str = "tracer-ebpf/object/tracer.bpf.o";
/// What it was built from.
const RECORD: &str = "tracer-ebpf/object/tracer.bpf.json";

/// Builds the object, or checks the committed one.
///
/// # Errors
/// When a piece of the toolchain is missing (named, with the command that gets it), when the programs do not build,
/// or, with `--check`, when the committed object is not what the sources give.
pub fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { write() }
}

fn write() -> Result<()> {
    let toolchain = toolchain::find(None)?;
    let object = build(&toolchain)?;
    let record = Record::new(&object, record::source_digest(&flags())?, &toolchain);
    fs::create_dir_all(root().join("tracer-ebpf/object"))?;
    fs::write(root().join(OBJECT), &object).with_context(|| format!("cannot write {OBJECT}"))?;
    fs::write(root().join(RECORD), record.to_json()?).with_context(|| format!("cannot write {RECORD}"))?;
    println!("{OBJECT}: {} bytes, built by {}", object.len(), toolchain.named());
    Ok(())
}

/// Three comparisons, from the cheapest: the record's digest with the sources, the object with the record, and where
/// there is a toolchain the object with a fresh build. Another compiler's code may differ, so with another toolchain
/// than the recorded one only what the loader sees is compared: programs, maps, globals, licence.
fn check() -> Result<()> {
    let again = "`cargo xtask build-ebpf` makes it anew";
    let committed = fs::read(root().join(OBJECT)).with_context(|| format!("no {OBJECT}; {again}"))?;
    let text = fs::read_to_string(root().join(RECORD)).with_context(|| format!("no {RECORD}; {again}"))?;
    let record = Record::from_json(&text).with_context(|| format!("{RECORD} is damaged; {again}"))?;
    if record.sources_sha256 != record::source_digest(&flags())? {
        bail!("{OBJECT} was built from other sources than these; {again}");
    }
    if record.object_sha256 != record::digest(&committed) {
        bail!("{OBJECT} is not the object that {RECORD} describes; {again}");
    }
    let toolchain = match toolchain::find(Some(&record.toolchain)) {
        Ok(toolchain) => toolchain,
        Err(missing) if env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1") => {
            return Err(missing);
        }
        Err(missing) => {
            println!("{OBJECT}: digests of sources and object agree with {RECORD}; not rebuilt: {missing:#}");
            return Ok(());
        }
    };
    let built = build(&toolchain)?;
    if toolchain.versions == record.toolchain {
        if built != committed {
            let kept = target_dir().join("ebpf/rebuilt.bpf.o");
            fs::write(&kept, &built)?;
            bail!(
                "{OBJECT} differs from what its sources give with the same toolchain ({}); {again}",
                object::difference(&committed, &built)?
            );
        }
        println!("{OBJECT}: rebuilt by {}, the same {} bytes", toolchain.named(), built.len());
        return Ok(());
    }
    let (was, is) = (object::interface(&committed)?, object::interface(&built)?);
    if was != is {
        bail!(
            "{OBJECT} has other programs, maps or globals than its sources give: {was:#?} against {is:#?}; {again}"
        );
    }
    println!(
        "{OBJECT}: built by {}, here is {}; digests agree, and a rebuild has the same programs, maps, globals and licence",
        record.toolchain,
        toolchain.named()
    );
    Ok(())
}

fn flags() -> Vec<&'static str> {
    CARGO_FLAGS.iter().chain(RUST_FLAGS).copied().collect()
}

/// Builds the object and leaves out its debug sections.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = target_dir().join("ebpf");
    let mut cargo = toolchain.cargo();
    cargo.arg("build").args(CARGO_FLAGS).arg("--target-dir").arg(&target);
    // The crates choose bindings by this machine's architecture unless told: one object serves all.
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
            bail!("the built object holds a path of this machine: {}", prefix.display());
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
