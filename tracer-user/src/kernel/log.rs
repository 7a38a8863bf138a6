//! The kernel programs' debug log, as lines. aya-log hands records to a logger; ours keeps them until they are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// See the module.
pub struct KernelLog {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl KernelLog {
    /// Reads the object's log map from now on.
    ///
    /// # Errors
    /// When the object has none.
    pub fn of(ebpf: &mut Ebpf) -> Result<Self, aya_log::Error> {
        let lines = Lines::default();
        Ok(Self { logger: EbpfLogger::init_with_logger(ebpf, lines.clone())?, lines })
    }

    /// What was logged since the last call.
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
