//! The hook's writer slots, mapped: a walk costs no system call per slot.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use tracer_ebpf::limits;
use tracer_ebpf::names;
use tracer_ebpf::wire::WriterSlot;

use super::error::KernelError;
use super::handles::pinned_map_data;
use super::stall_reports::SleepKey;

/// A read-only mapping of the slots.
pub struct Slots {
    at: NonNull<WriterSlot>,
}

// SAFETY: the mapping is read-only here and belongs to this value alone.
unsafe impl Send for Slots {}

impl Slots {
    const BYTES: usize = limits::WRITER_SLOTS as usize * size_of::<WriterSlot>();

    /// Maps the slots of the hook that is pinned in this directory.
    pub fn map(hook: &Path) -> Result<Self, KernelError> {
        let what = "mapping the writer slots";
        let data = pinned_map_data(hook, names::SLOTS)?;
        // SAFETY: a new shared mapping of a map that has exactly this many bytes. Nothing else is mapped
        // there.
        let at = unsafe {
            mmap(std::ptr::null_mut(), Self::BYTES, ProtFlags::READ, MapFlags::SHARED, data.fd().as_fd(), 0)
        };
        let at = at.map_err(|error| KernelError::of(what, std::io::Error::from(error)))?;
        let at = NonNull::new(at.cast()).ok_or_else(|| KernelError::Refused {
            what: what.to_owned(),
            why: "mapped at address 0".to_owned(),
        })?;
        Ok(Self { at })
    }

    /// The slots in use since before `deadline_boot_ns`, with their index.
    pub fn sleeping_since(&self, deadline_boot_ns: u64) -> impl Iterator<Item = (u32, SleepKey)> {
        (0..limits::WRITER_SLOTS).filter_map(move |index| {
            // SAFETY: inside the mapping. The kernel writes there at any time, hence volatile reads of one
            // field each. A torn slot is recognized later, when the program that looks at it compares.
            let (tid, since_boot_ns) = unsafe {
                let slot = self.at.as_ptr().add(index as usize);
                ((&raw const (*slot).tid).read_volatile(), (&raw const (*slot).since_boot_ns).read_volatile())
            };
            (tid != 0 && since_boot_ns <= deadline_boot_ns)
                .then_some((index, SleepKey { tid, since_boot_ns }))
        })
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, not used after this.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), Self::BYTES) };
    }
}
