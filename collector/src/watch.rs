//! Watching a directory, on a thread of its own: when something in it changed, and has come to rest.

use std::{
    fs, io,
    mem::{self, MaybeUninit},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
};
use tracing::{debug, warn};

use crate::jobs::Stopping;

/// A change is over when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Changes without end are looked at this often.
const MOST: Duration = Duration::from_secs(1);
/// How often it is asked whether the directory is still the one that is watched: it can be removed and made anew.
const LOOK: Duration = Duration::from_secs(5);

/// A directory under inotify(7).
struct Watched {
    inotify: OwnedFd,
    place: (u64, u64),
}

/// Calls `changed` at each change in a directory, and once at the beginning, until it says that the agent stops.
///
/// # Errors
/// The system has no room for another thread.
pub fn spawn(
    directory: PathBuf,
    changed: impl Fn() -> Result<(), Stopping> + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("trigon-watch".to_owned());
    // It ends with the agent.
    thread.spawn(move || run(&directory, &changed)).map(|_| ())
}

fn run(directory: &Path, changed: &dyn Fn() -> Result<(), Stopping>) -> Result<(), Stopping> {
    let mut failed = false;
    loop {
        match Watched::new(directory) {
            Ok(watched) => {
                failed = false;
                // What changed before it was watched.
                changed()?;
                watched.run(directory, changed)?;
                debug!(directory = %directory.display(), "the directory is another one");
            }
            Err(error) => {
                // Once.
                if !mem::replace(&mut failed, true) {
                    warn!(
                        "cannot watch {} for changes: {error}; tried again all the while",
                        directory.display()
                    );
                    changed()?;
                }
                thread::sleep(LOOK);
            }
        }
    }
}

/// Which directory a path leads to.
fn place(directory: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(directory).map(|found| (found.dev(), found.ino()))
}

// === impl Watched ===

impl Watched {
    fn new(directory: &Path) -> io::Result<Self> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, directory, flags)?;
        Ok(Self { inotify, place: place(directory)? })
    }

    /// Runs until the directory is another one; an error where the agent stops.
    fn run(&self, directory: &Path, changed: &dyn Fn() -> Result<(), Stopping>) -> Result<(), Stopping> {
        loop {
            if self.happened(LOOK) {
                let end = Instant::now() + MOST;
                while Instant::now() < end && self.happened(QUIET) {}
                changed()?;
            } else if place(directory).ok() != Some(self.place) {
                return Ok(());
            }
        }
    }

    /// Waits until something happened, and takes all that did; false where nothing does within that time.
    fn happened(&self, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).ok();
        let mut ready = [PollFd::new(&self.inotify, PollFlags::IN)];
        // A signal ends the waiting early, which does no harm.
        if !poll(&mut ready, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        let mut some = false;
        while events.next().is_ok() {
            some = true;
        }
        some
    }
}
