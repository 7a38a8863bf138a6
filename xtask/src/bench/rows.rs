//! The rows of the table.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::context::{Background, Bench, traced};
use super::measure::{contenders, lines, paired};
use super::{hangs, hook, quiet_jobs, recovery, stacks};

/// A row of the table. To add one, add it to [`ROWS`].
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is measured, and the goal.
    pub about: &'static str,
    /// Measures it: one line per figure.
    pub measure: fn(&Bench) -> Result<Vec<String>>,
}

/// All rows, in the order of measurement.
pub const ROWS: &[Row] = &[
    Row {
        name: "pipes",
        about: "1 000 000 writes of 4 KiB into a pipe that a child drains; goal: × 1.01",
        measure: pipes,
    },
    Row {
        name: "spawns",
        about: "5 000 runs of /bin/true, one after the other; goal: × 1.01",
        measure: spawns,
    },
    Row {
        name: "pingpong",
        about: "one byte to a child and back, 100 000 times; goal: × 1.01",
        measure: ping_pong,
    },
    Row { name: "build", about: "`cargo build` of a small crate; goal: × 1.01", measure: build },
    Row { name: "pytest", about: "a pytest suite of 2 000 tests; goal: × 1.01", measure: pytest },
    Row { name: "start", about: "`run -- true` against `true`; goal: 40 ms more", measure: start },
    Row {
        name: "hook",
        about: "time in the context-switch hook, by the kernel's statistics; goal: 60 ns more than an empty program",
        measure: hook::hook,
    },
    Row {
        name: "sessions",
        about: "the pipe job in one session while 50 idle ones run; goal: × 1.03 of one session alone",
        measure: sessions,
    },
    Row {
        name: "memory",
        about: "peak memory of the tracer with 200 processes; goal: 24 MiB",
        measure: memory,
    },
    Row {
        name: "storm",
        about: "100 000 short-lived processes on both cores; goal: none lost",
        measure: storm,
    },
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
    Row {
        name: "idle",
        about: "CPU time of the tracer with 200 idle processes; goal: 0.5 %, 5 ms per second when it watches for hangs",
        measure: hangs::idle,
    },
    Row {
        name: "diagnose",
        about: "`diagnose` of 1 000 processes with 20 000 fds; goal: 1.5 s",
        measure: hangs::diagnose,
    },
    Row {
        name: "stacks",
        about: "time that stacks add to a look; goal: 30 ms for 20 threads",
        measure: stacks::stacks,
    },
    Row {
        name: "verdict",
        about: "time from the last progress to the printed verdict",
        measure: hangs::verdict,
    },
    Row {
        name: "healthy",
        about: "healthy jobs under `--hang-after 2s` that are reported as hung; goal: none",
        measure: hangs::healthy,
    },
    Row {
        name: "quiet-jobs",
        about: "healthy jobs of real software under `--hang-after 2s --on-hang interrupt` that are called hung; goal: none",
        measure: quiet_jobs::quiet_jobs,
    },
];

const WRITES: &str = "tracepoint:syscalls:sys_enter_write { @since[tid] = nsecs; } \
                      tracepoint:syscalls:sys_exit_write /@since[tid]/ { @took = hist(nsecs - @since[tid]); delete(@since[tid]); }";
const SPAWNS: &str = "tracepoint:sched:sched_process_fork { @forks = count(); } tracepoint:sched:sched_process_exit { @exits = count(); }";

fn pipes(bench: &Bench) -> Result<Vec<String>> {
    Ok(lines(&paired(&contenders(bench, WRITES), &bench.job("pipes", 1_000_000), bench.rounds)?))
}

fn spawns(bench: &Bench) -> Result<Vec<String>> {
    Ok(lines(&paired(&contenders(bench, SPAWNS), &bench.job("spawns", 5_000), bench.rounds)?))
}

