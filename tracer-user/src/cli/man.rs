//! `man`: manual pages, for `tracer-user man | man -l -`, and for packages.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::man_page;
use super::output::Output;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write all pages to this directory, and make it where it does not exist
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
    /// The verb to print the page of, such as `run` or `sessions list` [default: the program's page]
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
}

/// Prints a page, or writes all.
pub fn execute(args: &Args, command: clap::Command, output: &mut Output) -> Result<Exit, Failure> {
    // Its own pages describe `help`, which needs none.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).with_context(|| format!("man: cannot make {}", dir.display()))?;
        write_all(&command, dir)?;
        return Ok(Exit::Success);
    }
    let mut chosen = &command;
    for word in &args.verb {
        chosen = chosen.find_subcommand(word).ok_or_else(|| {
            Failure::usage(format!("man: no such verb: '{}': try 'tracer-user --help'", args.verb.join(" ")))
        })?;
    }
    output.text(&man_page::page(chosen).context("cannot write the manual page")?)?;
    Ok(Exit::Success)
}

fn write_all(command: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(format!("{}.1", man_page::file_stem(command)));
    let page = man_page::page(command)?;
    std::fs::write(&path, page).with_context(|| format!("man: cannot write {}", path.display()))?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| write_all(verb, dir))
}
