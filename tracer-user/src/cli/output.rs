//! Standard output and standard error: the only two places where anything is printed.
//!
//! A reader that goes away (`tracer-user … | head -1`) ends the output and nothing else: the verb's exit status
//! stays what it found. Any other trouble with standard output is a failure, because somebody waits for what
//! could not be written. Trouble with standard error is nobody's.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::exit::Failure;

/// Where a verb prints.
#[derive(Debug)]
pub struct Output {
    verbosity: u8,
    colour: bool,
    reader_gone: bool,
}

impl Output {
    /// As the environment has it: colour only on a terminal that is not dumb, and never with `NO_COLOR`.
    pub fn from_environment() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { verbosity: 0, colour: !refused && std::io::stdout().is_terminal(), reader_gone: false }
    }

    /// How often `-v` was given.
    pub fn set_verbosity(&mut self, verbosity: u8) {
        self.verbosity = verbosity;
    }

    /// How often `-v` was given.
    pub fn verbosity(&self) -> u8 {
        self.verbosity
    }

    /// Whether text on standard output may be coloured.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Writes to standard output; `text` brings its own line ends.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes to standard output.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.reader_gone {
            return Ok(());
        }
        let written = std::io::stdout().lock().write_all(bytes);
        self.judge(written)
    }

    /// Writes one JSON document, indented, to standard output.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(format!("cannot write the report as JSON: {error}")))?;
        text.push('\n');
        self.text(&text)
    }

    /// Writes out what is buffered.
    pub fn finish(&mut self) -> Result<(), Failure> {
        if self.reader_gone {
            return Ok(());
        }
        let flushed = std::io::stdout().lock().flush();
        self.judge(flushed)
    }

    /// One line of progress or warning on standard error.
    pub fn note(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "tracer-user: {}", crate::core::text::printable(line));
    }

    /// A [`note`](Self::note) for those who gave `-v`.
    pub fn detail(&self, line: &str) {
        if self.verbosity > 0 {
            self.note(line);
        }
    }

    /// Why the verb failed.
    pub fn complain(&self, failure: &Failure) {
        self.note(&failure.message);
    }

    fn judge(&mut self, result: std::io::Result<()>) -> Result<(), Failure> {
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
