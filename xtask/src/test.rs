//! `cargo xtask test`: every check of this repository, including the privileged tests.
//!
//! Cargo and the compiler run as the calling user. Only the built test programs run through sudo, so that no
//! build output belongs to root. They run last, so that the output ends with their summaries.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::exec::{exec, output, status};
use crate::workspace::{as_root, cargo, is_root};
use crate::{build_ebpf, guard, tidy, vm};

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments of the test programs: a filter, `--nocapture`, …
    #[arg(last = true)]
    args: Vec<String>,
}

/// Runs the checks, the quickest first.
///
/// # Errors
/// The first check that failed.
pub fn run(args: &Args) -> Result<()> {
    step("format");
    exec(cargo().args(["fmt", "--all", "--check"])).context("`cargo fmt --all` fixes this")?;
    step("tidy");
    tidy::run()?;
    step("clippy");
    exec(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny=warnings"]))?;
    step("the library without features");
    library()?;
    step("cargo deny");
    dependencies()?;
    step("build-ebpf --check");
    build_ebpf::run(&build_ebpf::Args { check: true })?;
    step("kernels");
    // A filter asks for certain tests, so the kernels are skipped.
    let kernels = if args.args.is_empty() { vm::run_if_fetched() } else { Ok(()) };
    if let Err(error) = &kernels {
        println!("{error:#}");
    }
    step("tests");
    if is_root() {
        let guard = guard::cargo_option()?;
        exec(
            cargo()
                .args(["test", "--config", &guard, "--workspace", "--no-fail-fast", "--"])
                .args(&args.args),
        )?;
    } else {
        as_user(args)?;
    }
    // Reported last, after everything else was run.
    kernels.context("on other kernels")
}

/// The library judges evidence without the crates of the tool.
fn library() -> Result<()> {
    let chosen = ["--package=tracer-user", "--no-default-features"];
    exec(cargo().args(["check", "--quiet", "--lib"]).args(chosen))?;
    exec(cargo().args(["check", "--quiet", "--lib", "--features=bpf"]).args(chosen))?;
    let tree = output(cargo().args(["tree", "--quiet", "--edges=normal", "--prefix=none"]).args(chosen))?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let of_the_tool: Vec<&str> = names.filter(|name| ["aya", "clap", "tokio"].contains(name)).collect();
    if !of_the_tool.is_empty() {
        bail!("the library without features depends on {}", of_the_tool.join(", "));
    }
    Ok(())
}

/// Licenses, sources and known flaws of the dependencies, where `cargo deny` is installed. Its build takes
/// longer than the other checks together, so nothing here installs it. What of it needs no network has to
/// succeed.
fn dependencies() -> Result<()> {
    let deny = |checks: &[&str]| status(cargo().args(["deny", "--log-level=error", "check"]).args(checks));
    if !output(cargo().arg("--list"))?.lines().any(|line| line.trim_start().starts_with("deny")) {
        println!("cargo-deny is not installed: dependencies are not checked (`cargo install cargo-deny`)");
        return Ok(());
    }
    if !deny(&["bans", "licenses", "sources"])?.success() {
        bail!("`cargo deny check` refuses a dependency");
    }
    if !deny(&["advisories"])?.success() {
        println!("a dependency has a known flaw, or the list of flaws cannot be fetched: see above");
    }
    Ok(())
}

fn step(name: &str) {
    println!("== {name}");
}

/// Builds the test programs as this user and runs each as root, in the directory that cargo would use.
fn as_user(args: &Args) -> Result<()> {
    let built = output(cargo().args(["test", "--workspace", "--no-run", "--message-format=json"]))?;
    let mut failed = Vec::new();
    for (program, folder) in built.lines().filter_map(test_program) {
        println!("     Running {}", program.display());
        let mut test = as_root("env");
        // sudo removes most of the environment; the tests read these variables.
        for name in ["PATH", "TRACER_REQUIRE_BPF", "CI", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                test.arg(format!("{name}={}", value.to_string_lossy()));
            }
        }
        test.arg(std::env::current_exe().context("the path of this program")?).args(["guard", "--"]);
        if !status(test.arg(&program).args(&args.args).current_dir(folder))?.success() {
            failed.push(program.display().to_string());
        }
    }
    let documented = status(cargo().args(["test", "--workspace", "--doc", "--"]).args(&args.args))?;
    if !failed.is_empty() || !documented.success() {
        bail!(
            "tests failed: {}",
            if failed.is_empty() { "examples in the documentation".into() } else { failed.join(", ") }
        );
    }
    Ok(())
}

/// The test program and package directory of one of cargo's messages, if it is about a built test program.
fn test_program(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    message["profile"]["test"].as_bool().filter(|test| *test)?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some((message["executable"].as_str()?.into(), manifest.parent()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_run() {
        let test = r#"{"reason":"compiler-artifact","manifest_path":"/a/b/Cargo.toml","profile":{"test":true},"executable":"/t/x"}"#;
        assert_eq!(test_program(test), Some(("/t/x".into(), "/a/b".into())));
        let plain = test.replace("\"test\":true", "\"test\":false");
        assert_eq!(test_program(&plain), None);
        assert_eq!(test_program(r#"{"reason":"build-finished"}"#), None);
    }
}
