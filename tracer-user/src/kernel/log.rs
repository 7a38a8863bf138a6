//! The kernel programs' debug log, as lines. aya-log passes records to a logger, and this one keeps them
//! until they are collected.

use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::error::KernelError;

/// Reader of the debug log.
pub struct KernelLog {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl KernelLog {
    /// Reads the log of a loaded object from now on.
    ///
    /// # Errors
    /// When the object has no log.
    pub fn of(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let lines = Lines::default();
        let logger = EbpfLogger::init_with_logger(ebpf, lines.clone())
            .map_err(|error| KernelError::of("reading the kernel programs' debug log", error))?;
        Ok(Self { logger, lines })
    }

    /// The lines logged since the last call.
    pub fn lines(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}
