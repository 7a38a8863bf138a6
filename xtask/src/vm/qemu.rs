//! The emulator, and one guest's life in it.
//!
//! Software emulation throughout: it is the same everywhere, and a nested guest under KVM may not get through its boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::kernels::Kernel;
use crate::exec::probe;
use crate::setup;

/// qemu 7.2's threaded emulation makes guests with two processors die while BPF programs come and go; 10 does not.
const SAFE_FOR_TWO_CPUS: u32 = 10;
const NAME: &str = "qemu-system-x86_64";

/// An emulator.
pub struct Qemu {
    program: PathBuf,
    /// A folder that an emulator was unpacked into, with its own libraries and firmware.
    unpacked: Option<PathBuf>,
    /// `QEMU emulator version …`
    pub version: String,
    /// Processors of a guest.
    pub cpus: u32,
}

/// The machine's emulator where it is new enough; else a newer one in the cache, which in bookworm its backports have; else
/// the machine's with one processor for the guest. `newer`: a newer one is worth fetching.
///
/// # Errors
/// Without any.
pub fn find(cache: &Path, newer: bool) -> Result<Qemu> {
    let mut installed = at(NAME.into(), None);
    if installed.is_none() {
        setup::install(&["qemu-system-x86"])?;
        installed = at(NAME.into(), None);
    }
    let installed = installed.context("no qemu-system-x86_64: `apt-get install qemu-system-x86` gets it")?;
    if installed.cpus > 1 {
        return Ok(installed);
    }
    let unpacked = cache.join("qemu");
    let private = || at(unpacked.join("usr/bin").join(NAME), Some(unpacked.clone()));
    if let Some(qemu) = private() {
        return Ok(qemu);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if newer && release.contains("VERSION_CODENAME=bookworm") {
        let apt = Apt::open(cache)?;
        let newer = apt.closure("bookworm-backports", "qemu-system-x86")?;
        if let Err(error) = apt.unpack(&newer, &unpacked) {
            eprintln!(
                "the emulator of bookworm-backports cannot be had, guests get one processor: {error:#}"
            );
        }
    }
    Ok(private().unwrap_or(installed))
}

/// Whether an emulator is there without fetching one.
pub fn is_there(cache: &Path) -> bool {
    let unpacked = cache.join("qemu");
    at(NAME.into(), None).is_some()
        || at(unpacked.join("usr/bin").join(NAME), Some(unpacked.clone())).is_some()
}

fn at(program: PathBuf, unpacked: Option<PathBuf>) -> Option<Qemu> {
    let mut qemu = Qemu { program, unpacked, version: String::new(), cpus: 1 };
    qemu.version = probe(qemu.command().arg("--version"))?.lines().next()?.to_string();
    let number = qemu.version.split("version ").nth(1)?.split('.').next()?.parse().unwrap_or(0);
    qemu.cpus = if number >= SAFE_FOR_TWO_CPUS { 2 } else { 1 };
    Some(qemu)
}

/// How a guest's life went.
pub struct Outcome {
    /// All it wrote to its console.
    pub console: String,
    /// How long it lived.
    pub took: Duration,
    /// Why it is to be held dead, if it is.
    pub died: Option<Death>,
}

/// How a guest ended that did not get to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It was ended after so many seconds.
    Late(u64),
    /// It ended itself.
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

/// The line that init writes last.
pub const LAST_LINE: &str = "@@ the guest is done";

impl Qemu {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.unpacked {
            command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(firmware));
            }
        }
        command
    }

    /// Boots a kernel with an initial file system and waits for the guest to switch itself off. What it says goes to the
    /// file `console` while it lives.
    ///
    /// # Errors
    /// When the emulator cannot be run; a guest that dies is an outcome.
    pub fn boot(&self, kernel: &Kernel, initrd: &Path, console: &Path, limit: Duration) -> Result<Outcome> {
        // `timeout` ends the emulator also when this task is gone.
        let mut command = Command::new("timeout");
        let qemu = self.command();
        command
            .args(["--signal=KILL", &limit.as_secs().to_string()])
            .arg(qemu.get_program())
            .args(qemu.get_args());
        command.envs(qemu.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-m", "2G"]);
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
        // On a busy machine the time stamp counter's rate is measured wrongly, and the guest's clock runs away; and the timer
        // is found not to work.
        command.args([
            "-append",
            "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr no5lvl clocksource=hpet no_timer_check random.trust_cpu=on",
        ]);
        let began = std::time::Instant::now();
        let output = command.stdin(Stdio::null()).output().context("cannot start qemu")?;
        let console = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        let told = String::from_utf8_lossy(&output.stderr);
        if console.is_empty() && !output.status.success() {
            bail!("qemu failed: {}", told.trim());
        }
        let took = began.elapsed();
        let died = (!console.contains(LAST_LINE)).then(|| match output.status.code() {
            Some(137) | None => Death::Late(limit.as_secs()),
            _ => Death::Sudden,
        });
        Ok(Outcome { console, took, died })
    }
}
