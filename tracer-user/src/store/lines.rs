//! Lines of a file, one at a time and never longer than a limit, whatever the file contains.

use crate::core::record::MAX_LINE_BYTES;
use rustix::fd::OwnedFd;
use std::io::{self, BufRead};

/// A line, or a defect in its place.
#[derive(Debug, PartialEq, Eq)]
pub enum RawLine {
    /// A line, without its newline.
    Whole(Vec<u8>),
    /// The file ends before the line does: it was being written when its writer died.
    Torn(Vec<u8>),
    /// A line of this many bytes, more than the limit. It was skipped.
    TooLong(u64),
}

/// Reads the lines of a file.
pub struct Lines<R> {
    reader: R,
    limit: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the reader's position on.
    pub fn new(reader: R) -> Self {
        Self { reader, limit: MAX_LINE_BYTES }
    }

    fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        let mut line = Vec::new();
        let mut length = 0_u64;
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                return Ok(match length {
                    0 => None,
                    _ if length > self.limit as u64 => Some(RawLine::TooLong(length)),
                    _ => Some(RawLine::Torn(line)),
                });
            }
            let newline = memchr::memchr(b'\n', available);
            let part = available.get(..newline.unwrap_or(available.len())).unwrap_or_default();
            length += part.len() as u64;
            if length <= self.limit as u64 {
                line.extend_from_slice(part);
            } else {
                line = Vec::new();
            }
            let consumed = part.len() + usize::from(newline.is_some());
            self.reader.consume(consumed);
            if newline.is_some() {
                let too_long = length > self.limit as u64;
                return Ok(Some(if too_long { RawLine::TooLong(length) } else { RawLine::Whole(line) }));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// The part at the end of a file in which its last whole line is searched, bytes: more than two of the
/// longest lines.
const TAIL_BYTES: u64 = 2 * MAX_LINE_BYTES as u64 + 2;

/// The number of bytes of a file that are whole lines, the last newline included; `None` when there is no
/// newline near its end.
///
/// # Errors
/// When the file cannot be read.
pub fn whole_bytes(file: &OwnedFd) -> io::Result<Option<u64>> {
    let mut end = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    if end == 0 {
        return Ok(Some(0));
    }
    let stop = end.saturating_sub(TAIL_BYTES);
    let mut block = vec![0; 64 * 1024];
    while end > stop {
        let begin = end.saturating_sub(block.len() as u64);
        let length = usize::try_from(end - begin).unwrap_or(block.len());
        let part = block.get_mut(..length).unwrap_or_default();
        let read = rustix::io::pread(file, &mut *part, begin)?;
        if let Some(newline) = memchr::memrchr(b'\n', part.get(..read).unwrap_or_default()) {
            return Ok(Some(begin + newline as u64 + 1));
        }
        end = begin;
    }
    Ok((end == 0).then_some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], limit: usize) -> Vec<RawLine> {
        Lines { reader: io::BufReader::with_capacity(3, bytes), limit }.map(Result::unwrap).collect()
    }

    #[test]
    fn whole_torn_and_overlong_lines_are_distinguished() {
        let lines = all(b"ab\n\n0123456789\ncd\nef", 4);
        assert_eq!(
            lines,
            [
                RawLine::Whole(b"ab".to_vec()),
                RawLine::Whole(vec![]),
                RawLine::TooLong(10),
                RawLine::Whole(b"cd".to_vec()),
                RawLine::Torn(b"ef".to_vec()),
            ]
        );
        assert_eq!(all(b"0123456789", 4), [RawLine::TooLong(10)]);
        assert_eq!(all(b"", 4), []);
    }

    #[test]
    fn the_last_whole_line_is_found_from_the_end() {
        let whole = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut &file, bytes).unwrap();
            whole_bytes(&file.into()).unwrap()
        };
        assert_eq!(
            (whole(b""), whole(b"torn"), whole(b"a\n"), whole(b"a\nb\ntorn")),
            (Some(0), Some(0), Some(2), Some(4))
        );
        let mut long = vec![b'x'; 200_000];
        long[7] = b'\n';
        assert_eq!(whole(&long), Some(8));
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        assert_eq!(whole_bytes(&file.into()).unwrap(), None);
    }
}
