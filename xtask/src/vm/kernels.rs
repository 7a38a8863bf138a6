//! Debian's kernels: the available ones, and `vmlinux`, BTF and a few modules of each in the cache.

use std::cmp::Ordering;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use super::apt::Apt;
use super::machine::Machine;
use crate::exec::shown;

/// Modules that a Debian system loads on the first request for sockets, in loading order.
pub const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "udp_diag", "unix_diag"];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `6.12`
    pub series: String,
    /// `6.12.117+deb13-cloud-amd64`
    pub release: String,
    /// The kernel to boot, decompressed to save the guest the work.
    pub vmlinux: PathBuf,
    /// Its BTF.
    pub btf: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
}

/// The kernels of one series that suites offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSeries {
    series: String,
    /// Release and package of each kernel, newest first.
    kernels: Vec<(String, String)>,
}

/// The cloud kernels that apt lists, oldest series first.
pub fn offered(apt: &Apt, machine: Machine) -> Result<Vec<OfferedSeries>> {
    Ok(by_series(&apt.names(&format!("^linux-(image|binary)-[0-9].*-cloud-{}$", machine.debian()))?))
}

fn by_series(packages: &[String]) -> Vec<OfferedSeries> {
    let mut all: Vec<OfferedSeries> = Vec::new();
    for package in packages {
        // Since 6.19 the kernel is in `linux-binary-…`, and the image package only depends on it.
        let binary = package.strip_prefix("linux-binary-");
        let Some(release) = binary.or_else(|| package.strip_prefix("linux-image-")) else { continue };
        let version = numbers(release);
        // `linux-image-6.1-cloud-amd64` depends on the newest one.
        if version.len() < 3 || release.matches('.').count() < 2 {
            continue;
        }
        if binary.is_none() && packages.iter().any(|other| *other == format!("linux-binary-{release}")) {
            continue;
        }
        let series = format!("{}.{}", version[0], version[1]);
        let kernel = (release.to_owned(), package.clone());
        match all.iter_mut().find(|other| other.series == series) {
            Some(other) => other.kernels.push(kernel),
            None => all.push(OfferedSeries { series, kernels: vec![kernel] }),
        }
    }
    for offer in &mut all {
        offer.kernels.sort_by(|(one, _), (other, _)| newer(other, one));
    }
    all.sort_by(|one, other| newer(&one.series, &other.series));
    all
}

fn numbers(version: &str) -> Vec<u64> {
    let version = version.split_once("-cloud-").map_or(version, |(version, _)| version);
    let digits = version.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|part| part.parse().ok()).collect()
}

/// Orders two versions by their numbers.
pub fn newer(one: &str, other: &str) -> Ordering {
    numbers(one).cmp(&numbers(other))
}

/// The kernels in the cache, oldest first.
pub fn cached(cache: &Path) -> Vec<Kernel> {
    let directories = fs::read_dir(cache.join("kernels")).into_iter().flatten().flatten();
    let mut kernels: Vec<Kernel> = directories.filter_map(|directory| read(&directory.path())).collect();
    kernels.sort_by(|one, other| newer(&one.series, &other.series));
    kernels
}

fn read(directory: &Path) -> Option<Kernel> {
    let release = fs::read_to_string(directory.join("release")).ok()?.trim().to_string();
    let series = directory.file_name()?.to_str()?.into();
    let [vmlinux, btf, modules] = ["vmlinux", "btf", "modules"].map(|name| directory.join(name));
    modules.is_dir().then_some(Kernel { series, release, vmlinux, btf, modules })
}

/// How many kernels of a series are tried. A list may name one whose file is gone.
const TRIES: usize = 3;

/// Fetches the newest available kernel of a series into the cache.
pub fn fetch(apt: &Apt, cache: &Path, offer: &OfferedSeries, machine: Machine) -> Result<Kernel> {
    let mut failed = None;
    for (release, package) in offer.kernels.iter().take(TRIES) {
        match fetch_one(apt, cache, &offer.series, (release, package), machine) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => {
                eprintln!("{package}: {error:#}");
                failed = Some(error);
            }
        }
    }
    Err(failed.context("no suite offers it")?)
}

/// Writes `vmlinux`, `btf`, `modules`, and last `release`, so that an incomplete kernel is not used.
fn fetch_one(
    apt: &Apt,
    cache: &Path,
    series: &str,
    (release, package): (&str, &str),
    machine: Machine,
) -> Result<Kernel> {
    let directory = cache.join("kernels").join(series);
    if let Some(kernel) = read(&directory).filter(|kernel| kernel.release == release) {
        return Ok(kernel);
    }
    println!("fetching {package}");
    fs::create_dir_all(&directory)?;
    let unpacked = tempfile::tempdir_in(cache)?;
    let mut packages = vec![package.to_owned()];
    // Modules have a separate package where the kernel has one.
    packages.extend(apt.names(&format!("^linux-modules-{}$", escaped(release)))?);
    apt.unpack(&packages, unpacked.path())?;
    let image = find_image(unpacked.path()).with_context(|| format!("{package} contains no kernel"))?;
    let packed = fs::read(&image)?;
    let (vmlinux, btf) = match machine {
        Machine::X86_64 => decompressed(&packed).and_then(|vmlinux| {
            let btf = btf_of_elf(&vmlinux)?;
            Ok((vmlinux, btf))
        }),
        Machine::Aarch64 => btf_within(&packed).map(|btf| (packed, btf)),
    }
    .with_context(|| format!("cannot unpack {}", image.display()))?;
    fs::write(directory.join("btf"), btf)?;
    fs::write(directory.join("vmlinux"), vmlinux)?;
    let modules = directory.join("modules");
    fs::create_dir_all(&modules)?;
    for name in MODULES {
        // The modules of a kernel that is no longer the newest may be gone.
        if let Some(module) = find_module(unpacked.path(), name)? {
            fs::write(modules.join(format!("{name}.ko")), module)?;
        }
    }
    fs::write(directory.join("release"), release)?;
    read(&directory).context("the fetched kernel cannot be read")
}

