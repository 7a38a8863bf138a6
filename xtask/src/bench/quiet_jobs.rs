//! Healthy jobs of real software that rest longer than `--hang-after`: how many are called hung. The goal is
//! none.
//!
//! Each job is a script in `tests/field/quiet` that rests for `@REST@` seconds and ends by itself with status
//! 0. It runs under `--on-hang interrupt`, so that a false alarm changes its end, and is looked at once more
//!    by `diagnose --pid` in
//! its middle. A job whose software is not installed is skipped and named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::context::{Bench, traced_with};
use super::hangs::{diagnoses, replace_log};
use crate::exec::probe;
use crate::workspace::{is_root, root, target_dir};

/// Jobs beside each other: they rest most of the time.
const AT_ONCE: usize = 8;
/// Seconds for which a job rests: more than any date that a diagnosis takes for soon.
const REST: &str = "14";
/// Runs at least, over all programs that are installed.
const RUNS: usize = 100;
/// With --quick one program in so many runs, once.
const QUICK: usize = 6;
/// When a job is looked at: later than `--hang-after`, earlier than its end.
const MIDDLE: Duration = Duration::from_millis(5000);
/// The tracer ends a job that has run this long; no script takes half of it on an idle machine.
const TIMEOUT: &str = "90s";
const OPTIONS: [&str; 10] = [
    "--hang-after",
    "2s",
    "--interval",
    "1s",
    "--on-hang",
    "interrupt",
    "--timeout",
    TIMEOUT,
    "--grace",
    "1s",
];
const HANGS: [&str; 3] = ["deadlock", "orphaned-wait", "livelock"];

/// A script and what it needs.
struct Program {
    name: String,
    script: PathBuf,
    needs: Vec<String>,
}

/// What came of the runs of one program.
#[derive(Default)]
struct Tally {
    runs: usize,
    called_hung: usize,
    /// Runs that ended in another way than by themselves with status 0 although nothing was called hung.
    broken: usize,
    /// Verdicts of the looks during the runs and of the one in the middle, each once.
    during: Vec<String>,
    middle: Vec<String>,
    /// The sentence of each false alarm.
    alarms: Vec<String>,
}

/// The paths of the programs, and the arguments of the scripts.
struct Place {
    python: PathBuf,
    modules: PathBuf,
    path: String,
    postgres: PathBuf,
}

/// Runs the jobs and prints a line a program.
///
/// # Errors
/// When a job is called hung, or cannot be started.
pub fn quiet_jobs(bench: &Bench) -> Result<Vec<String>> {
    let place = Place::find();
    let (programs, missing): (Vec<_>, Vec<_>) =
        programs()?.into_iter().partition(|program| place.missing(program).is_none());
    for program in &missing {
        println!("  skip {}: needs {}", program.name, place.missing(program).unwrap_or_default());
    }
    ensure!(!programs.is_empty(), "nothing that a job needs is installed: cargo xtask field --install");
    let rounds = RUNS.div_ceil(programs.len());
    let jobs: Vec<&Program> = if bench.quick {
        programs.iter().step_by(QUICK).collect()
    } else {
        std::iter::repeat_n(&programs, rounds).flatten().collect()
    };
    let next = Mutex::new(jobs.iter());
    let tallies = Mutex::new(BTreeMap::<&str, Tally>::new());
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let job =
                            next.lock().map_err(|_| anyhow::anyhow!("a worker failed"))?.next().copied();
                        let Some(program) = job else { return Ok(()) };
                        let run = Run::of(bench, &place, program).with_context(|| program.name.clone())?;
                        let mut tallies = tallies.lock().map_err(|_| anyhow::anyhow!("a worker failed"))?;
                        run.count(tallies.entry(&program.name).or_default());
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        })
    })?;
    let tallies = tallies.into_inner().map_err(|_| anyhow::anyhow!("a worker failed"))?;
    table(&tallies, missing.len())
}

fn table(tallies: &BTreeMap<&str, Tally>, skipped: usize) -> Result<Vec<String>> {
    println!(
        "  {:24}{:>5}{:>8}{:>8}  verdicts in the run / in the middle",
        "program", "runs", "hung", "broken"
    );
    for (name, tally) in tallies {
        println!(
            "  {name:24}{:>5}{:>8}{:>8}  {} / {}",
            tally.runs,
            tally.called_hung,
            tally.broken,
            tally.during.join(", "),
            tally.middle.join(", ")
        );
        for alarm in &tally.alarms {
            println!("      {alarm}");
        }
    }
    let sum = |of: fn(&Tally) -> usize| tallies.values().map(of).sum::<usize>();
    let (runs, hung, broken) =
        (sum(|tally| tally.runs), sum(|tally| tally.called_hung), sum(|tally| tally.broken));
    let line = format!(
        "{hung} called hung in {runs} runs of {} programs; {broken} broken, {skipped} programs not installed",
        tallies.len()
    );
    if hung > 0 {
        bail!("{line}");
    }
    Ok(vec![line])
}

