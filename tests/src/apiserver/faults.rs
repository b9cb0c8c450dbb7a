//! What goes wrong, as a test wishes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{request::Asked, status::Status};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429: come again after this many seconds.
    TooMany(u32),
    /// 500.
    Broken,
    /// 410, as the HTTP status of a list or a watch.
    Gone,
    /// The connection is reset.
    Reset,
    /// The answer takes this long.
    Slow(Duration),
    /// There is no answer, and the connection stays.
    Silent,
}

/// Which requests it goes wrong with.
#[derive(Clone, Copy, Debug, Default)]
pub struct On {
    verb: Option<&'static str>,
    resource: Option<&'static str>,
    times: Option<usize>,
}

/// What a test has switched on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Mutex<Vec<(On, Fault)>>,
}

// === impl On ===

impl On {
    /// Every request.
    pub const ALL: Self = Self { verb: None, resource: None, times: None };

    /// Of those, the ones with this verb.
    #[must_use]
    pub const fn verb(mut self, verb: &'static str) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Of those, the ones for this resource (its plural).
    #[must_use]
    pub const fn resource(mut self, plural: &'static str) -> Self {
        self.resource = Some(plural);
        self
    }

    /// Of those, the next ones only.
    #[must_use]
    pub const fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn takes(&self, asked: &Asked) -> bool {
        self.verb.is_none_or(|verb| verb == asked.verb)
            && self.resource.is_none_or(|plural| plural == asked.resource)
            && self.times != Some(0)
    }
}

// === impl Faults ===

impl Faults {
    pub(super) fn add(&self, on: On, fault: Fault) {
        self.lock().push((on, fault));
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What goes wrong with a request, which counts.
    pub(super) fn next(&self, asked: &Asked) -> Option<Fault> {
        let mut list = self.lock();
        let (on, fault) = list.iter_mut().find(|(on, _)| on.takes(asked))?;
        on.times = on.times.map(|times| times - 1);
        Some(*fault)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(On, Fault)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Fault ===

impl Fault {
    /// The answer; none where it is about something else.
    pub(super) fn status(self) -> Option<Status> {
        match self {
            Self::TooMany(seconds) => {
                let message = "too many requests, please try again later";
                Some(Status::new(429, "TooManyRequests", message).with("retryAfterSeconds", seconds))
            }
            Self::Broken => Some(Status::new(500, "InternalError", "Internal error occurred: on purpose")),
            Self::Gone => Some(Status::new(410, "Expired", "too old resource version: on purpose")),
            Self::Reset | Self::Slow(_) | Self::Silent => None,
        }
    }
}
