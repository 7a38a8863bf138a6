//! The memory of another process, as far as the arguments of its system calls need it.

use crate::procfs_view::proc_dir::ProcDir;

/// Longest path that the kernel accepts, bytes.
const PATH_MAX: usize = 4096;

/// A process's memory.
pub(crate) struct Memory<'d> {
    process: &'d ProcDir,
}

impl<'d> Memory<'d> {
    /// The memory of the process, or thread, whose directory this is.
    pub(crate) fn of(process: &'d ProcDir) -> Self {
        Self { process }
    }

    /// `length` bytes from an address on. `None` when not all of them can be read.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        self.process.memory(address, length).ok().filter(|bytes| bytes.len() == length)
    }

    /// A 32-bit number in native byte order.
    pub(crate) fn u32(&self, address: u64) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(address, 4)?.try_into().ok()?))
    }

    /// A 64-bit number in native byte order.
    pub(crate) fn u64(&self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes(address, 8)?.try_into().ok()?))
    }

    /// A `struct timespec` in nanoseconds. `None` when it is unreadable or negative.
    pub(crate) fn timespec(&self, address: u64) -> Option<u64> {
        let seconds = self.u64(address)? as i64;
        let nanos = self.u64(address.checked_add(8)?)? as i64;
        u64::try_from(seconds).ok()?.saturating_mul(1_000_000_000).checked_add(u64::try_from(nanos).ok()?)
    }

    /// A `struct timeval` in nanoseconds. `None` when it is unreadable or negative.
    pub(crate) fn timeval(&self, address: u64) -> Option<u64> {
        let seconds = self.u64(address)? as i64;
        let micros = self.u64(address.checked_add(8)?)? as i64;
        let micros = u64::try_from(micros).ok()?.saturating_mul(1000);
        u64::try_from(seconds).ok()?.saturating_mul(1_000_000_000).checked_add(micros)
    }

    /// A string up to the zero byte that ends it.
    pub(crate) fn text(&self, address: u64) -> Option<Vec<u8>> {
        let mut bytes = self.process.memory(address, PATH_MAX).ok()?;
        let end = bytes.iter().position(|b| *b == 0)?;
        bytes.truncate(end);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn own_memory_is_read() {
        let own = ProcDir::open(Path::new("/proc/self")).unwrap();
        let memory = Memory::of(&own);
        let words: [i64; 2] = [3, 500];
        let address = std::ptr::from_ref(&words) as u64;
        assert_eq!(memory.timespec(address), Some(3_000_000_500));
        assert_eq!(memory.timeval(address), Some(3_000_500_000));
        assert_eq!(memory.u32(0), None);
        let text = c"a path";
        assert_eq!(memory.text(text.as_ptr() as u64), Some(b"a path".to_vec()));
    }
}
