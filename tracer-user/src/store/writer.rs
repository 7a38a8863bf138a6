//! The trace file: one `write` per line, a bounded size, and memory where the file system fails.
//!
//! Past its size the oldest snapshots are dropped, never another line. When there is nothing to drop, lines
//! are still written up to a quota of four times the size, which only a flood reaches. When a write fails,
//! the part of the line that was written is cut off, and the session continues in memory: the job is never
//! harmed.

use super::fsops::OwnedDir;
use super::lines::{Lines, RawLine, whole_bytes};
use super::sidecar::SessionFiles;
use crate::core::record::Line;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{self, BufReader};

/// How large a trace may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size past which old snapshots are dropped, bytes.
    pub trace_bytes: u64,
    /// The size of the lines that are kept in memory once the file cannot be written, bytes.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { trace_bytes: 64 * 1024 * 1024, memory_bytes: 8 * 1024 * 1024 }
    }
}

/// The multiple of the size at which a trace without snapshots to drop is abandoned.
const QUOTA_FACTOR: u64 = 4;

/// A message for the user, to be reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(pub String);

/// The write call. Tests replace it by one that fails.
pub trait Sink: Send {
    /// Like `write(2)`.
    ///
    /// # Errors
    /// Like `write(2)`.
    fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno>;
}

/// `write(2)` itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSink;

impl Sink for SystemSink {
    fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(file, bytes)
    }
}

/// Lines that could not be written. Past the limit, snapshots are dropped first.
#[derive(Debug, Default)]
struct Memory {
    lines: VecDeque<(bool, Vec<u8>)>,
    bytes: u64,
    dropped: u64,
}

impl Memory {
    fn push(&mut self, droppable: bool, line: Vec<u8>, limit: u64) {
        self.bytes += line.len() as u64;
        self.lines.push_back((droppable, line));
        if self.bytes > limit {
            // Down to three quarters at once, so that a full memory does not walk its lines at every line.
            let target = limit / 4 * 3;
            for snapshots_only in [true, false] {
                self.drop_until(target, snapshots_only);
            }
        }
    }

    fn drop_until(&mut self, target: u64, snapshots_only: bool) {
        let (mut bytes, mut dropped) = (self.bytes, 0);
        self.lines.retain(|(droppable, line)| {
            let goes = bytes > target && (*droppable || !snapshots_only);
            if goes {
                bytes -= line.len() as u64;
                dropped += 1;
            }
            !goes
        });
        self.bytes = bytes;
        self.dropped += dropped;
    }
}

/// Writes the trace of a session.
pub struct TraceWriter {
    place: Option<Place>,
    bytes: u64,
    droppable_bytes: u64,
    limits: Limits,
    memory: Memory,
    degraded: bool,
    dropped: u64,
    sink: Box<dyn Sink>,
}

#[derive(Debug)]
struct Place {
    dir: OwnedDir,
    files: SessionFiles,
    file: OwnedFd,
}

impl std::fmt::Debug for TraceWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceWriter")
            .field("place", &self.place)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The result of appending lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Messages for the user.
    pub notices: Vec<Notice>,
    /// The number of old snapshots that were dropped to make room. The trace should have a line about it.
    pub snapshots_dropped: u64,
}

impl TraceWriter {
    /// Creates a trace.
    ///
    /// # Errors
    /// EEXIST when the file exists.
    pub fn create(dir: &OwnedDir, files: &SessionFiles, limits: Limits) -> io::Result<Self> {
        let file = dir.create_file(files.trace())?;
        super::fault::point("trace.created");
        Ok(Self::on(Some(Place { dir: dir.clone(), files: files.clone(), file }), 0, limits))
    }