fn ping_pong(bench: &Bench) -> Result<Vec<String>> {
    Ok(lines(&paired(&contenders(bench, WRITES), &bench.job("ping-pong", 100_000), bench.rounds)?))
}

fn build(bench: &Bench) -> Result<Vec<String>> {
    let place = tempfile::tempdir()?;
    fs::create_dir(place.path().join("src"))?;
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(place.path().join("Cargo.toml"), manifest)?;
    let mut main = String::from("fn main() {\n");
    for number in 0..400 {
        main +=
            &format!("    println!(\"{{:?}}\", (0..{number}).map(|n| n.to_string()).collect::<Vec<_>>());\n");
    }
    fs::write(place.path().join("src/main.rs"), main + "}\n")?;
    let script = format!(
        "cd '{0}' && rm -rf '{0}/target' && CARGO_TARGET_DIR='{0}/target' cargo build --quiet --offline",
        place.path().display()
    );
    shell(bench, SPAWNS, &script)
}

fn pytest(bench: &Bench) -> Result<Vec<String>> {
    let names = ["pytest", "pytest-3"];
    let Some(pytest) =
        names.iter().find(|name| crate::exec::probe(Command::new(name).arg("--version")).is_some())
    else {
        return Ok(vec!["pytest is not installed".into()]);
    };
    let place = tempfile::tempdir()?;
    let tests = "import pytest, subprocess\n@pytest.mark.parametrize('n', range(2000))\ndef test_it(n):\n    assert n % 50 or subprocess.run(['true']).returncode == 0\n";
    fs::write(place.path().join("test_it.py"), tests)?;
    shell(bench, SPAWNS, &format!("cd '{}' && {pytest} -q -p no:cacheprovider", place.path().display()))
}

/// Measures a script under each contender.
fn shell(bench: &Bench, bpftrace: &str, script: &str) -> Result<Vec<String>> {
    let words = ["sh", "-c", script].map(String::from);
    Ok(lines(&paired(&contenders(bench, bpftrace), &words, bench.rounds)?))
}

fn start(bench: &Bench) -> Result<Vec<String>> {
    let both = contenders(bench, SPAWNS).into_iter().take(2).collect::<Vec<_>>();
    let figures = paired(&both, &["true".to_string()], bench.rounds * 4)?;
    let [bare, traced] = &figures[..] else { bail!("expected two figures") };
    Ok(vec![format!("{:.1} ms more ({:.1} ms against {:.1} ms)", traced.ms - bare.ms, traced.ms, bare.ms)])
}

fn sessions(bench: &Bench) -> Result<Vec<String>> {
    let one = traced_ms(bench)?;
    let idle: Vec<Background> =
        (0..50).map(|_| bench.traced(&[], &["sleep", "1000000"])).collect::<Result<_>>()?;
    let many = traced_ms(bench)?;
    drop(idle);
    Ok(vec![format!("alone {one:.1} ms, with 50 others {many:.1} ms: × {:.3}", many / one)])
}

fn traced_ms(bench: &Bench) -> Result<f64> {
    let two = contenders(bench, WRITES).into_iter().skip(1).take(1).collect::<Vec<_>>();
    Ok(paired(&two, &bench.job("pipes", 1_000_000), bench.rounds)?[0].ms)
}

fn memory(bench: &Bench) -> Result<Vec<String>> {
    let traced = bench.traced(&[], &["sh", "-c", "for i in $(seq 200); do sleep 1000000 & done; wait"])?;
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
    let session = fs::read_dir(log.join("sessions"))?.next().context("the session was not recorded")??;
    let summary: serde_json::Value = serde_json::from_slice(&fs::read(session.path().join("summary.json"))?)?;
    let processes = &summary["processes"];
    Ok(vec![format!(
        "{} forked, {} exited, {} lost, in {took:.1} s ({:.0} per second)",
        processes["forked"],
        processes["exited"],
        summary["events_lost"],
        100_000.0 / took
    )])
}
