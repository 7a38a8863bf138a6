//! Versions of the BPF toolchain, as they are recorded and compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The versions that determine the generated code.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Versions {
    /// `rustc --version`.
    pub rustc: String,
    /// Origin of `core`.
    pub core: CoreFrom,
    /// `bpf-linker --version`.
    pub bpf_linker: String,
    /// Name of the LLVM library that bpf-linker uses; `None` when it is linked in statically.
    pub linker_llvm: Option<String>,
}

/// Origin of the BPF target's `core`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum CoreFrom {
    /// Built by cargo (`-Z build-std=core`) from the `rust-src` component.
    RustSrc,
    /// Prebuilt, from the distribution's package.
    Distribution,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let llvm = self.linker_llvm.as_deref().unwrap_or("LLVM linked in");
        write!(f, "{}, {} ({llvm})", self.rustc, self.bpf_linker)
    }
}
