//! `cargo xtask vm [KERNEL…|--all]`: the privileged tests on Debian's kernels, each in a virtual machine.
//!
//! Kernels are fetched by apt into a cache outside of the repository (`$XDG_CACHE_HOME/tracer-user`); nothing
//! of another suite is installed. The guests run the tests as they are built here. Results are read from
//! their consoles.

mod apt;
mod cases;
mod cpio;
mod cross;
mod kernels;
mod machine;
mod payload;
mod protocol;
mod qemu;
mod table;
mod userland;

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{root, target_dir};
use apt::Apt;
use cases::Extent;
use kernels::{Kernel, OfferedSeries};
use machine::Machine;
use qemu::{Death, Qemu};
use table::Column;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Series of kernels, such as 6.12 [default: the oldest and the newest]
    kernels: Vec<String>,
    /// All kernels that the suites offer
    #[arg(long, conflicts_with = "kernels")]
    all: bool,
    /// Machine of the guests; for another than this one the tests are cross-built
    #[arg(long, value_enum, default_value_t = Machine::here())]
    arch: Machine,
    /// Only the cases of this test program or module, such as kernel::exit
    #[arg(long, value_name = "PROGRAM[::MODULE]", conflicts_with = "write")]
    only: Vec<String>,
    /// Look for newer kernels than the cached ones
    #[arg(long)]
    refresh: bool,
    /// All cases, including slow ones and those with time limits that an emulated machine may miss
    #[arg(long, conflicts_with_all = ["quick", "write"])]
    long: bool,
    /// Only the quickest cases
    #[arg(long)]
    quick: bool,
    /// Only fetch kernels and emulator
    #[arg(long)]
    fetch: bool,
    /// Write the table to docs/kernels.md
    #[arg(long)]
    write: bool,
    /// Number of guests that run in parallel
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Time limit of a guest in seconds
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

impl Args {
    fn extent(&self) -> Extent {
        match (self.quick, self.long) {
            (true, _) => Extent::Quick,
            (_, true) => Extent::Long,
            _ => Extent::Core,
        }
    }

    /// Whether only the oldest and the newest kernel are requested.
    fn only_ends(&self) -> bool {
        !self.all && self.kernels.is_empty()
    }

    /// The file in the cache with the offered series: all of them, or those of the suites with the oldest and
    /// newest.
    fn list(&self) -> &'static str {
        if self.only_ends() { "ends" } else { "offered" }
    }
}

/// Runs the tests on the requested kernels and prints the table.
///
/// # Errors
/// When a kernel is unavailable, a guest dies, or a test fails.
pub fn run(args: &Args) -> Result<()> {
    let columns = columns(args)?;
    report(columns.iter().filter(|column| !column.all_well()))
}

/// One error that names all kernels that failed.
fn report<'a>(failed: impl Iterator<Item = &'a Column>) -> Result<()> {
    let failed: Vec<String> = failed.map(summary).collect();
    if !failed.is_empty() {
        bail!("not every kernel passed:\n{}", failed.join("\n"));
    }
    Ok(())
}

/// Runs the tests, prints the table, and returns its columns: none if kernels were only fetched.
fn columns(args: &Args) -> Result<Vec<Column>> {
    let cache = cache(args.arch)?;
    // One CPU per guest is enough for a quick run.
    let qemu = qemu::find(&cache, args.arch, !args.quick && !args.only_ends())?;
    let (kernels, missing) = wanted(args, &cache)?;
    if args.fetch {
        let releases: Vec<&str> = kernels.iter().map(|kernel| kernel.release.as_str()).collect();
        println!("{}; in {}: {}", qemu.version, cache.display(), releases.join(", "));
        return Ok(Vec::new());
    }
    let place = target_dir().join("vm");
    fs::create_dir_all(&place)?;
    let extent = args.extent();
    let mut cases = cases::of(extent);
    cases.retain(|case| case.is_among(&args.only));
    let suites = cases::suites(&cases, extent);
    // A separate file for each run, because runs may overlap.
    let initrd = tempfile::NamedTempFile::new_in(&place)?;
    fs::write(initrd.path(), payload::make(suites, extent != Extent::Quick, &kernels, args.arch, &cache)?)?;
    println!("{}, {} CPUs per guest, {} guests in parallel", qemu.version, qemu.cpus, args.jobs);
    let began = Instant::now();
    let mut columns = boot_all(&qemu, kernels, initrd.path(), args)?;
    columns.extend(missing);
    columns.sort_by(|one, other| kernels::newer(&one.series, &other.series));
    let took = began.elapsed().as_secs();
    let table = table::markdown(&cases, &columns);
    println!("\n{table}\n{} kernels in {took} s", columns.iter().filter(|c| c.release.is_some()).count());
    if args.write {
        write(&table, &columns, &qemu, took, args)?;
    }
    Ok(columns)
}

