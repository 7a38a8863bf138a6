//! Standard output and standard error: the only place that prints.
//!
//! When the reader of standard output goes away (`tracer-user … | head -1`), the output ends and the verb's
//! exit status stays as it is. Any other error of standard output is a failure, because the caller waits for
//! that output. Standard error is written by a
//! thread of its own ([`super::stderr`]), and its errors are ignored.

use std::io::{ErrorKind, Write as _};

use anstream::stream::RawStream;

use serde::Serialize;

use super::exit::Failure;
use super::stderr;
use crate::core::text::{json, printable};

/// Where a verb prints.
#[derive(Debug)]
pub struct Output {
    verbosity: u8,
    color: bool,
    reader_gone: bool,
}

/// Whether a stream gets color: a terminal that supports it, as NO_COLOR, CLICOLOR, CLICOLOR_FORCE and TERM
/// say.
pub fn colored(stream: &impl RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

impl Output {
    /// Reads from the environment whether color is wanted.
    pub fn from_environment() -> Self {
        Self { verbosity: 0, color: colored(&std::io::stdout()), reader_gone: false }
    }

    /// Sets how often `-v` was given.
    pub fn set_verbosity(&mut self, verbosity: u8) {
        self.verbosity = verbosity;
    }

    /// How often `-v` was given.
    pub fn verbosity(&self) -> u8 {
        self.verbosity
    }

    /// Whether text on standard output is colored.
    pub fn color(&self) -> bool {
        self.color
    }

    /// Writes text to standard output, without adding a line end.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to standard output.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.reader_gone {
            return Ok(());
        }
        let written = std::io::stdout().lock().write_all(bytes);
        self.check(written)
    }

    /// Writes one JSON document, indented, to standard output.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(format!("cannot write the report as JSON: {error}")))?;
        text.push('\n');
        self.text(&json(&text))
    }

    /// Flushes standard output.
    pub fn finish(&mut self) -> Result<(), Failure> {
        if self.reader_gone {
            return Ok(());
        }
        let flushed = std::io::stdout().lock().flush();
        self.check(flushed)
    }

    /// Writes the help text to standard error, for a command line without a verb.
    pub fn help_on_error(&self, help: &str) {
        let _ = std::io::stderr().lock().write_all(help.as_bytes());
    }

    /// Writes one line of progress or warning to standard error.
    pub fn note(&self, line: &str) {
        stderr::write(format!("tracer-user: {}\n", printable(line)));
    }

    /// Writes a [`note`](Self::note) if `-v` was given.
    pub fn detail(&self, line: &str) {
        if self.verbosity > 0 {
            self.note(line);
        }
    }

    /// Reports why the verb failed.
    pub fn failure(&self, failure: &Failure) {
        self.note(&failure.message);
    }

    fn check(&mut self, result: std::io::Result<()>) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.reader_gone = true;
                Ok(())
            }
            Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        }
    }
}
