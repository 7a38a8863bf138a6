//! The executables and libraries that a process has mapped, and their unwind tables.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use object::{Object as _, ObjectSection as _, ObjectSegment as _, ReadCache, SegmentFlags};

use crate::core::evidence::ByteString;
use crate::procfs_view::maps::Mapping;

/// Unwind tables that are larger are not read, bytes.
const MOST_BYTES: u64 = 128 << 20;

/// A mapped executable or library.
pub(super) struct Module {
    /// Its code in the process.
    pub code: Range<u64>,
    /// What is added to an address of the file to get the process's.
    pub bias: u64,
    /// Path, as the process sees it.
    pub name: ByteString,
    /// A path at which this process can open the same file.
    pub path: PathBuf,
    pub eh_frame: Option<Section>,
    pub eh_frame_hdr: Option<Section>,
    pub debug_frame: Option<Vec<u8>>,
}

/// A section that is loaded.
#[derive(Clone)]
pub(super) struct Section {
    /// Its addresses in the file.
    pub addresses: Range<u64>,
    pub bytes: Vec<u8>,
}

impl Module {
    /// Reads the module behind an executable mapping. `None` when its file cannot be opened, or is no ELF
    /// file.
    pub(super) fn open(tgid: u32, mapping: &Mapping) -> Option<Self> {
        let name = mapping.path.clone().filter(|_| mapping.file.ino != 0)?;
        let (file, path) = open(tgid, mapping, &name)?;
        let cache = ReadCache::new(file);
        let elf = object::File::parse(&cache).ok()?;
        // A mapping begins at a page, a segment where it begins. Where two segments meet in a page, only
        // one has code.
        let segment = elf.segments().find(|segment| {
            let (offset, size) = segment.file_range();
            let has_code =
                matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
            has_code && (offset & !0xfff..offset + size).contains(&mapping.offset)
        })?;
        let at = segment.address().wrapping_add(mapping.offset).wrapping_sub(segment.file_range().0);
        let section = |name: &str| {
            let section = elf.section_by_name(name).filter(|section| section.size() < MOST_BYTES)?;
            let bytes = section.uncompressed_data().ok()?.into_owned();
            Some(Section { addresses: section.address()..section.address() + section.size(), bytes })
        };
        Some(Self {
            code: mapping.start..mapping.end,
            bias: mapping.start.wrapping_sub(at),
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            debug_frame: section(".debug_frame").map(|section| section.bytes),
            name,
            path,
        })
    }

    /// Where the function of an address of the process begins there, by the sorted table of `.eh_frame_hdr`
    /// (LSB Core, "Exception Frames"). `None` without one, or in an encoding that no linker writes.
    pub(super) fn function_start(&self, address: u64) -> Option<u64> {
        let header = self.eh_frame_hdr.as_ref()?;
        let bytes = &header.bytes;
        if !matches!(bytes.get(..4)?, [1, 0x1b, 0x03, 0x3b]) {
            return None;
        }
        let number = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let count = usize::try_from(number(8)?).ok()?.min((bytes.len() - 12) / 8);
        let start = |entry: usize| {
            let offset = i64::from(number(12 + entry * 8)?);
            Some(header.addresses.start.wrapping_add_signed(offset).wrapping_add(self.bias))
        };
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if start(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        start(low.checked_sub(1)?)
    }
}

/// Opens the file of a mapping, and the path that led to it. The file has to be the one that is mapped, and
/// not one that has its name now.
fn open(tgid: u32, mapping: &Mapping, name: &ByteString) -> Option<(File, PathBuf)> {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let below = plain.strip_prefix("/").ok()?;
    let candidates = [
        plain.to_path_buf(),
        PathBuf::from(format!("/proc/{tgid}/root")).join(below),
        PathBuf::from(format!("/proc/{tgid}/map_files/{:x}-{:x}", mapping.start, mapping.end)),
    ];
    candidates.into_iter().find_map(|path| {
        let options = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(options).open(&path).ok()?;
        let facts = file.metadata().ok()?;
        // Some file systems show another device in `maps` than in `stat`.
        (facts.is_file() && facts.ino() == mapping.file.ino).then_some((file, path))
    })
}
