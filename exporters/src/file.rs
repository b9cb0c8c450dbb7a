//! The way out to a file: a thread of its own that writes lines, and another that looks after rotated files.
//!
//! A disk that is full costs the lines that don't fit, each counted; a slow one fills the queue of this way out and
//! no other. The folder is taken to be the administrator's; all the same no link in it is followed, and no file in it
//! is overwritten.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Runtime, sync::Notify, time::sleep};

use crate::{
    health::Health,
    lines::{Balance, Context, LineWriter},
    sink::{Chunk, QueueReceiver},
};

mod archive;
mod config;
mod names;
mod rotate;
#[cfg(test)]
mod tests;

pub use self::config::{FileConfig, FileConfigError, FileFormat, FileMode, check, one_or_more};
use self::{archive::Archive, rotate::RotatingFile};

/// A file that events can be written to.
#[derive(Debug)]
pub struct FileOutput {
    file: RotatingFile,
    config: FileConfig,
    reopen: Reopen,
    runtime: Runtime,
}

/// Makes the writer open its file anew, once something else has moved it away.
#[derive(Clone, Debug)]
pub struct Reopen {
    asked: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

/// A file can't be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write events to the file {}: {source}. Set another path: [[file]] path", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// What the writer wakes up for.
enum Woken {
    Events(Option<Chunk>),
    Reopen,
    Aged,
}

/// The shortest wait for a file to age: one that can't be rotated is tried again after it.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// About ten years: no file ages before.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

// === impl FileOutput ===

impl FileOutput {
    /// Opens the file, and has the rotated ones that an agent before this one left compressed and the oldest removed.
    ///
    /// # Errors
    /// The file can't be written to. A disk that is full now is no error: there may be room later.
    pub fn open(config: &FileConfig) -> Result<Self, FileError> {
        let failed = |source| FileError { path: config.path.clone(), source };
        let archive = Archive::new(config).start().map_err(failed)?;
        let mut file = RotatingFile::new(config, archive);
        match file.open() {
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                tracing::warn!("cannot write events to the file {} yet: {error}", config.path.display());
            }
            Err(error) => return Err(failed(error)),
        }
        let reopen = Reopen { asked: Arc::clone(&file.reopen), wake: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        Ok(Self { file, config: config.clone(), reopen, runtime })
    }

    /// For whoever is told that the file was moved away (SIGHUP).
    pub fn reopen(&self) -> Reopen {
        self.reopen.clone()
    }

    /// Writes what comes through the queue, until the router has gone and everything is written.
    ///
    /// Errors of the file don't end it: what a failed write does not bring out is lost and counted.
    pub fn run(self, mut receiver: QueueReceiver, context: Context, balance: Balance, health: Health) {
        let Self { file, config, reopen, runtime } = self;
        let mut writer = LineWriter::new(file, config.format(), context, receiver.fields(), balance, health);
        // The first look finds a line that was cut short by the end of an agent before this one.
        reopen.asked.store(true, Ordering::Relaxed);
        loop {
            let wait = writer.target().due().unwrap_or(LONGEST_WAIT).max(SHORTEST_WAIT);
            let woken = runtime.block_on(async {
                tokio::select! {
                    chunk = receiver.recv() => Woken::Events(chunk),
                    () = reopen.wake.notified() => Woken::Reopen,
                    () = sleep(wait) => Woken::Aged,
                }
            });
            match woken {
                Woken::Events(Some(chunk)) => writer.write_all(&chunk, &mut receiver),
                Woken::Events(None) => break,
                Woken::Reopen | Woken::Aged => writer.tend(),
            }
        }
    }
}

// === impl Reopen ===

impl Reopen {
    /// Asks for it; it is done before the next line is written.
    pub fn reopen(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}
