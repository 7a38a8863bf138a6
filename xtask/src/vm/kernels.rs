//! Debian's kernels: which there are, and each one's `vmlinux`, BTF and a few modules in the cache.

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

/// What a Debian system loads by itself as soon as somebody asks for sockets, in an order that they can be loaded in.
pub const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "udp_diag", "unix_diag"];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `6.12`
    pub series: String,
    /// `6.12.117+deb13-cloud-amd64`
    pub release: String,
    /// What is booted: the decompressed kernel, which spares the guest the work.
    pub vmlinux: PathBuf,
    /// Its type information.
    pub btf: PathBuf,
    /// The folder with its modules.
    pub modules: PathBuf,
}

/// What suites offer of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    series: String,
    /// Release and package of each kernel, the newest first.
    kernels: Vec<(String, String)>,
}

/// The cloud kernels that apt lists, oldest series first.
pub fn offered(apt: &Apt, machine: Machine) -> Result<Vec<Offered>> {
    Ok(by_series(&apt.names(&format!("^linux-(image|binary)-[0-9].*-cloud-{}$", machine.debian()))?))
}

fn by_series(packages: &[String]) -> Vec<Offered> {
    let mut all: Vec<Offered> = Vec::new();
    for package in packages {
        // From 6.19 on the kernel is in `linux-binary-…`; the image package of that name only points to it.
        let binary = package.strip_prefix("linux-binary-");
        let Some(release) = binary.or_else(|| package.strip_prefix("linux-image-")) else { continue };
        let version = numbers(release);
        // `linux-image-6.1-cloud-amd64` points to whatever is newest.
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
            None => all.push(Offered { series, kernels: vec![kernel] }),
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

/// The kernels that are in the cache, oldest first.
pub fn cached(cache: &Path) -> Vec<Kernel> {
    let folders = fs::read_dir(cache.join("kernels")).into_iter().flatten().flatten();
    let mut kernels: Vec<Kernel> = folders.filter_map(|folder| read(&folder.path())).collect();
    kernels.sort_by(|one, other| newer(&one.series, &other.series));
    kernels
}

fn read(folder: &Path) -> Option<Kernel> {
    let release = fs::read_to_string(folder.join("release")).ok()?.trim().to_string();
    let series = folder.file_name()?.to_str()?.into();
    let [vmlinux, btf, modules] = ["vmlinux", "btf", "modules"].map(|name| folder.join(name));
    modules.is_dir().then_some(Kernel { series, release, vmlinux, btf, modules })
}

/// Kernels of a series that are tried: a list may name one whose file is not there.
const TRIES: usize = 3;

/// Brings the newest kernel of a series that can be had into the cache.
pub fn fetch(apt: &Apt, cache: &Path, offer: &Offered, machine: Machine) -> Result<Kernel> {
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

/// `vmlinux`, `btf`, `modules`, and last of all `release`, so that half a kernel is none.
fn fetch_one(
    apt: &Apt,
    cache: &Path,
    series: &str,
    (release, package): (&str, &str),
    machine: Machine,
) -> Result<Kernel> {
    let folder = cache.join("kernels").join(series);
    if let Some(kernel) = read(&folder).filter(|kernel| kernel.release == release) {
        return Ok(kernel);
    }
    println!("fetching {package}");
    fs::create_dir_all(&folder)?;
    let unpacked = tempfile::tempdir_in(cache)?;
    let mut packages = vec![package.to_owned()];
    // In a package of their own where the kernel is in one.
    packages.extend(apt.names(&format!("^linux-modules-{}$", regex_free(release)))?);
    apt.unpack(&packages, unpacked.path())?;
    let image = find_image(unpacked.path()).with_context(|| format!("{package} holds no kernel"))?;
    let packed = fs::read(&image)?;
    let (vmlinux, btf) = match machine {
        Machine::X86_64 => decompressed(&packed).and_then(|vmlinux| {
            let btf = btf_of_elf(&vmlinux)?;
            Ok((vmlinux, btf))
        }),
        Machine::Aarch64 => btf_within(&packed).map(|btf| (packed, btf)),
    }
    .with_context(|| format!("cannot unpack {}", image.display()))?;
    fs::write(folder.join("btf"), btf)?;
    fs::write(folder.join("vmlinux"), vmlinux)?;
    let modules = folder.join("modules");
    fs::create_dir_all(&modules)?;
    for name in MODULES {
        // The package of a kernel that is not the newest any more may be gone.
        if let Some(module) = find_module(unpacked.path(), name)? {
            fs::write(modules.join(format!("{name}.ko")), module)?;
        }
    }
    fs::write(folder.join("release"), release)?;
    read(&folder).context("the kernel went away again")
}

impl Offered {
    /// `6.12`
    pub fn series(&self) -> &str {
        &self.series
    }
}

fn find_image(root: &Path) -> Option<PathBuf> {
    let places = [root.join("boot"), root.join("usr/lib/modules")];
    let mut folders: Vec<PathBuf> = places.into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("kernel") {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(path);
            }
        }
    }
    None
}

/// A version as a regular expression that matches it alone.
fn regex_free(version: &str) -> String {
    version.replace('.', "[.]").replace('+', "[+]")
}

/// A module, unpacked, if the kernel's packages hold it.
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

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path()).filter(|path| !path.is_symlink());
    paths.find_map(|path| match path.file_name()?.to_str()?.strip_prefix(name) {
        Some(".ko" | ".ko.xz" | ".ko.zst") => Some(path),
        _ => path.is_dir().then(|| find(&path, name))?,
    })
}

/// The ELF kernel in a bzImage: the boot protocol's header says where it lies, its first bytes how it is compressed.
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
    // The build appends the length to all but gzip, whose format ends in it.
    let cut = &payload[..payload.len().saturating_sub(4)];
    match payload.get(..4).unwrap_or_default() {
        [0x28, 0xb5, 0x2f, 0xfd] => filter("zstd", cut),
        [0x02, 0x21, 0x4c, 0x18] => filter("lz4", cut),
        [0xfd, b'7', b'z', b'X'] => filter("xz", cut),
        [0x1f, 0x8b, ..] => filter("gzip", payload),
        other => bail!("compressed in an unknown way: {other:02x?}"),
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
        bail!("`{}` gave no ELF file: {}", shown(&command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The type information in a kernel that is no ELF file: an arm64 `Image`, the kernel as it lies in memory.
fn btf_within(image: &[u8]) -> Result<Vec<u8>> {
    /// Magic number, version, flags and length of the header; types begin after it.
    const BEGINNING: [u8; 12] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
    if image.get(0x38..0x3c) != Some(b"ARMd") {
        bail!("no kernel image of arm64");
    }
    let whole = |at: usize| {
        let word = |n: usize| {
            let bytes = image.get(at + n..at + n + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes) as usize)
        };
        let (types, strings_at, strings) = (word(12)?, word(16)?, word(20)?);
        (types == strings_at && types > 0)
            .then(|| image.get(at..at + BEGINNING.len() + 12 + types + strings))?
    };
    let beginnings = memchr::memmem::find_iter(image, &BEGINNING);
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
    fn type_information_is_found_in_an_image() {
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
    fn what_is_no_kernel_is_refused() {
        assert!(decompressed(b"MZ").is_err());
        assert!(decompressed(&[0; 4096]).is_err());
    }
}
