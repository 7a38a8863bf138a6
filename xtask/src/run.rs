//! `cargo xtask run -- ARGS`: builds the tool for release and runs it as root.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::exec::{exec, shown};
use crate::workspace::{as_root, cargo, target_dir};

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments of tracer-user
    #[arg(last = true)]
    args: Vec<std::ffi::OsString>,
}

/// Builds the tool and executes it, through sudo when not root.
///
/// # Errors
/// When it does not build or cannot be started.
pub fn run(args: &Args) -> Result<()> {
    let mut tool = as_root(build()?);
    tool.args(&args.args);
    let error = tool.exec();
    Err(error).with_context(|| format!("cannot start `{}`", shown(&tool)))
}

/// Builds the tool for release and returns its path.
///
/// # Errors
/// When it does not build.
pub fn build() -> Result<PathBuf> {
    exec(cargo().args(["build", "--quiet", "--release", "--package=tracer-user", "--bin=tracer-user"]))?;
    Ok(target_dir().join("release/tracer-user"))
}

/// Builds the tool as the tests do, which is quicker, and returns its path.
///
/// # Errors
/// When it does not build.
pub fn build_quickly() -> Result<PathBuf> {
    exec(cargo().args(["build", "--quiet", "--package=tracer-user", "--bin=tracer-user"]))?;
    Ok(target_dir().join("debug/tracer-user"))
}
