//! The architectures and the profile of what is given away.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum as _;

use crate::workspace::target_dir;

/// The Cargo profile of what is given away.
pub const PROFILE: &str = "dist";

/// An architecture that binaries are made for.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// 64-bit x86
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM
    Aarch64,
}

impl Arch {
    /// Its name in targets.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The target triple.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.name())
    }

    /// This machine's.
    pub fn native() -> Result<Self> {
        Self::from_str(std::env::consts::ARCH, false)
            .map_err(|_| anyhow::anyhow!("no binaries are made for {}", std::env::consts::ARCH))
    }

    /// The directory of the target's build products.
    pub fn products(self) -> PathBuf {
        target_dir().join(self.target()).join(PROFILE)
    }
}

/// The version of the workspace.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
