//! Whether the agent is ready: every probe attached, every process that was there before known.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

/// Whether the agent is ready, and why not. Shared between who knows and who is asked.
#[derive(Debug)]
pub struct Readiness(Mutex<Option<Cow<'static, str>>>);

// === impl Readiness ===

impl Readiness {
    /// Not ready, for this reason.
    pub fn waiting(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Mutex::new(Some(reason.into())))
    }

    /// Says that the agent is ready.
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// Says that the agent is not ready, or no longer, and why.
    pub fn set_waiting(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(Some(reason.into()));
    }

    /// Why the agent is not ready; none if it is.
    pub fn reason(&self) -> Option<Cow<'static, str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: Option<Cow<'static, str>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}
