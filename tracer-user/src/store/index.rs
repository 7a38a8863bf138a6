//! `sessions.jsonl`: one row per finished session, oldest first. And the time from which listings begin.
//!
//! Rows are added at the end, or the whole file is replaced by a shorter one, both under the log's lock. A
//! reader needs no lock: it sees one whole version of the file, and at worst a torn last row.

use super::fsops::{OpenError, OwnedDir, is_name, random_name, write_all};
use super::lines::{Lines, RawLine};
use super::sidecar::Layout;
use crate::core::summary::IndexRow;
use rustix::fd::{AsFd, OwnedFd};
use std::ffi::OsStr;
use std::io::{self, BufReader};

/// The name of the index.
pub const INDEX: &str = "sessions.jsonl";
/// Longer than a row is.
const MAX_ROW_BYTES: usize = 64 * 1024;
/// The name of the file with the time from which listings begin.
pub const CLEARED_AT: &str = ".telemetry_cleared_at";

/// A row, or a defect in its place.
#[derive(Debug)]
pub enum Row {
    /// A row.
    Good(Box<IndexRow>),
    /// A row that is not understood: its number, from 1, and the cause.
    Bad(u64, RowError),
}

/// Why a row is not understood.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It is not JSON, or lacks a field.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is longer than the limit.
    #[error("a row of {0} bytes")]
    TooLong(u64),
    /// Its directory is not one in the log.
    #[error("the directory {0:?} is no name")]
    Name(String),
}