fn programs() -> Result<Vec<Program>> {
    let folder = root().join("tests/field/quiet");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let script = entry?.path();
        let name = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&script)?;
        let needs = text.lines().find_map(|line| line.strip_prefix("# needs:"));
        let needs = needs.with_context(|| format!("{} has no line `# needs:`", script.display()))?;
        programs.push(Program { name, needs: needs.split_whitespace().map(String::from).collect(), script });
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

impl Place {
    fn find() -> Self {
        let installed = target_dir().join("field");
        let or_installed = |variable: &str, inside: &str| {
            std::env::var_os(variable).map_or_else(|| installed.join(inside), PathBuf::from)
        };
        let mut python = or_installed("FIELD_PYTHON", "venv/bin/python3");
        if !python.exists() {
            python = PathBuf::from("python3");
        }
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let postgres = versions.map(|entry| entry.path().join("bin")).max().unwrap_or_default();
        let own = std::env::var("PATH").unwrap_or_default();
        let beside = python.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        let path = format!("{beside}:{own}:/usr/local/sbin:/usr/sbin:/sbin:{}", postgres.display());
        Self { python, modules: or_installed("FIELD_NODE_MODULES", "js/node_modules"), path, postgres }
    }

    /// The first need of a program that is not met.
    fn missing<'a>(&self, program: &'a Program) -> Option<&'a str> {
        program.needs.iter().map(String::as_str).find(|need| !self.has(need))
    }

    fn has(&self, need: &str) -> bool {
        const FIND: &str = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)";
        match need.split_once(':') {
            Some(("python", module)) => {
                probe(Command::new(&self.python).args(["-c", FIND, module])).is_some()
            }
            Some((_, package)) => self.modules.join(package).is_dir(),
            None if need == "root" => is_root(),
            None => self.path.split(':').any(|folder| Path::new(folder).join(need).is_file()),
        }
    }
}

/// One run of a job.
struct Run {
    success: bool,
    during: Vec<Value>,
    middle: Option<Value>,
}

impl Run {
    fn of(bench: &Bench, place: &Place, program: &Program) -> Result<Self> {
        let work = tempfile::tempdir()?;
        // Servers that drop their privileges have to get through.
        fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let log = tempfile::tempdir_in(bench.place.path())?;
        let mut words = traced_with(bench, &[&OPTIONS[..], &["--reap-leaked"]].concat());
        replace_log(&mut words, log.path())?;
        let mut run = Command::new(&words[0]);
        let script = work.path().join(".job.sh");
        fs::write(&script, fs::read_to_string(&program.script)?.replace("@REST@", REST))?;
        run.args(&words[1..]).arg("bash").arg(script).current_dir(work.path());
        run.env("PATH", &place.path).env("PY", &place.python).env("NODE_MODULES", &place.modules);
        run.env("PGBIN", &place.postgres).env("TMPDIR", work.path()).env("PORT", free_port()?.to_string());
        run.env_remove("CARGO_TARGET_DIR").env_remove("MAKEFLAGS");
        let mut job = Tracer(run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        thread::sleep(MIDDLE);
        let middle = first_child(job.0.id()).and_then(|pid| look(&bench.tool, pid));
        let status = job.0.wait()?;
        Ok(Self { success: status.success(), during: diagnoses(log.path())?, middle })
    }

    fn count(self, tally: &mut Tally) {
        let (mut hung, success) = (false, self.success);
        for (looks, seen) in
            [(&self.during[..], &mut tally.during), (self.middle.as_slice(), &mut tally.middle)]
        {
            for diagnosis in looks {
                let verdict = diagnosis["verdict"].as_str().unwrap_or("none").to_string();
                if !seen.contains(&verdict) {
                    seen.push(verdict);
                }
                let findings = diagnosis["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
                let alarm = findings.iter().find(|finding| {
                    finding["verdict"].as_str().is_some_and(|verdict| HANGS.contains(&verdict))
                });
                hung |= alarm.is_some();
                tally.alarms.extend(alarm.map(|finding| {
                    format!(
                        "{} {} {}: {}",
                        finding["verdict"], finding["confidence"], finding["class"], finding["summary"]
                    )
                }));
            }
        }
        tally.alarms.sort();
        tally.alarms.dedup();
        tally.runs += 1;
        tally.called_hung += usize::from(hung);
        tally.broken += usize::from(!hung && !success);
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The job below a tracer.
fn first_child(tracer: u32) -> Option<u32> {
    let threads = fs::read_dir(format!("/proc/{tracer}/task")).ok()?.flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children
        .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .min()
}

/// The diagnosis of a job that still runs.
fn look(tool: &Path, pid: u32) -> Option<Value> {
    let mut look = Command::new(tool);
    look.args(["diagnose", "--format", "json", "--pid", &pid.to_string()]);
    let output = look.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Ended with its run, should this task fail before.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        let asked = Instant::now();
        while let Ok(None) = self.0.try_wait() {
            // The tracer hands it on to the job; it is this process's child and not yet waited for.
            let tracer = rustix::process::Pid::from_child(&self.0);
            let last = asked.elapsed() > Duration::from_secs(20);
            let signal = if last { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
            let _ = rustix::process::kill_process(tracer, signal);
            thread::sleep(Duration::from_millis(200));
        }
    }
}
