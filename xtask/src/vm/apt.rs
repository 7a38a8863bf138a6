//! Fetches packages of other Debian suites without installing them: apt with its own state in the cache.
//!
//! Signatures are checked against Debian's keyring. Nothing is unpacked outside of the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::machine::Machine;
use crate::exec::{exec, output, shown};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Archive and suite. An unreachable suite only loses its kernels.
const SUITES: &[(&str, &str)] = &[
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "bookworm-backports"),
    ("debian", "trixie"),
    ("debian-security", "trixie-security"),
    ("debian", "trixie-backports"),
    ("debian", "sid"),
    ("debian", "experimental"),
];

/// The suites with the oldest and the newest kernels.
const ENDS: &[(&str, &str)] =
    &[("debian-security", "bullseye-security"), ("debian", "trixie-backports"), ("debian", "sid")];

/// apt with its own state directory.
pub struct Apt {
    place: PathBuf,
    /// The machine whose packages it fetches.
    machine: Machine,
}

impl Apt {
    /// Prepares the state below the cache and fetches the suites' lists.
    ///
    /// # Errors
    /// When apt or Debian's keyring is missing, or no suite can be reached.
    pub fn open(cache: &Path, machine: Machine) -> Result<Self> {
        Self::with(cache, machine, SUITES)
    }

    /// As [`Self::open`], but only with the suites of the oldest and the newest kernels.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_ends(cache: &Path, machine: Machine) -> Result<Self> {
        Self::with(cache, machine, ENDS)
    }

    fn with(cache: &Path, machine: Machine, suites: &[(&str, &str)]) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing: `apt-get install debian-archive-keyring`");
        }
        let apt = Self { place: cache.join("apt"), machine };
        for directory in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.place.join(directory))?;
        }
        fs::write(apt.place.join("nothing"), "")?;
        let mirror = mirror();
        let line = |(archive, suite): &(&str, &str)| {
            format!("deb [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n")
        };
        fs::write(apt.place.join("sources.list"), suites.iter().map(line).collect::<String>())?;
        // apt fails if one suite is unreachable, but still fetches the lists of the others.
        let mut update = apt.command("apt-get");
        update.args([
            "update",
            "-q",
            "-o",
            "Acquire::Languages=none",
            "-o",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ]);
        let result = update.output().with_context(|| format!("cannot start `{}`", shown(&update)))?;
        if !result.status.success() {
            eprintln!("some suites are unavailable:\n{}", String::from_utf8_lossy(&result.stderr).trim_end());
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |option: &str, directory: &str| format!("{option}={}", self.place.join(directory).display());
        for option in [
            at("Dir::State", "state"),
            at("Dir::State::Lists", "state/lists"),
            at("Dir::Cache", "cache"),
            at("Dir::Etc::SourceList", "sources.list"),
            "Dir::Etc::SourceParts=/dev/null".into(),
            // No package of another machine is installed here.
            if self.foreign() {
                at("Dir::State::status", "nothing")
            } else {
                "Dir::State::status=/var/lib/dpkg/status".into()
            },
            format!("APT::Architecture={}", self.machine.debian()),
            format!("APT::Architectures={}", self.machine.debian()),
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C");
        command
    }

    fn foreign(&self) -> bool {
        self.machine != Machine::here()
    }

    /// Names of the packages that match a regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found
            .lines()
            .filter_map(|line| line.split(" - ").next())
            .map(|name| name.trim().to_string())
            .collect())
    }

    /// Downloads packages and unpacks them into `into`.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let downloads = tempfile::tempdir_in(&self.place)?;
        exec(self.command("apt-get").current_dir(downloads.path()).args(["download", "-q"]).args(packages))?;
        fs::create_dir_all(into)?;
        for entry in fs::read_dir(downloads.path())? {
            exec(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(into))?;
        }
        Ok(())
    }

    /// Packages that would be installed along with packages of a suite, as `name=version`. For another
    /// machine, as if nothing were installed.
    pub fn closure(&self, suite: &str, packages: &[&str]) -> Result<Vec<String>> {
        let mut plan = self.command("apt-get");
        plan.args(["install", "--simulate", "--reinstall", "--no-install-recommends", "-q", "-t", suite]);
        plan.args(packages);
        let plan = output(&mut plan)?;
        Ok(plan.lines().filter_map(planned).collect())
    }
}

/// `Inst name [old] (new …)` as `name=new`.
fn planned(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let version = rest.split_once('(')?.1.split_whitespace().next()?;
    Some(format!("{name}={version}"))
}

/// The Debian mirror that this machine uses, else Debian's own.
fn mirror() -> String {
    let files = [
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list.d/debian.list",
    ];
    let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let mut mirrors = words.filter_map(|word| word.trim_end_matches('/').strip_suffix("/debian"));
    mirrors.find(|mirror| mirror.starts_with("http")).unwrap_or("http://deb.debian.org").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_packages_and_versions() {
        let line = "Inst seabios [1.16.2-1] (1.16.3-2~bpo12+1 Debian Backports:x [all])";
        assert_eq!(planned(line).as_deref(), Some("seabios=1.16.3-2~bpo12+1"));
        assert_eq!(planned("Inst new (1:2.0 Debian:x [amd64]) []").as_deref(), Some("new=1:2.0"));
        assert_eq!(planned("Conf seabios (1.16.3-2 x)"), None);
    }
}