impl OfferedSeries {
    /// `6.12`
    pub fn series(&self) -> &str {
        &self.series
    }
}

fn find_image(root: &Path) -> Option<PathBuf> {
    let places = [root.join("boot"), root.join("usr/lib/modules")];
    let mut directories: Vec<PathBuf> = places.into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("kernel") {
                directories.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(path);
            }
        }
    }
    None
}

/// A version as a regular expression that matches only it.
fn escaped(version: &str) -> String {
    version.replace('.', "[.]").replace('+', "[+]")
}

/// A module, unpacked, if the kernel's packages contain it.
fn find_module(root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let found = find(&root.join("usr/lib/modules"), name).or_else(|| find(&root.join("lib/modules"), name));
    let Some(path) = found else { return Ok(None) };
    let module = fs::read(&path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => filter("xz", &module).map(Some),
        Some("zst") => filter("zstd", &module).map(Some),
        _ => Ok(Some(module)),
    }
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path()).filter(|path| !path.is_symlink());
    paths.find_map(|path| match path.file_name()?.to_str()?.strip_prefix(name) {
        Some(".ko" | ".ko.xz" | ".ko.zst") => Some(path),
        _ => path.is_dir().then(|| find(&path, name))?,
    })
}

/// The ELF kernel in a bzImage. The header of the boot protocol (Documentation/arch/x86/boot.rst) gives its
/// place, its first bytes the compression.
fn decompressed(image: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("too short for a kernel")?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    if image.get(0x202..0x206).is_none() || &image[0x202..0x206] != b"HdrS" {
        bail!("not a bzImage");
    }
    let setup = (usize::from(image[0x1f1]) + 1) * 512;
    let start = setup + word(0x248)?;
    let payload = image.get(start..start + word(0x24c)?).context("the payload is cut off")?;
    // The build appends the length, except to gzip, whose format ends with it.
    let cut = &payload[..payload.len().saturating_sub(4)];
    match payload.get(..4).unwrap_or_default() {
        [0x28, 0xb5, 0x2f, 0xfd] => filter("zstd", cut),
        [0x02, 0x21, 0x4c, 0x18] => filter("lz4", cut),
        [0xfd, b'7', b'z', b'X'] => filter("xz", cut),
        [0x1f, 0x8b, ..] => filter("gzip", payload),
        other => bail!("unknown compression: {other:02x?}"),
    }
}

fn filter(program: &str, input: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(["-d", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(&command)))?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })?;
    if !output.stdout.starts_with(b"\x7fELF") {
        bail!(
            "`{}` did not write an ELF file: {}",
            shown(&command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// The BTF in an arm64 `Image`, which is the kernel as it lies in memory and not an ELF file.
fn btf_within(image: &[u8]) -> Result<Vec<u8>> {
    /// Magic number, version, flags and length of the header. The types follow it.
    const HEADER: [u8; 12] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
    if image.get(0x38..0x3c) != Some(b"ARMd") {
        bail!("not an arm64 kernel image");
    }
    let whole = |at: usize| {
        let word = |n: usize| {
            let bytes = image.get(at + n..at + n + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes) as usize)
        };
        let (types, strings_at, strings) = (word(12)?, word(16)?, word(20)?);
        (types == strings_at && types > 0).then(|| image.get(at..at + HEADER.len() + 12 + types + strings))?
    };
    let beginnings = memchr::memmem::find_iter(image, &HEADER);
    let found = beginnings.filter_map(whole).max_by_key(|btf| btf.len());
    Ok(found.context("the kernel has no BTF")?.to_vec())
}

fn btf_of_elf(vmlinux: &[u8]) -> Result<Vec<u8>> {
    let file = object::File::parse(vmlinux).context("cannot read the unpacked kernel")?;
    Ok(file.section_by_name(".BTF").context("the kernel has no BTF")?.data()?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_series_is_taken() {
        let packages = [
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-7.0.9+deb13-cloud-amd64",
            "linux-binary-7.0.13+deb13-cloud-amd64",
            "linux-image-7.0.13+deb13-cloud-amd64",
            "linux-image-7.3-cloud-amd64",
        ];
        let found = by_series(&packages.map(String::from));
        let names: Vec<&str> = found.iter().map(|offer| offer.kernels[0].1.as_str()).collect();
        assert_eq!(
            names,
            [
                "linux-image-5.10.0-46-cloud-amd64",
                "linux-image-6.1.0-50-cloud-amd64",
                "linux-binary-7.0.13+deb13-cloud-amd64"
            ]
        );
    }

    #[test]
    fn series_are_ordered_by_number() {
        assert_eq!(newer("6.9", "6.12"), Ordering::Less);
        assert_eq!(newer("7.0.13+deb13", "7.0.9+deb13"), Ordering::Greater);
    }

    #[test]
    fn btf_is_found_in_an_image() {
        let mut image = vec![0; 100];
        image[0x38..0x3c].copy_from_slice(b"ARMd");
        assert!(btf_within(&image).is_err());
        let header = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0];
        image.extend(header);
        assert!(btf_within(&image).is_err(), "cut short");
        image.extend([7; 13]);
        image.push(9);
        assert_eq!(btf_within(&image).unwrap(), [&header[..], &[7; 13]].concat());
    }

    #[test]
    fn files_that_are_not_kernels_are_refused() {
        assert!(decompressed(b"MZ").is_err());
        assert!(decompressed(&[0; 4096]).is_err());
    }
}