/// A quick run on the oldest and the newest kernel if the cache has both and there is an emulator; else
/// prints what is missing. A machine that is too slow for the time limit is reported but is not a failure.
///
/// # Errors
/// When a guest dies or a test fails.
pub fn run_if_fetched() -> Result<()> {
    let args = Args {
        kernels: Vec::new(),
        all: false,
        arch: Machine::here(),
        refresh: false,
        long: false,
        quick: true,
        only: Vec::new(),
        fetch: false,
        write: false,
        jobs: 2,
        limit: 240,
    };
    let cache = cache(args.arch)?;
    let known = fs::read_to_string(cache.join(args.list())).unwrap_or_default();
    let cached = kernels::cached(&cache);
    let chosen = chosen(&args, &known.lines().collect::<Vec<_>>()).unwrap_or_default();
    if chosen.is_empty()
        || chosen.iter().any(|series| find(&cached, series).is_none())
        || !qemu::is_there(&cache, args.arch)
    {
        println!("no kernels or no emulator in {}: `cargo xtask vm --fetch` fetches them", cache.display());
        return Ok(());
    }
    report(columns(&args)?.iter().filter(|column| !column.all_well() && !column.only_late()))
}

/// The kernels in the cache: release, BTF file, and machine as in `std::env::consts::ARCH`.
#[must_use]
pub fn cached_btf() -> Vec<(String, PathBuf, &'static str)> {
    let of = |machine: Machine| {
        let cached = place(machine).map(|cache| kernels::cached(&cache)).unwrap_or_default();
        cached.into_iter().map(move |kernel| (kernel.release, kernel.btf, machine.name()))
    };
    [Machine::X86_64, Machine::Aarch64].into_iter().flat_map(of).collect()
}

/// The cache directory of a machine. Those of other machines are below this machine's.
fn place(machine: Machine) -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let place = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("tracer-user/vm");
    Some(if machine == Machine::here() { place } else { place.join(machine.name()) })
}

/// The directory of kernels and emulator, created if needed.
fn cache(machine: Machine) -> Result<PathBuf> {
    let cache = place(machine).context("neither XDG_CACHE_HOME nor HOME is set")?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache)
}

/// The requested kernels, from the cache or fetched. With `--all`, also columns for those that are
/// unavailable.
fn wanted(args: &Args, cache: &Path) -> Result<(Vec<Kernel>, Vec<Column>)> {
    let cached = kernels::cached(cache);
    let known = fs::read_to_string(cache.join(args.list())).unwrap_or_default();
    let known: Vec<&str> = known.lines().collect();
    if !args.refresh
        && let Ok(series) = chosen(args, &known)
        && let Some(kernels) = series.iter().map(|series| find(&cached, series)).collect()
    {
        return Ok((kernels, Vec::new()));
    }
    let apt = if args.only_ends() { Apt::open_ends(cache, args.arch)? } else { Apt::open(cache, args.arch)? };
    let offers = kernels::offered(&apt, args.arch)?;
    let series: Vec<&str> = offers.iter().map(OfferedSeries::series).collect();
    fs::write(cache.join(args.list()), series.join("\n"))?;
    let chosen = chosen(args, &series)?;
    let (mut kernels, mut missing) = (Vec::new(), Vec::new());
    for offer in offers.iter().filter(|offer| chosen.contains(&offer.series())) {
        match kernels::fetch(&apt, cache, offer, args.arch) {
            Ok(kernel) => kernels.push(kernel),
            Err(_) if args.all => missing.push(Column::missing(offer.series())),
            Err(error) => return Err(error),
        }
    }
    Ok((kernels, missing))
}

