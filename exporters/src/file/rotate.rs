//! The file that is written to now: opened so that it is what the configuration means, and put aside when it is full.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, ToSpan as _};
use rustix::{
    fs::{CWD, Mode, OFlags, RenameFlags, fchmod, linkat, open, renameat_with},
    io::Errno,
};

use super::{
    archive::Bell,
    config::{FileConfig, FileMode},
    names::Names,
};
use crate::lines::{Place, Target};

/// A file of lines that is rotated.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    folder: PathBuf,
    title: String,
    names: Names,
    max_bytes: u64,
    max_age: Duration,
    mode: FileMode,
    archive: Bell,
    /// Somebody asks for the file to be opened anew.
    pub(super) reopen: Arc<AtomicBool>,
    /// None where it could not be opened.
    current: Option<Current>,
    /// When the file before this one was put aside.
    last: Timestamp,
    /// A rotation failed, and that was told.
    stuck: bool,
}

#[derive(Debug)]
struct Current {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// When its first line was written, about.
    since: SystemTime,
}

// === impl RotatingFile ===

impl RotatingFile {
    pub(super) fn new(config: &FileConfig, archive: Bell) -> Self {
        Self {
            path: config.path.clone(),
            folder: config.folder().to_owned(),
            title: config.path.display().to_string(),
            names: Names::of(&config.path),
            max_bytes: config.max_bytes,
            max_age: config.max_age,
            mode: config.mode,
            archive,
            reopen: Arc::default(),
            current: None,
            last: Timestamp::UNIX_EPOCH,
            stuck: false,
        }
    }

    /// Opens the file, or makes it, and says where the next line would stand.
    pub(super) fn open(&mut self) -> io::Result<Place> {
        self.current = None;
        let (file, is_new) = open_or_create(&self.path, self.mode)?;
        let metadata = file.metadata()?;
        let since = match metadata.created() {
            Ok(created) if !is_new && metadata.len() > 0 => created,
            _ => SystemTime::now(),
        };
        let place = if is_torn(&file, &metadata)? { Place::Torn } else { Place::LineStart };
        self.current = Some(Current { file, id: id(&metadata), since });
        Ok(place)
    }

    /// How long until the file is too old; none where it has no age.
    pub(super) fn due(&self) -> Option<Duration> {
        let age = self.current.as_ref()?.age();
        (!self.max_age.is_zero()).then(|| self.max_age.saturating_sub(age))
    }

    /// The metadata of what is at the path, if that is the file that is open.
    fn in_place(&self) -> Option<Metadata> {
        let there = fs::symlink_metadata(&self.path).ok()?;
        (id(&there) == self.current.as_ref()?.id).then_some(there)
    }

    fn is_full(&self, len: u64, bytes: u64) -> bool {
        let too_large = self.max_bytes != 0 && len + bytes > self.max_bytes;
        len > 0 && (too_large || self.due().is_some_and(|left| left.is_zero()))
    }

    /// Puts the file aside. What is written after that comes to another.
    fn put_aside(&mut self) -> io::Result<()> {
        // Never before the last one, whatever becomes of the clock.
        let mut time = Timestamp::now().max(self.last + 1.millisecond());
        while let Err(error) = rename_to_new(&self.path, &self.folder.join(self.names.at(time))) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            time += 1.millisecond();
        }
        self.last = time;
        self.archive.ring();
        Ok(())
    }
}

impl Target for RotatingFile {
    fn name(&self) -> &str {
        &self.title
    }

    fn prepare(&mut self, bytes: usize) -> io::Result<Place> {
        let asked = self.reopen.swap(false, Ordering::Relaxed);
        let there = self.in_place().filter(|_| !asked);
        // It was moved away by somebody else, or never opened.
        let Some(there) = there else { return self.open() };
        // It begins to age with its first line.
        if let Some(current) = self.current.as_mut().filter(|_| there.len() == 0) {
            current.since = SystemTime::now();
        }
        if !self.is_full(there.len(), bytes as u64) {
            return Ok(Place::Same);
        }
        match self.put_aside() {
            Ok(()) => {
                self.stuck = false;
                self.open()
            }
            Err(error) => {
                // A file that grows too large is better than lines that are lost.
                if !std::mem::replace(&mut self.stuck, true) {
                    tracing::warn!("cannot rotate {}: {error}; it grows meanwhile", self.title);
                }
                Ok(Place::Same)
            }
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.current {
            Some(current) => current.file.write(bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Current ===

impl Current {
    fn age(&self) -> Duration {
        // A clock that was set back makes it young again.
        self.since.elapsed().unwrap_or_default()
    }
}

// === files ===

/// Makes a file that wasn't there. A link in its place is not followed.
pub(super) fn create(path: &Path, mode: FileMode) -> io::Result<File> {
    let mode = Mode::from_raw_mode(mode.0);
    let flags =
        OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, mode)?;
    // The umask may have taken some of it away.
    fchmod(&file, mode)?;
    Ok(File::from(file))
}

/// Opens a file that is there; what is no file, or a link to one, is refused.
pub(super) fn open_regular(path: &Path, access: OFlags) -> io::Result<File> {
    // Without waiting for the other end, should it be a pipe.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link, which is not followed")),
        opened => File::from(opened?),
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// The file, and whether it is new.
fn open_or_create(path: &Path, mode: FileMode) -> io::Result<(File, bool)> {
    match create(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = open_regular(path, OFlags::RDWR | OFlags::APPEND)?;
            if file.metadata()?.mode() & 0o7777 != mode.0 {
                fchmod(&file, Mode::from_raw_mode(mode.0))?;
            }
            Ok((file, false))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).ok_or(error)?;
            // Whoever can list it sees how much happens here.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            create(path, mode).map(|file| (file, true))
        }
        created => created.map(|file| (file, true)),
    }
}

/// Renames a file; fails where the new name is taken.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can do it in one step.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(CWD, from, CWD, to, rustix::fs::AtFlags::empty())?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Whether the last line has no end: whoever wrote it was stopped.
fn is_torn(file: &File, metadata: &Metadata) -> io::Result<bool> {
    let Some(last) = metadata.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [b'\n'];
    let read = file.read_at(&mut byte, last)?;
    Ok(read > 0 && byte != [b'\n'])
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
