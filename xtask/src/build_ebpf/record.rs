//! The record of what the committed object was built from. `--check` compares it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::versions::Versions;
use crate::workspace::root;

/// The file beside the object.
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// Digest of the programs' sources, manifest, locked BPF crates and build flags.
    pub sources_sha256: String,
    /// Digest of the object.
    pub object_sha256: String,
    /// The toolchain that built it.
    pub toolchain: Versions,
}

impl Record {
    /// Describes an object.
    pub fn new(object: &[u8], sources_sha256: String, toolchain: &Versions) -> Self {
        Self { sources_sha256, object_sha256: digest(object), toolchain: toolchain.clone() }
    }

    /// Serializes the record.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Parses the record.
    pub fn from_json(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }
}

/// SHA-256 of bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digest of everything in this repository that the object is built from.
pub fn source_digest(flags: &[&str]) -> Result<String> {
    let mut files = vec![PathBuf::from("tracer-ebpf/Cargo.toml")];
    sources_below(Path::new("tracer-ebpf/src"), &mut files)?;
    files.sort();
    let mut sum = Sha256::new();
    let mut part = |name: &str, bytes: &[u8]| {
        // The lengths come first, so that different parts cannot give the same bytes.
        sum.update((name.len() as u64).to_le_bytes());
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(name.as_bytes());
        sum.update(bytes);
    };
    for file in files {
        let bytes =
            fs::read(root().join(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        part(&file.to_string_lossy(), &bytes);
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    part("Cargo.lock", bpf_packages(&lock).as_bytes());
    part("flags", flags.join("\n").as_bytes());
    Ok(hex(&sum.finalize()))
}

fn sources_below(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root().join(dir)).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            sources_below(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The entries of the lock file for the crates in the object: name, version and checksum.
fn bpf_packages(lock: &str) -> String {
    let of_ours = |entry: &&str| {
        let name = entry.lines().find_map(|line| line.strip_prefix("name = "));
        name.is_some_and(|name| {
            ["\"aya-ebpf", "\"aya-log-", "\"zerocopy"].iter().any(|ours| name.starts_with(ours))
        })
    };
    let kept = |line: &&str| ["name = ", "version = ", "checksum = "].iter().any(|key| line.starts_with(key));
    let entries = lock.split("[[package]]").filter(of_ours);
    entries.flat_map(|entry| entry.lines().filter(kept)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lock_entries_of_the_bpf_crates_count() {
        let lock = "[[package]]\nname = \"anyhow\"\nversion = \"1\"\n\n[[package]]\nname = \"aya-ebpf\"\nversion = \
                    \"0.2.1\"\nsource = \"s\"\nchecksum = \"c\"\ndependencies = [\n \"x\",\n]\n";
        assert_eq!(bpf_packages(lock), "name = \"aya-ebpf\"\nversion = \"0.2.1\"\nchecksum = \"c\"");
    }

    #[test]
    fn another_flag_gives_another_digest() {
        assert_eq!(source_digest(&["a"]).unwrap(), source_digest(&["a"]).unwrap());
        assert_ne!(source_digest(&["a"]).unwrap(), source_digest(&["b"]).unwrap());
    }
}
