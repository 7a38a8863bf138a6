//! `holders`: arguments, and the answer as text.

use std::path::PathBuf;

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::value::{self, Format, FormatArg, counted};
use crate::core::holders::{HeldObject, HolderAccess, HoldersReport, ObjectHolder};
use crate::core::text::printable;
use crate::session::holders::{HoldersOptions, find_holders};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// The descriptor of --pid
    #[arg(long, value_name = "N", default_value_t = 1, requires = "pid")]
    fd: u32,
    #[command(flatten)]
    format: FormatArg,
}

/// What is asked about: one of these.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// A descriptor of this process: its standard output, or the one of --fd
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pid: Option<u32>,
    /// A file, a FIFO, a device or a UNIX socket
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// A TCP or UDP port
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Shows the holders. Exit status: 0 nothing else holds it, 1 something does.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let options = match &args.target {
        TargetArgs { pid: Some(pid), .. } => HoldersOptions::Descriptor { pid: *pid, fd: args.fd },
        TargetArgs { path: Some(path), .. } => HoldersOptions::Path(path.clone()),
        TargetArgs { port, .. } => HoldersOptions::Port(port.unwrap_or_default()),
    };
    let report = find_holders(&options).context("holders")?;
    match args.format.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.text(&text(&report, &options))?,
    }
    Ok(if report.is_held() { Exit::Finding } else { Exit::Success })
}

fn text(report: &HoldersReport, options: &HoldersOptions) -> String {
    let mut out = String::new();
    let named = match options {
        HoldersOptions::Descriptor { pid, fd } => format!("descriptor {fd} of process {pid}"),
        HoldersOptions::Path(path) => path.display().to_string(),
        HoldersOptions::Port(port) => format!("port {port}"),
    };
    for object in &report.objects {
        out.push_str(&printable(format!("{named}: {} {}", object.kind, object.name)));
        out.push('\n');
        ends(object, matches!(options, HoldersOptions::Descriptor { .. }), &mut out);
    }
    if report.objects.is_empty() {
        out.push_str(&printable(format!("{named}: no process holds it")));
        out.push('\n');
    }
    if report.unseen > 0 {
        out.push_str(&format!(
            "unseen      the descriptors of {}, which cannot be read\n",
            counted(report.unseen, "process", "processes")
        ));
    }
    for problem in &report.problems {
        out.push_str(&format!("unseen      {}\n", printable(problem)));
    }
    out
}

fn ends(object: &HeldObject, has_ends: bool, out: &mut String) {
    for (word, holders) in [("other end", &object.other_end), ("same end", &object.same_end)] {
        let word = if has_ends { word } else { "held by" };
        for holder in holders {
            out.push_str(&format!("{word:<10}  {}\n", printable(line(holder))));
        }
    }
    if object.other_end.is_empty() && object.same_end.is_empty() {
        out.push_str(if has_ends {
            "            no other process holds it\n"
        } else {
            "            no process holds it\n"
        });
    }
}

/// `sleep 300 (pid 812), fd 1 for writing, 3.2 s old, inherited from make (pid 800)`.
fn line(holder: &ObjectHolder) -> String {
    let command = if holder.cmdline.is_empty() { holder.comm.escaped() } else { holder.cmdline.join(" ") };
    let fds = holder.fds.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let access = match holder.access {
        HolderAccess::Read => " for reading",
        HolderAccess::Write => " for writing",
        HolderAccess::Both => " for both",
        HolderAccess::Unknown => "",
    };
    let mut line = format!(
        "{command} (pid {}), fd {fds}{access}, {:.1} s old",
        holder.pid,
        holder.age_ms as f64 / 1000.0
    );
    if let Some(ancestor) = &holder.inherited_from {
        line.push_str(&format!(", inherited from {} (pid {})", ancestor.comm.escaped(), ancestor.pid));
    }
    line
}
