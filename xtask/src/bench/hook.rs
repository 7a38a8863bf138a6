//! The cost of the hook on context switches, compared with an empty program on the same hook.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use aya::programs::{BtfTracePoint, loaded_programs};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, Ebpf};

use super::context::Bench;
use crate::workspace::root;

/// Nanoseconds per switch, in the tool's hook and in an empty program.
///
/// # Errors
/// When the statistics, a program or the job fails.
pub fn hook(bench: &Bench) -> Result<Vec<String>> {
    let _counting = enable_stats(Stats::RunTime).context("cannot enable the kernel's BPF statistics")?;
    let _traced = bench.traced(&[], &["sleep", "1000000"])?;
    // Hooks of other versions may be loaded as well; ours is the newest.
    let hooks = loaded_programs().flatten().filter(|program| program.name_as_str() == Some("on_switch"));
    let hook = hooks.map(|program| program.id()).max().context("the session loaded no hook")?;
    // The program stays attached as long as this value lives.
    let mut nothing = Ebpf::load_file(root().join("tracer-ebpf/object/tracer.bpf.o"))?;
    let nothing: &mut BtfTracePoint =
        nothing.program_mut("nothing").context("no program `nothing`")?.try_into()?;
    nothing.load("sched_switch", &Btf::from_sys_fs()?)?;
    nothing.attach()?;
    let empty = nothing.info()?.id();
    let mut per_call = Vec::new();
    for kind in ["untraced", "traced"] {
        let before = (totals(hook)?, totals(empty)?);
        let job = bench.job("ping-pong", 100_000);
        let around = if kind == "traced" { super::context::traced(bench) } else { Vec::new() };
        let words: Vec<&String> = around.iter().chain(&job).collect();
        crate::exec::exec(Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()))?;
        let each = |before: (u128, u64), after: (u128, u64)| {
            (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64
        };
        let (ours, nothing) = (each(before.0, totals(hook)?), each(before.1, totals(empty)?));
        per_call.push(format!(
            "{kind:<9} {ours:>6.1} ns per switch, {nothing:.1} ns for the empty program: {:.1} ns more, over {} switches",
            ours - nothing,
            totals(hook)?.1 - before.0.1
        ));
    }
    Ok(per_call)
}

/// Total nanoseconds in a program, and number of calls.
fn totals(id: u32) -> Result<(u128, u64)> {
    let program =
        loaded_programs().flatten().find(|program| program.id() == id).context("the hook is gone")?;
    Ok((program.run_time().as_nanos(), program.run_count()))
}
