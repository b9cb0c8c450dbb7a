//! Rotated files: a thread of its own compresses them and removes the oldest, so that whoever writes never waits.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use flate2::{Compression as Level, write::GzEncoder};

use super::{
    config::{FileConfig, FileMode},
    names::{Names, Rotated, State},
    rotate::{create, open_regular},
};
use crate::compression::Compression;

/// The rotated files of one file.
#[derive(Debug)]
pub(super) struct Archive {
    folder: PathBuf,
    names: Names,
    compress: Compression,
    max_files: usize,
    mode: FileMode,
}

/// Tells the archive's thread that there is something to do. The thread ends with it.
#[derive(Debug)]
pub(super) struct Bell(SyncSender<()>);

// === impl Archive ===

impl Archive {
    pub(super) fn new(config: &FileConfig) -> Self {
        Self {
            folder: config.folder().to_owned(),
            names: Names::of(&config.path),
            compress: config.compress,
            max_files: config.max_files,
            mode: config.mode,
        }
    }

    /// Starts the thread, which first does what an agent before this one left undone.
    pub(super) fn start(self) -> io::Result<Bell> {
        let (bell, rings) = sync_channel(1);
        let bell = Bell(bell);
        bell.ring();
        thread::Builder::new().name("trigon-archive".to_owned()).spawn(move || self.run(&rings))?;
        Ok(bell)
    }

    fn run(&self, rings: &Receiver<()>) {
        while rings.recv().is_ok() {
            if let Err(error) = self.tidy() {
                tracing::warn!("cannot remove rotated files in {}: {error}", self.folder.display());
            }
        }
    }

    /// Removes what is too old, and compresses the rest, the oldest first. What can't be done now is tried again after
    /// the next rotation.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for rotated in self.list()? {
            if rotated.state == State::Unfinished {
                self.remove(&rotated)?;
            }
        }
        // Looked up anew after each file: a compression takes long, and more may have been rotated meanwhile.
        let mut failed: Vec<Rotated> = Vec::new();
        loop {
            let mut kept = self.list()?;
            self.prune(&mut kept)?;
            let plain =
                kept.into_iter().find(|rotated| rotated.state == State::Plain && !failed.contains(rotated));
            let Some(plain) = plain.filter(|_| self.compress != Compression::None) else { return Ok(()) };
            if let Err(error) = self.compress(&plain) {
                tracing::warn!("cannot compress {}: {error}", self.folder.join(&plain.name).display());
                failed.push(plain);
            }
        }
    }

    /// The rotated files, the oldest first.
    fn list(&self) -> io::Result<Vec<Rotated>> {
        let mut rotated = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            rotated.extend(entry?.file_name().to_str().and_then(|name| self.names.parse(name)));
        }
        rotated.sort();
        Ok(rotated)
    }

    fn prune(&self, rotated: &mut Vec<Rotated>) -> io::Result<()> {
        if self.max_files == 0 {
            return Ok(());
        }
        // One that was compressed and not yet removed counts once.
        let count = rotated.chunk_by(Rotated::is_same).count();
        let mut old = count.saturating_sub(self.max_files);
        while old > 0 {
            let oldest = rotated.remove(0);
            self.remove(&oldest)?;
            old -= usize::from(rotated.first().is_none_or(|next| !next.is_same(&oldest)));
        }
        Ok(())
    }

    fn remove(&self, rotated: &Rotated) -> io::Result<()> {
        match fs::remove_file(self.folder.join(&rotated.name)) {
            // Somebody else was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Compresses a file. The compressed one has its name only once it is whole.
    fn compress(&self, plain: &Rotated) -> io::Result<()> {
        let (name, unfinished) = plain.compressed(self.compress);
        let unfinished = self.folder.join(unfinished);
        let done = self.compress_to(&self.folder.join(&plain.name), &unfinished);
        match done.and_then(|()| fs::rename(&unfinished, self.folder.join(name))) {
            Ok(()) => self.remove(plain),
            Err(error) => {
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    fn compress_to(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut source = open_regular(from, rustix::fs::OFlags::RDONLY)?;
        let target = create(to, self.mode)?;
        let target = match self.compress {
            Compression::None => return Ok(()),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(target, Level::fast());
                io::copy(&mut source, &mut encoder)?;
                encoder.finish()?
            }
            Compression::Zstd => {
                zstd::stream::copy_encode(&mut source, &target, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                target
            }
        };
        // The lines have to be on the disk before the file is removed that has them still.
        target.sync_all()
    }
}

// === impl Bell ===

impl Bell {
    /// Never waits: one ring that wasn't heard yet is enough.
    pub(super) fn ring(&self) {
        let _ = self.0.try_send(());
    }
}
