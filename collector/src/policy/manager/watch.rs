//! Watching a directory: when something in it changed, and has come to rest.

use std::{
    fs, io,
    mem::{self, MaybeUninit},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, warn};

use super::Handle;

/// A change is over when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Changes without end are looked at this often.
const MOST: Duration = Duration::from_secs(1);
/// How often it is asked whether the directory is still the one that is watched: it can be removed and made anew.
const LOOK: Duration = Duration::from_secs(5);

/// A directory under inotify(7).
struct Watched {
    inotify: AsyncFd<OwnedFd>,
    place: (u64, u64),
}

/// Has the manager scan its directory at each change, until the agent stops.
pub async fn watch(directory: &Path, manager: Handle) {
    let mut failed = false;
    loop {
        match Watched::new(directory) {
            Ok(watched) => {
                failed = false;
                // What changed before it was watched.
                if manager.call(|manager| manager.scan()).await.is_err()
                    || watched.run(directory, &manager).await.is_err()
                {
                    return;
                }
                debug!(directory = %directory.display(), "the directory is another one");
            }
            Err(error) => {
                // Once.
                if !mem::replace(&mut failed, true) {
                    warn!(
                        "cannot watch {} for policies: {error}; tried again all the while",
                        directory.display()
                    );
                    if manager.call(|manager| manager.scan()).await.is_err() {
                        return;
                    }
                }
                sleep(LOOK).await;
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
        Ok(Self { inotify: AsyncFd::register(inotify)?, place: place(directory)? })
    }

    /// Runs until the directory is another one; an error where the agent stops.
    async fn run(&self, directory: &Path, manager: &Handle) -> Result<(), super::Stopping> {
        loop {
            match timeout_at(Instant::now() + LOOK, self.event()).await {
                Ok(()) => {
                    let end = Instant::now() + MOST;
                    while timeout_at(end.min(Instant::now() + QUIET), self.event()).await.is_ok()
                        && Instant::now() < end
                    {}
                    manager.call(|manager| manager.scan()).await?;
                }
                Err(_) if place(directory).is_ok_and(|now| now == self.place) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Waits until something happened, and takes all that did.
    async fn event(&self) {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                // The runtime is ending.
                return std::future::pending().await;
            };
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(self.inotify.get_ref(), &mut buffer);
            let mut happened = false;
            while events.next().is_ok() {
                happened = true;
            }
            ready.clear_ready();
            if happened {
                return;
            }
        }
    }
}
