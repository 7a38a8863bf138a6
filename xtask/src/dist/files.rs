//! The files beside the binary, and the archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Endianness, Object as _, elf};

use crate::exec::{exec, output};
use crate::workspace::root;

/// The completion scripts: shell, and the file name that this shell looks for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "tracer-user.bash"), ("zsh", "_tracer-user"), ("fish", "tracer-user.fish")];
/// Copied from the repository as they are.
const TEXTS: [&str; 5] =
    ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "contrib/packaging/tmpfiles.conf"];

/// Fails for a binary that needs a dynamic linker or a library of the system.
pub fn check_static(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let file = ElfFile64::<Endianness>::parse(&*bytes).with_context(|| format!("{}", binary.display()))?;
    let header_types = file.elf_program_headers().iter().map(|header| header.p_type(file.endian()));
    if header_types.into_iter().any(|kind| kind == elf::PT_INTERP) {
        bail!("{} is not static: it names a dynamic linker", binary.display());
    }
    let libraries = file.imports().map(|imports| imports.len()).unwrap_or_default();
    if libraries > 0 {
        bail!("{} is not static: it imports {libraries} symbols", binary.display());
    }
    Ok(())
}

/// Writes all manual pages.
pub fn pages(tool: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    exec(Command::new(tool).args(["man", "--dir"]).arg(dir))
}

/// Writes a completion script per shell.
pub fn completions(tool: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (shell, name) in COMPLETIONS {
        let script = output(Command::new(tool).args(["completions", shell]))?;
        fs::write(dir.join(name), script).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Copies the licenses and other texts.
pub fn texts(stage: &Path) -> Result<()> {
    for text in TEXTS {
        let name = Path::new(text).file_name().unwrap_or_default();
        fs::copy(root().join(text), stage.join(name)).with_context(|| format!("cannot copy {text}"))?;
    }
    Ok(())
}

/// Packs the directory `name` of `share`. The archive depends on the contents only.
pub fn archive(share: &Path, name: &str, out: &Path) -> Result<PathBuf> {
    let archive = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rwX,go+rX,go-w"]);
    tar.args(["--mtime=@0", "--use-compress-program=gzip -9n", "--create", "--file"]);
    exec(tar.arg(&archive).arg("--directory").arg(share).arg(name))?;
    Ok(archive)
}