    /// Continues a trace whose owner died. A torn line at its end is cut off.
    ///
    /// # Errors
    /// When it is not a regular file of this user, or cannot be opened.
    pub fn resume(
        dir: &OwnedDir,
        files: &SessionFiles,
        uid: u32,
        limits: Limits,
    ) -> Result<Self, super::fsops::OpenError> {
        let file = dir.open_file(files.trace(), true, uid)?;
        let size = u64::try_from(rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size).unwrap_or(0);
        let bytes = match whole_bytes(&file)? {
            Some(whole) => {
                if whole < size {
                    rustix::fs::ftruncate(&file, whole).map_err(io::Error::from)?;
                }
                whole
            }
            // The tracer leaves no such file. Its content is kept, and new lines begin on a new line.
            None => {
                super::fsops::write_all(file.as_fd(), b"\n")?;
                size + 1
            }
        };
        let mut writer =
            Self::on(Some(Place { dir: dir.clone(), files: files.clone(), file }), bytes, limits);
        // How much of it is snapshots becomes known when room is needed.
        writer.droppable_bytes = bytes;
        Ok(writer)
    }

    /// A trace in memory, because no place for a file is available. It counts as degraded.
    pub fn in_memory(limits: Limits) -> Self {
        Self { degraded: true, ..Self::on(None, 0, limits) }
    }

    /// A trace in memory that is only collected in order to be filed.
    pub fn collecting(limits: Limits) -> Self {
        Self::on(None, 0, limits)
    }

    fn on(place: Option<Place>, bytes: u64, limits: Limits) -> Self {
        Self {
            place,
            bytes,
            droppable_bytes: 0,
            limits,
            memory: Memory::default(),
            degraded: false,
            dropped: 0,
            sink: Box::new(SystemSink),
        }
    }

    /// From now on the trace may take this much room.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Writes by another write call.
    #[must_use]
    pub fn with_sink(mut self, sink: Box<dyn Sink>) -> Self {
        self.sink = sink;
        self
    }

    /// Not everything could be written to the file.
    pub fn degraded(&self) -> bool {
        self.degraded
    }

