//! When followed files are closed by other ways than a close that their policy hooks.
//!
//! Where the kernel has trampolines, the freeing of every file is seen. Where it has none, system calls that close one
//! are; and for the rest a thread looks through the followed files once a second, so that an end is noticed that late.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use tracing::{debug, warn};

use super::{Hooks, Mechanism, function_type};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    programs::{Loaded, Place},
    sys::{self, attach_type, program_type},
};

/// Functions that are called with each file that is freed: the first is in every kernel with security modules, the
/// second is the file system's own.
const FREEING: [&str; 2] = ["security_file_free", "__fput"];

/// How often the followed files are looked through where files are not seen to be freed. A look takes a fraction of a
/// microsecond for each.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// The programs.
pub(super) struct Releases {
    sweep: Arc<Loaded>,
    /// Not attached until something is followed.
    freed: Option<Loaded>,
    watch: Option<Watch>,
}

/// What sees closes.
#[expect(dead_code, reason = "held for what dropping it does")]
enum Watch {
    Freed(OwnedFd),
    Sweeps(Sender<()>),
}

// === impl Hooks ===

impl Hooks {
    /// Loads the programs, where that was not done yet.
    pub(super) fn track_releases(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        if self.releases.is_some() {
            return Ok(());
        }
        let programs = self.programs.clone();
        let object = self.object("releases", kernel)?;
        let sweep = object.program("sweep", program_type::RAW_TRACEPOINT, attach_type::NONE, 0)?;
        let targets = FREEING
            .iter()
            .map(|name| (*name, function_type(kernel, name)))
            .filter(|(_, target)| *target != 0);
        let freed = targets
            .map(|(name, target)| {
                let program =
                    object.program("file_freed", program_type::TRACING, attach_type::TRACE_FENTRY, target)?;
                Ok::<_, ProbeError>(programs.watch(program, Place::own(name, Mechanism::Trampoline.as_str())))
            })
            .find_map(|result| {
                result.inspect_err(|error| debug!(%error, "files are not seen to be freed")).ok()
            });
        let sweep = Arc::new(programs.watch(sweep, Place::own("sweep", "test_run")));
        self.releases = Some(Releases { sweep, freed, watch: None });
        Ok(())
    }

    /// Begins to see closes, where that was not done yet.
    pub(super) fn watch_releases(&mut self) -> Result<(), ProbeError> {
        let Some(releases) = &mut self.releases else { return Ok(()) };
        if releases.watch.is_none() {
            let link = releases.freed.as_ref().map(|freed| {
                sys::link_tracing(freed.as_fd(), attach_type::TRACE_FENTRY, 0)
                    .inspect_err(|error| debug!(%error, "files are not seen to be freed"))
            });
            releases.watch = Some(match link {
                Some(Ok(link)) => Watch::Freed(link),
                _ => Watch::Sweeps(releases.sweep_regularly()?),
            });
            if matches!(releases.watch, Some(Watch::Sweeps(_))) {
                self.watch_closes()?;
            }
        }
        Ok(())
    }
}

// === impl Releases ===

impl Releases {
    pub(super) fn unfollow(&self, group: u32) -> Result<(), ProbeError> {
        sweep(&self.sweep, group)
    }

    /// Starts a thread that sweeps until the other end of the channel is dropped.
    fn sweep_regularly(&self) -> Result<Sender<()>, ProbeError> {
        let (alive, ended) = channel();
        let program = Arc::clone(&self.sweep);
        let run = move || {
            while ended.recv_timeout(SWEEP_PERIOD) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = sweep(&program, 0) {
                    warn!(%error, "files that were closed are followed still");
                }
            }
        };
        let thread = thread::Builder::new().name("trigon-sweep".to_owned()).spawn(run);
        thread.map(|_| alive).map_err(|source| ProbeError::Io { what: "start a thread", source })
    }
}

/// Releases what a policy follows, or with 0 what nobody holds.
fn sweep(program: &Loaded, group: u32) -> Result<(), ProbeError> {
    let run = sys::run(program.as_fd(), &[u64::from(group)]);
    run.map(|_| ()).map_err(|source| ProbeError::Io { what: "look through the followed files", source })
}
