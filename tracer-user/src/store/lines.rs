//! Lines of a file, one at a time and never longer than a limit, whatever the file is made of.

use crate::core::record::MAX_LINE_BYTES;
use std::io::{self, BufRead};

/// A line, or what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub enum RawLine {
    /// Without its newline.
    Whole(Vec<u8>),
    /// The end of the file came before the line's: it was being written when its writer died.
    Torn(Vec<u8>),
    /// It is this long, and was skipped.
    TooLong(u64),
}

/// Reads lines.
pub struct Lines<R> {
    reader: R,
    limit: usize,
}

impl<R: BufRead> Lines<R> {
    /// From the reader's place on.
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
            let newline = available.iter().position(|byte| *byte == b'\n');
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], limit: usize) -> Vec<RawLine> {
        Lines { reader: io::BufReader::with_capacity(3, bytes), limit }.map(Result::unwrap).collect()
    }

    #[test]
    fn whole_torn_and_endless_lines_are_told_apart() {
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
}
