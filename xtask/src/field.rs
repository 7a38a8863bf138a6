//! `cargo xtask field`: real programs that hang, and healthy ones that look alike, against what the tool says
//! of them.
//!
//! The cases, what they expect and their runner are in `tests/field`. A case whose software is not installed
//! is skipped and named; `--install` gets what is missing.

use std::path::PathBuf;

use anyhow::Result;

use crate::exec::exec;
use crate::run;
use crate::workspace::{root, target_dir};

/// Arguments of this task.
#[derive(clap::Args)]
pub struct Args {
    /// How a case is asked: one look, a whole run, or both
    #[arg(long, value_parser = ["diagnose", "run", "both"], default_value = "diagnose")]
    mode: String,
    /// Cases at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Write a row per case to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Store what each case's look collected in this folder
    #[arg(long)]
    record: Option<PathBuf>,
    /// Install what the cases need first
    #[arg(long)]
    install: bool,
    /// With --install: the large packages too
    #[arg(long, requires = "install")]
    heavy: bool,
    /// Ask this program instead of building the tool
    #[arg(long)]
    tool: Option<PathBuf>,
    /// Cases; without any, all
    names: Vec<String>,
}

/// Builds the tool for release and runs the cases.
///
/// # Errors
/// When the tool does not build, or when a case without a known gap fails.
pub fn run(args: &Args) -> Result<()> {
    let folder = root().join("tests/field");
    let installed = target_dir().join("field");
    if args.install {
        let mut install = std::process::Command::new(folder.join("install"));
        install.args(args.heavy.then_some("--heavy"));
        exec(install.arg(&installed))?;
    }
    let tool = args.tool.clone().map_or_else(run::build, Ok)?;
    let mut field = std::process::Command::new("python3");
    field.arg(folder.join("field")).arg(tool).args(["--mode", &args.mode, "--jobs", &args.jobs.to_string()]);
    for (option, path) in [("--json", &args.json), ("--record", &args.record)] {
        field.args(path.iter().flat_map(|path| [option.as_ref(), path.as_os_str()]));
    }
    for (variable, place) in [("FIELD_PYTHON", "venv/bin/python3"), ("FIELD_NODE_MODULES", "js/node_modules")]
    {
        let place = installed.join(place);
        if std::env::var_os(variable).is_none() && place.exists() {
            field.env(variable, place);
        }
    }
    exec(field.args(&args.names))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_case_has_its_scenario_and_its_row_in_the_readme() {
        let folder = root().join("tests/field");
        let cases: Value = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let mut used = Vec::new();
        for case in cases.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            assert!(readme.contains(&format!("\n| {name} | ")), "{name} has no row in README.md");
            let words = ["cmd", "build"].into_iter().filter_map(|step| case[step].as_array()).flatten();
            let scenario = words.filter_map(|word| word.as_str()?.strip_prefix("{dir}/")).next_back();
            let scenario = scenario.unwrap_or_else(|| panic!("{name} names no scenario"));
            assert!(folder.join("scenarios").join(scenario).is_file(), "{name}: no scenario {scenario}");
            used.push(scenario.to_string());
        }
        for entry in fs::read_dir(folder.join("scenarios")).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let parts = ["sshd_on_loopback.sh", "postgres_on_a_socket.sh"];
            assert!(used.contains(&file) || parts.contains(&file.as_str()), "no case runs {file}");
        }
    }
}
