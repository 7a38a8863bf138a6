//! The emulator, and the run of one guest in it.
//!
//! Guests always run under software emulation: it behaves the same everywhere, and a nested guest under KVM
//! may fail to boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::kernels::Kernel;
use super::machine::Machine;
use super::protocol::LAST_LINE;
use crate::exec::probe;
use crate::setup;

/// The threaded emulation of qemu 7.2 crashes guests with two CPUs while BPF programs are loaded and
/// unloaded; 10 does not.
const SAFE_FOR_TWO_CPUS: u32 = 10;

/// An emulator.
pub struct Qemu {
    machine: Machine,
    program: PathBuf,
    /// The directory that the emulator was unpacked into, with its libraries and firmware; `None` for the
    /// host's.
    unpacked: Option<PathBuf>,
    /// `QEMU emulator version …`
    pub version: String,
    /// Number of CPUs of a guest.
    pub cpus: u32,
}

/// The host's emulator if it is new enough, else a newer one from the cache (in bookworm from its backports),
/// else the host's with one CPU per guest. `newer`: fetch a newer one if needed.
///
/// # Errors
/// When there is no emulator.
pub fn find(cache: &Path, machine: Machine, newer: bool) -> Result<Qemu> {
    let (name, package) = (machine.emulator(), machine.emulator_package());
    let mut installed = at(machine, name.clone().into(), None);
    if installed.is_none() {
        setup::install(&[package])?;
        installed = at(machine, name.clone().into(), None);
    }
    let installed =
        installed.with_context(|| format!("{name} is not installed: `apt-get install {package}`"))?;
    if installed.cpus > 1 {
        return Ok(installed);
    }
    if let Some(qemu) = private(cache, machine) {
        return Ok(qemu);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if newer && release.contains("VERSION_CODENAME=bookworm") {
        let apt = Apt::open(cache, Machine::here())?;
        let newer = apt.closure("bookworm-backports", &[package])?;
        if let Err(error) = apt.unpack(&newer, &cache.join("qemu")) {
            eprintln!("the emulator of bookworm-backports is unavailable, guests get one CPU: {error:#}");
        }
    }
    Ok(private(cache, machine).unwrap_or(installed))
}

/// Whether an emulator is available without fetching one.
pub fn is_there(cache: &Path, machine: Machine) -> bool {
    at(machine, machine.emulator().into(), None).is_some() || private(cache, machine).is_some()
}

/// The emulator in the cache.
fn private(cache: &Path, machine: Machine) -> Option<Qemu> {
    let unpacked = cache.join("qemu");
    at(machine, unpacked.join("usr/bin").join(machine.emulator()), Some(unpacked))
}

fn at(machine: Machine, program: PathBuf, unpacked: Option<PathBuf>) -> Option<Qemu> {
    let mut qemu = Qemu { machine, program, unpacked, version: String::new(), cpus: 1 };
    qemu.version = probe(qemu.command().arg("--version"))?.lines().next()?.to_string();
    let number = qemu.version.split("version ").nth(1)?.split('.').next()?.parse().unwrap_or(0);
    qemu.cpus = if number >= SAFE_FOR_TWO_CPUS { 2 } else { 1 };
    Some(qemu)
}

/// The outcome of one guest.
pub struct Outcome {
    /// Its console output.
    pub console: String,
    /// How long it ran.
    pub took: Duration,
    /// Why it did not finish; `None` if it did.
    pub died: Option<Death>,
}

/// Why a guest did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It was ended after this many seconds.
    Late(u64),
    /// It ended without its last line.
    Sudden,
}

impl std::fmt::Display for Death {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late(seconds) => write!(out, "not done after {seconds} s"),
            Self::Sudden => out.write_str("the kernel died"),
        }
    }
}

impl Qemu {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.unpacked {
            command.env("LD_LIBRARY_PATH", root.join("usr/lib").join(Machine::here().gnu()));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(firmware));
            }
        }
        command
    }

    /// Boots a kernel with an initial file system and waits for the guest to power off. Its console goes to
    /// the file `console` while it runs.
    ///
    /// # Errors
    /// When the emulator cannot be run. A guest that dies is an outcome.
    pub fn boot(&self, kernel: &Kernel, initrd: &Path, console: &Path, limit: Duration) -> Result<Outcome> {
        // timeout(1) ends the emulator even if this task is gone.
        let mut command = Command::new("timeout");
        let qemu = self.command();
        command
            .args(["--signal=KILL", &limit.as_secs().to_string()])
            .arg(qemu.get_program())
            .args(qemu.get_args());
        command.envs(qemu.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["-accel", "tcg,thread=multi", "-m", "2G"]);
        command.args([
            "-smp",
            &self.cpus.to_string(),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        fs::write(console, "").with_context(|| format!("cannot write {}", console.display()))?;
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(&kernel.vmlinux).arg("-initrd").arg(initrd);
        command.args(self.machine.board()).args(["-append", &self.machine.command_line()]);
        let began = std::time::Instant::now();
        let output = command.stdin(Stdio::null()).output().context("cannot start qemu")?;
        let console = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        let error = String::from_utf8_lossy(&output.stderr);
        if console.is_empty() && !output.status.success() {
            bail!("qemu failed: {}", error.trim());
        }
        let took = began.elapsed();
        let died = (!console.contains(LAST_LINE)).then(|| match output.status.code() {
            Some(137) | None => Death::Late(limit.as_secs()),
            _ => Death::Sudden,
        });
        Ok(Outcome { console, took, died })
    }
}
