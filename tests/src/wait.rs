//! Waiting for what must come. The limit only guards against hangs; nothing is timed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Long enough for an emulated kernel on a busy machine, where 6.1 takes seconds to verify the program of each function that a policy names.
pub const LIMIT: Duration = Duration::from_secs(240);

/// A probe that looks through thousands of records shall not take the processor from what it waits for.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets all waits from now on end in vain at once, but for those of threads that panic: they clean up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// There was an [`interrupt`].
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Asks `probe` until it has an answer.
///
/// # Panics
/// When there is none within [`LIMIT`], or at [`interrupt`]; the message says `what` was waited for and, by `seen`, what was there.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>, seen: impl FnOnce() -> String) -> T {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(thread::panicking() || !is_interrupted(), "interrupted while waiting for {what}");
        assert!(
            start.elapsed() < LIMIT,
            "waited {} s in vain for {what}; there was: {}",
            LIMIT.as_secs(),
            seen()
        );
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}