fn find(kernels: &[Kernel], series: &str) -> Option<Kernel> {
    kernels.iter().find(|kernel| kernel.series == series).cloned()
}

/// The requested series among the offered ones, oldest first.
fn chosen<'a>(args: &Args, offered: &[&'a str]) -> Result<Vec<&'a str>> {
    let (Some(oldest), Some(newest)) = (offered.first(), offered.last()) else {
        bail!("no suite offers a kernel")
    };
    if args.all {
        return Ok(offered.to_vec());
    }
    if args.kernels.is_empty() {
        return Ok(vec![oldest, newest]);
    }
    let by_name = |name: &String| {
        let found = offered.iter().find(|series| *series == name).copied();
        found.with_context(|| {
            format!("no suite offers a kernel {name}: the series are {}", offered.join(", "))
        })
    };
    args.kernels.iter().map(by_name).collect()
}

fn boot_all(qemu: &Qemu, kernels: Vec<Kernel>, initrd: &Path, args: &Args) -> Result<Vec<Column>> {
    let waiting = Mutex::new(VecDeque::from(kernels));
    let columns = Mutex::new(Vec::new());
    let next = || waiting.lock().map(|mut waiting| waiting.pop_front()).unwrap_or_default();
    let work = || -> Result<()> {
        while let Some(kernel) = next() {
            let column = boot(qemu, &kernel, initrd, Duration::from_secs(args.limit))?;
            println!("{}", summary(&column));
            if let Ok(mut columns) = columns.lock() {
                columns.push(column);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..args.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(_) => bail!("a guest's thread panicked"),
            }
        }
        Ok(())
    })?;
    Ok(columns.into_inner().unwrap_or_default())
}

fn boot(qemu: &Qemu, kernel: &Kernel, initrd: &Path, limit: Duration) -> Result<Column> {
    let console = console_of(&kernel.release);
    let boot = || qemu.boot(kernel, initrd, &console, limit);
    let mut outcome = boot()?;
    // A kernel that failed to boot on a busy machine says nothing about the tests.
    if outcome.died == Some(Death::Sudden) && !outcome.console.contains(protocol::BEGIN) {
        outcome = boot()?;
    }
    Ok(Column {
        series: kernel.series.clone(),
        release: Some(kernel.release.clone()),
        seconds: outcome.took.as_secs(),
        died: outcome.died,
        results: table::read(&outcome.console),
    })
}

fn console_of(release: &str) -> PathBuf {
    target_dir().join(format!("vm/{release}.console"))
}

/// One line about a kernel, with the tests that failed.
fn summary(column: &Column) -> String {
    let Column { series, seconds, results, .. } = column;
    let failures = column.failures();
    let died = column.died.map(|why| format!(", {why}")).unwrap_or_default();
    if column.all_well() {
        return format!("{series}: {} tests passed in {seconds} s", results.len());
    }
    let console = console_of(column.release.as_deref().unwrap_or(series));
    format!(
        "{series}: failed after {seconds} s{died}: {} (console: {})",
        failures.join(", "),
        console.display()
    )
}

/// Replaces the machine's table in docs/kernels.md, between its marks.
fn write(table: &str, columns: &[Column], qemu: &Qemu, took: u64, args: &Args) -> Result<()> {
    let begin = format!("<!-- table: cargo xtask vm --arch {} --all --write -->\n", args.arch.name());
    let end = "<!-- end of table -->";
    let file = root().join("docs/kernels.md");
    let page = fs::read_to_string(&file).context("cannot read docs/kernels.md")?;
    let (before, rest) = page.split_once(&begin).context("docs/kernels.md has no mark for its table")?;
    let (_, after) = rest.split_once(end).context("docs/kernels.md has no mark after its table")?;
    let releases = columns.iter().filter_map(|column| column.release.as_deref());
    let releases: Vec<String> = releases.map(|release| format!("`{release}`")).collect();
    let made = format!(
        "{} kernels in {took} s, {} guests in parallel, {} CPUs per guest, {}: {}.\n",
        releases.len(),
        args.jobs,
        qemu.cpus,
        qemu.version.split(" (").next().unwrap_or_default(),
        releases.join(", ")
    );
    fs::write(&file, format!("{before}{begin}\n{table}\n{made}\n{end}{after}"))
        .context("cannot write docs/kernels.md")
}