/// Opens the index for reading; `None` when there is none yet.
///
/// # Errors
/// When it is not a regular file of this user, or cannot be opened.
pub fn open(dir: &OwnedDir, owner: u32) -> Result<Option<OwnedFd>, OpenError> {
    match dir.open_file(OsStr::new(INDEX), false, owner) {
        Ok(file) => Ok(Some(file)),
        Err(OpenError::Missing) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Parses one row.
///
/// # Errors
/// When it is not understood. No input panics.
pub fn parse_row(bytes: &[u8]) -> Result<IndexRow, RowError> {
    let row: IndexRow = serde_json::from_slice(bytes)?;
    // A path would lead out of the log, where sessions are moved and removed by this name.
    if is_name(OsStr::new(&row.dir_name)) { Ok(row) } else { Err(RowError::Name(row.dir_name)) }
}

/// All rows of an open index, in order.
pub fn rows(file: OwnedFd) -> impl Iterator<Item = io::Result<Row>> {
    let lines = Lines::new(BufReader::with_capacity(256 * 1024, std::fs::File::from(file)));
    lines.zip(1..).filter_map(|(line, number)| match line {
        Err(error) => Some(Err(error)),
        Ok(RawLine::Whole(line) | RawLine::Torn(line)) if line.is_empty() => None,
        Ok(RawLine::Whole(line) | RawLine::Torn(line)) => Some(Ok(match parse_row(&line) {
            Ok(row) => Row::Good(Box::new(row)),
            Err(error) => Row::Bad(number, error),
        })),
        Ok(RawLine::TooLong(bytes)) => Some(Ok(Row::Bad(number, RowError::TooLong(bytes)))),
    })
}

/// Adds rows at the end, in one write, durably. The log's lock has to be held.
///
/// # Errors
/// When the file cannot be opened or written. Part of a row may be there then; the next rows begin on a new
/// line.
pub fn append<R: serde::Serialize>(dir: &OwnedDir, owner: u32, rows: &[R]) -> Result<(), OpenError> {
    let file = match dir.open_file(OsStr::new(INDEX), true, owner) {
        Err(OpenError::Missing) => dir.create_file(OsStr::new(INDEX))?,
        other => other?,
    };
    let mut bytes = Vec::new();
    if ends_torn(&file)? {
        bytes.push(b'\n');
    }
    for row in rows {
        serde_json::to_writer(&mut bytes, row).map_err(io::Error::from)?;
        bytes.push(b'\n');
    }
    write_all(file.as_fd(), &bytes)?;
    rustix::fs::fdatasync(&file).map_err(io::Error::from)?;
    Ok(())
}

/// The layout of the rows, by the first and the last of them; `None` for an empty index and for rows that are
/// of neither layout. Rows of both layouts count as the other one than `expected`.
///
/// # Errors
/// When the index cannot be read.
pub fn layout(dir: &OwnedDir, owner: u32, expected: Layout) -> Result<Option<Layout>, OpenError> {
    let Some(file) = open(dir, owner)? else { return Ok(None) };
    let size = u64::try_from(rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size).unwrap_or(0);
    let mut bytes = vec![0; MAX_ROW_BYTES];
    let mut layouts = Vec::new();
    for from in [0, size.saturating_sub(MAX_ROW_BYTES as u64)] {
        let read = rustix::io::pread(&file, &mut bytes, from).map_err(io::Error::from)?;
        let read = bytes.get(..read).unwrap_or_default();
        let mut rows = read.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
        let row = if from == 0 { rows.next() } else { rows.next_back() };
        layouts.extend(row.and_then(layout_of));
        if size <= MAX_ROW_BYTES as u64 {
            layouts.extend(rows.next_back().and_then(layout_of));
        }
    }
    Ok(layouts.iter().copied().find(|layout| *layout != expected).or_else(|| layouts.first().copied()))
}

/// The layout of a row: a row of this tracer has a version.
fn layout_of(row: &[u8]) -> Option<Layout> {
    let row: serde_json::Value = serde_json::from_slice(row).ok()?;
    row.get("dir_name")?;
    Some(if row.get("v").is_some() { Layout::Own } else { Layout::AutoSkillit })
}

fn ends_torn(file: &OwnedFd) -> io::Result<bool> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    let mut last = [b'\n'];
    if size > 0 {
        rustix::io::pread(file, &mut last, size - 1)?;
    }
    Ok(last != *b"\n")
}

/// Replaces the index by one with the rows that `keep` accepts. Rows that are not understood stay as they
/// are. The log's lock has to be held.
///
/// # Errors
/// When the file cannot be written. The old index is unchanged then.
pub fn rewrite(dir: &OwnedDir, owner: u32, keep: impl Fn(&IndexRow) -> bool) -> Result<(), OpenError> {
    use std::io::Write;
    let Some(old) = open(dir, owner)? else { return Ok(()) };
    let name = std::ffi::OsString::from(random_name(".index-")?);
    let fresh = dir.create_file(&name)?;
    let write = || -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(256 * 1024, std::fs::File::from(fresh.try_clone()?));
        for line in Lines::new(BufReader::with_capacity(256 * 1024, std::fs::File::from(old))) {
            let (RawLine::Whole(line) | RawLine::Torn(line)) = line? else { continue };
            if !line.is_empty() && parse_row(&line).map_or(true, |row| keep(&row)) {
                out.write_all(&line)?;
                out.write_all(b"\n")?;
            }
        }
        out.flush()?;
        rustix::fs::fsync(&fresh)?;
        dir.rename(&name, OsStr::new(INDEX), true)?;
        dir.sync()
    };
    if let Err(error) = write() {
        // The first error is the one to report.
        let _ = dir.unlink(&name);
        return Err(error.into());
    }
    Ok(())
}

/// The time from which listings begin; `None` when the log was never cleared.
///
/// # Errors
/// When the file is not a regular file of this user, or holds no time.
pub fn cleared_at(dir: &OwnedDir, owner: u32) -> Result<Option<jiff::Timestamp>, OpenError> {
    let file = match dir.open_file(OsStr::new(CLEARED_AT), false, owner) {
        Err(OpenError::Missing) => return Ok(None),
        other => other?,
    };
    let bytes = super::fsops::read_bounded(file, 256)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let time = text
        .trim()
        .parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error}")))?;
    Ok(Some(time))
}

/// Sets the time from which listings begin.
///
/// # Errors
/// When the file cannot be written. The old time is unchanged then.
pub fn set_cleared_at(dir: &OwnedDir, at: jiff::Timestamp) -> io::Result<()> {
    let name = std::ffi::OsString::from(random_name(".cleared-")?);
    let file = dir.create_file(&name)?;
    let text = format!("{}\n", crate::core::time::render(at));
    let written = write_all(file.as_fd(), text.as_bytes())
        .and_then(|()| Ok(rustix::fs::fsync(&file)?))
        .and_then(|()| dir.rename(&name, OsStr::new(CLEARED_AT), true));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = dir.unlink(&name);
        return Err(error);
    }
    dir.sync()
}
