//! The rows.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use super::measure::{contenders, lines, paired, traced};
use super::{Bench, Row, recovery};

/// All of them, in the order they are measured.
pub const ROWS: &[Row] = &[
    Row {
        name: "pipes",
        about: "200 000 writes of 4 KiB into a pipe that a child drains; goal: × 1.01",
        measure: pipes,
    },
    Row {
        name: "spawns",
        about: "5 000 times /bin/true, one after the other; goal: × 1.01",
        measure: spawns,
    },
    Row { name: "start", about: "`run -- true` against `true`; goal: 40 ms more", measure: start },
    Row {
        name: "hook",
        about: "time in the hook on context switches, by the kernel's statistics; goal: 60 ns above empty",
        measure: hook,
    },
    Row {
        name: "sessions",
        about: "the pipe job in a session beside 50 idle ones; goal: × 1.03 of one",
        measure: sessions,
    },
    Row {
        name: "memory",
        about: "peak memory of the tracer with 200 processes; goal: 24 MiB",
        measure: memory,
    },
    Row { name: "storm", about: "100 000 short processes on both cores; goal: none lost", measure: storm },
    Row {
        name: "recover",
        about: "dead sessions finished in one sweep; goal: 10 000 in 10 s, linear",
        measure: recovery::recover,
    },
    Row {
        name: "listing",
        about: "`sessions list` of 100 000 sessions; goal: 1 s",
        measure: recovery::listing,
    },
];

const WRITES: &str = "tracepoint:syscalls:sys_enter_write { @since[tid] = nsecs; } \
                      tracepoint:syscalls:sys_exit_write /@since[tid]/ { @took = hist(nsecs - @since[tid]); delete(@since[tid]); }";
const SPAWNS: &str = "tracepoint:sched:sched_process_fork { @forks = count(); } tracepoint:sched:sched_process_exit { @exits = count(); }";

impl Bench {
    /// One of this program's workloads.
    fn job(&self, kind: &str, count: u32) -> Vec<String> {
        vec![self.this.display().to_string(), "bench-job".into(), kind.into(), count.to_string()]
    }

    /// A traced job in the background.
    fn traced(&self, job: &[&str]) -> Result<Background> {
        let words = traced(self);
        let child = Command::new(&words[0]).args(&words[1..]).args(job).stdin(Stdio::null()).spawn()?;
        Ok(Background(child))
    }
}

/// A traced job that is ended with the row, through its tracer.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let tracer = rustix::process::Pid::from_child(&self.0);
        // The tracer hands it on to the job and ends with it; it is this process's child and not yet waited for.
        let _ = rustix::process::kill_process(tracer, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn pipes(bench: &Bench) -> Result<Vec<String>> {
    Ok(lines(&paired(&contenders(bench, WRITES), &bench.job("pipes", 200_000), bench.rounds)?))
}

fn spawns(bench: &Bench) -> Result<Vec<String>> {
    Ok(lines(&paired(&contenders(bench, SPAWNS), &bench.job("spawns", 5_000), bench.rounds)?))
}

fn start(bench: &Bench) -> Result<Vec<String>> {
    let both = contenders(bench, SPAWNS).into_iter().take(2).collect::<Vec<_>>();
    let figures = paired(&both, &["true".to_string()], bench.rounds * 4)?;
    let [bare, traced] = &figures[..] else { bail!("two contenders give two figures") };
    Ok(vec![format!("{:.1} ms more ({:.1} ms against {:.1} ms)", traced.ms - bare.ms, traced.ms, bare.ms)])
}

fn hook(bench: &Bench) -> Result<Vec<String>> {
    let _counting = enable_stats(Stats::RunTime).context("cannot turn the kernel's BPF statistics on")?;
    let mut traced = bench.traced(&["sleep", "1000000"])?;
    let hook = wait_for_hook(&mut traced.0)?;
    let mut per_call = Vec::new();
    for kind in ["untraced", "traced"] {
        let before = totals(hook)?;
        let job = bench.job("pipes", 200_000);
        let around = if kind == "traced" { super::measure::traced(bench) } else { Vec::new() };
        let words: Vec<&String> = around.iter().chain(&job).collect();
        crate::exec::exec(Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()))?;
        let after = totals(hook)?;
        let (ns, calls) = (after.0 - before.0, after.1 - before.1);
        per_call.push(format!(
            "{kind:<9} {:>6.1} ns a switch over {calls} switches",
            ns as f64 / calls.max(1) as f64
        ));
    }
    Ok(per_call)
}

/// The hook's program id, once the session has loaded it.
fn wait_for_hook(tracer: &mut Child) -> Result<u32> {
    for _ in 0..500 {
        let found = loaded_programs().flatten().find(|program| program.name_as_str() == Some("on_switch"));
        if let Some(found) = found {
            return Ok(found.id());
        }
        if let Some(ended) = tracer.try_wait()? {
            bail!("the tracer ended before it loaded its programs: {ended}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the tracer has loaded no program `on_switch` in 10 s")
}

/// Nanoseconds in a program and calls of it, so far.
fn totals(id: u32) -> Result<(u128, u64)> {
    let program =
        loaded_programs().flatten().find(|program| program.id() == id).context("the hook is gone")?;
    Ok((program.run_time().as_nanos(), program.run_count()))
}

fn sessions(bench: &Bench) -> Result<Vec<String>> {
    let one = traced_ms(bench)?;
    let idle: Vec<Background> =
        (0..50).map(|_| bench.traced(&["sleep", "1000000"])).collect::<Result<_>>()?;
    // The last to start has its programs in the kernel when its tracer sleeps; a second is ample, and no test hangs on it.
    std::thread::sleep(Duration::from_secs(5));
    let many = traced_ms(bench)?;
    drop(idle);
    Ok(vec![format!("alone {one:.1} ms, beside 50 {many:.1} ms: × {:.3}", many / one)])
}

fn traced_ms(bench: &Bench) -> Result<f64> {
    let two = contenders(bench, WRITES).into_iter().skip(1).take(1).collect::<Vec<_>>();
    Ok(paired(&two, &bench.job("pipes", 200_000), bench.rounds)?[0].ms)
}

fn memory(bench: &Bench) -> Result<Vec<String>> {
    let traced = bench.traced(&["sh", "-c", "for i in $(seq 200); do sleep 1000000 & done; wait"])?;
    std::thread::sleep(Duration::from_secs(20));
    let status =
        fs::read_to_string(format!("/proc/{}/status", traced.0.id())).context("the tracer ended early")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(vec![format!("{:.1} MiB after 20 s", kib / 1024.0)])
}

fn storm(bench: &Bench) -> Result<Vec<String>> {
    let log = bench.place.path().join("storm");
    let mut words = traced(bench);
    let at = words.iter().position(|word| word == "--log-dir").context("no --log-dir")?;
    words[at + 1] = log.display().to_string();
    let began = std::time::Instant::now();
    crate::exec::exec(Command::new(&words[0]).args(&words[1..]).args(bench.job("storm", 100_000)))?;
    let took = began.elapsed().as_secs_f64();
    let session = fs::read_dir(log.join("sessions"))?.next().context("the session was not filed")??;
    let summary: serde_json::Value = serde_json::from_slice(&fs::read(session.path().join("summary.json"))?)?;
    let processes = &summary["processes"];
    Ok(vec![format!(
        "{} forked, {} exited, {} lost, in {took:.1} s ({:.0} a second)",
        processes["forked"],
        processes["exited"],
        summary["events_lost"],
        100_000.0 / took
    )])
}
