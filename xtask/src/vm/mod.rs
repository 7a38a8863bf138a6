//! `cargo xtask vm [KERNEL…|--all]`: the privileged tests in Debian's kernels, each in a virtual machine.
//!
//! Kernels are fetched by apt into a cache outside of the repository (`$XDG_CACHE_HOME/tracer-user`); nothing of another
//! suite is installed. The guests run the tests as they are built here, and their consoles are the evidence.

mod apt;
mod cases;
mod cpio;
mod cross;
mod kernels;
mod machine;
mod payload;
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
use kernels::{Kernel, Offered};
use machine::Machine;
use qemu::{Death, Qemu};
use table::Column;

/// What can be asked of this task.
#[derive(clap::Args)]
pub struct Args {
    /// Series of kernels, such as 6.12; without any, the oldest and the newest
    kernels: Vec<String>,
    /// Every kernel that the suites offer
    #[arg(long, conflicts_with = "kernels")]
    all: bool,
    /// Machine of the guests; the tests are cross-built for another than this one
    #[arg(long, value_enum, default_value_t = Machine::here())]
    arch: Machine,
    /// Only the cases of this test program or of this module of one, such as kernel::exit
    #[arg(long, value_name = "PROGRAM[::MODULE]", conflicts_with = "write")]
    only: Vec<String>,
    /// Looks for newer kernels than the cached ones
    #[arg(long)]
    refresh: bool,
    /// Every case, also what takes long or has limits of time that an emulated machine may not keep
    #[arg(long, conflicts_with_all = ["quick", "write"])]
    long: bool,
    /// Of the cases those that need the least time
    #[arg(long)]
    quick: bool,
    /// Only fetches what the guests need, kernels and emulator
    #[arg(long)]
    fetch: bool,
    /// Writes the table to docs/kernels.md
    #[arg(long)]
    write: bool,
    /// Guests at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds a guest may take
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

    /// Whether the oldest and the newest kernel are asked for.
    fn ends_alone(&self) -> bool {
        !self.all && self.kernels.is_empty()
    }

    /// The file in the cache that lists the series there are: all of them, or those of the suites that have the ends.
    fn list(&self) -> &'static str {
        if self.ends_alone() { "ends" } else { "offered" }
    }
}

/// Runs the tests in the kernels asked for and prints the table.
///
/// # Errors
/// When a kernel cannot be had, a guest dies, or a test fails in one.
pub fn run(args: &Args) -> Result<()> {
    let columns = columns(args)?;
    report(columns.iter().filter(|column| !column.all_well()))
}

/// One error for all kernels that failed.
fn report<'a>(ill: impl Iterator<Item = &'a Column>) -> Result<()> {
    let ill: Vec<String> = ill.map(told).collect();
    if !ill.is_empty() {
        bail!("not every kernel passed:\n{}", ill.join("\n"));
    }
    Ok(())
}

/// Runs the tests, prints the table, and hands back how each kernel did: none, when kernels were only to be fetched.
fn columns(args: &Args) -> Result<Vec<Column>> {
    let cache = cache(args.arch)?;
    // What has to be quick can do with one processor for each guest.
    let qemu = qemu::find(&cache, args.arch, !args.quick && !args.ends_alone())?;
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
    // Its own, should another run be on its way.
    let initrd = tempfile::NamedTempFile::new_in(&place)?;
    fs::write(initrd.path(), payload::make(suites, extent != Extent::Quick, &kernels, args.arch, &cache)?)?;
    println!("{}, {} processors a guest, {} guests at a time", qemu.version, qemu.cpus, args.jobs);
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

/// A short run in the oldest and the newest kernel, where the cache has both and there is an emulator; else says what is
/// missing. A machine too slow to finish it in time is told of, and is no failure.
///
/// # Errors
/// When a guest dies, or a test fails in one.
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
        println!("no kernels or no emulator in {}: `cargo xtask vm --fetch` gets them", cache.display());
        return Ok(());
    }
    report(columns(&args)?.iter().filter(|column| !column.all_well() && !column.only_late()))
}

/// The kernels in the cache: each one's release, the file with its type information, and its machine as
/// `std::env::consts::ARCH` names it.
#[must_use]
pub fn cached_btf() -> Vec<(String, PathBuf, &'static str)> {
    let of = |machine: Machine| {
        let cached = place(machine).map(|cache| kernels::cached(&cache)).unwrap_or_default();
        cached.into_iter().map(move |kernel| (kernel.release, kernel.btf, machine.name()))
    };
    [Machine::X86_64, Machine::Aarch64].into_iter().flat_map(of).collect()
}

/// Each machine has a place of its own; this one's is that of them all.
fn place(machine: Machine) -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let place = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("tracer-user/vm");
    Some(if machine == Machine::here() { place } else { place.join(machine.name()) })
}

/// Where kernels and the emulator are kept.
fn cache(machine: Machine) -> Result<PathBuf> {
    let cache = place(machine).context("neither XDG_CACHE_HOME nor HOME is set")?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// The kernels asked for: from the cache, or fetched where one is not in it. When all are, also those that cannot be had.
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
    let apt =
        if args.ends_alone() { Apt::open_ends(cache, args.arch)? } else { Apt::open(cache, args.arch)? };
    let offers = kernels::offered(&apt, args.arch)?;
    let series: Vec<&str> = offers.iter().map(Offered::series).collect();
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

/// Which of the series that are offered, oldest first, were asked for.
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
        found.with_context(|| format!("no suite offers a kernel {name}; there are {}", offered.join(", ")))
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
            println!("{}", told(&column));
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
    // A kernel that a busy machine kept from booting says nothing of us.
    if outcome.died == Some(Death::Sudden) && !outcome.console.contains(payload::BEGIN) {
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

/// A line on how a kernel did, with what failed.
fn told(column: &Column) -> String {
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

/// Replaces what is between the machine's marks in docs/kernels.md.
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
        "{} kernels in {took} s, {} guests at a time, {} processors a guest, {}: {}.\n",
        releases.len(),
        args.jobs,
        qemu.cpus,
        qemu.version.split(" (").next().unwrap_or_default(),
        releases.join(", ")
    );
    fs::write(&file, format!("{before}{begin}\n{table}\n{made}\n{end}{after}"))
        .context("cannot write docs/kernels.md")
}