    /// The number of lines that are in neither file nor memory, dropped snapshots included.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.memory.dropped
    }

    /// Appends lines.
    pub fn append(&mut self, lines: &[Line]) -> Appended {
        let mut appended = Appended::default();
        for line in lines {
            self.append_bytes(line.body.may_be_dropped(), line.to_bytes(), &mut appended);
        }
        appended
    }

    /// Appends one line as it is. It has to end in a newline.
    pub fn append_bytes(&mut self, droppable: bool, line: Vec<u8>, appended: &mut Appended) {
        if self.degraded || self.place.is_none() {
            self.memory.push(droppable, line, self.limits.memory_bytes);
            return;
        }
        let length = line.len() as u64;
        if self.bytes + length > self.limits.trace_bytes {
            let room = self.make_room(appended);
            if !room && self.bytes + length > self.limits.trace_bytes.saturating_mul(QUOTA_FACTOR) {
                let why = format!("has reached its quota of {} bytes", self.bytes);
                self.degrade(&why, appended);
                self.memory.push(droppable, line, self.limits.memory_bytes);
                return;
            }
        }
        match self.write_line(&line) {
            Ok(()) => {
                self.bytes += length;
                self.droppable_bytes += if droppable { length } else { 0 };
                super::fault::point("trace.line");
            }
            Err(error) => {
                self.degrade(&format!("cannot be written ({error})"), appended);
                self.memory.push(droppable, line, self.limits.memory_bytes);
            }
        }
    }

    fn degrade(&mut self, why: &str, appended: &mut Appended) {
        self.degraded = true;
        let name = self.place.as_ref().map_or_else(String::new, |place| format!(" {}", place.files.stem()));
        appended.notices.push(Notice(format!("trace{name} {why}: the session continues in memory")));
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(place) = &self.place else { return Err(io::ErrorKind::NotFound.into()) };
        let mut rest = line;
        loop {
            let error = match self.sink.write(place.file.as_fd(), rest) {
                Ok(written) if written >= rest.len() => return Ok(()),
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(errno) => io::Error::from(errno),
            };
            // A part of the line may be in the file. Cutting it off needs no room. If even that fails,
            // readers recognize a torn line.
            let _ = rustix::fs::ftruncate(&place.file, self.bytes);
            return Err(error);
        }
    }

    /// Drops old snapshots. False when that would not help.
    fn make_room(&mut self, appended: &mut Appended) -> bool {
        // Rewriting the file for a few snapshots would be necessary again at the next line.
        if self.droppable_bytes < self.limits.trace_bytes / 8 {
            return false;
        }
        let target = self.limits.trace_bytes / 4 * 3;
        match self.compact(target) {
            Ok(dropped) => {
                self.dropped += dropped;
                appended.snapshots_dropped += dropped;
                true
            }
            Err(error) => {
                self.degrade(&format!("cannot be made smaller ({error})"), appended);
                false
            }
        }
    }

    fn compact(&mut self, target: u64) -> io::Result<u64> {
        let Some(place) = &mut self.place else { return Err(io::ErrorKind::NotFound.into()) };
        let temporary = place.files.compacting();
        place.dir.unlink(&temporary)?;
        let fresh = place.dir.create_file(&temporary)?;
        let copied = copy_without_oldest(place, &fresh, self.bytes, target);
        let (bytes, droppable, dropped) = match copied {
            Ok(copied) => copied,
            Err(error) => {
                // The first error is the one to report. A sweep removes what is left.
                let _ = place.dir.unlink(&temporary);
                return Err(error);
            }
        };
        super::fault::point("compact.written");
        place.dir.rename(&temporary, place.files.trace(), true)?;
        super::fault::point("compact.renamed");
        place.file = fresh;
        (self.bytes, self.droppable_bytes) = (bytes, droppable);
        Ok(dropped)
    }

    /// All lines: those in the file, then those in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lines(&self) -> io::Result<impl Iterator<Item = io::Result<RawLine>> + '_> {
        let file = match &self.place {
            Some(place) => {
                let file = place.file.try_clone()?;
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
                Some(Lines::new(BufReader::with_capacity(128 * 1024, std::fs::File::from(file))))
            }
            None => None,
        };
        let memory = self
            .memory
            .lines
            .iter()
            .map(|(_, line)| Ok(RawLine::Whole(line.strip_suffix(b"\n").unwrap_or(line).to_vec())));
        Ok(file.into_iter().flatten().chain(memory))
    }
}

fn copy_without_oldest(
    place: &Place,
    fresh: &OwnedFd,
    bytes: u64,
    target: u64,
) -> io::Result<(u64, u64, u64)> {
    use std::io::Write;
    let old = place.file.try_clone()?;
    rustix::fs::seek(&old, rustix::fs::SeekFrom::Start(0))?;
    let mut out = io::BufWriter::with_capacity(128 * 1024, std::fs::File::from(fresh.try_clone()?));
    let (mut left, mut kept, mut kept_droppable, mut dropped) = (bytes, 0, 0, 0);
    for line in Lines::new(BufReader::with_capacity(128 * 1024, std::fs::File::from(old))) {
        let RawLine::Whole(line) = line? else { continue };
        let length = line.len() as u64 + 1;
        let droppable = may_be_dropped(&line);
        if droppable && left > target {
            left -= length.min(left);
            dropped += 1;
            continue;
        }
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        kept += length;
        kept_droppable += if droppable { length } else { 0 };
    }
    out.flush()?;
    Ok((kept, kept_droppable, dropped))
}

/// The kind of a written line, without parsing the rest of it; `None` when it has none.
pub fn kind_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    serde_json::from_slice::<Kind>(line).ok().map(|kind| kind.kind)
}

fn may_be_dropped(line: &[u8]) -> bool {
    matches!(kind_of(line).as_deref(), Some("snapshot" | "sample"))
}
