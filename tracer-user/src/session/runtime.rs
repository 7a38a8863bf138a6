//! The runtime of a live session.

use anyhow::Context as _;

/// A runtime that is left without waiting for its threads: one may read a file system that never answers.
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// A runtime on this thread, with I/O and time.
    ///
    /// # Errors
    /// When the system has no descriptors for it.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self(Some(runtime.context("cannot start")?)))
    }

    /// Does some work to its end.
    ///
    /// # Errors
    /// Those of the work.
    pub fn block_on<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.0.as_ref().context("cannot start")?.block_on(work)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
