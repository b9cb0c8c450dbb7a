//! How a way out does: what `trigon status` tells of it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Written by a way out, read by whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

/// What a way out last came across.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When something last went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// What last went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// It fails now: nothing has gone out since the last failure.
    pub failing: bool,
}

/// What went wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What, on one line.
    pub why: String,
}

// === impl Health ===

impl Health {
    /// Something went out. Returns whether it failed before.
    pub fn succeeded(&self) -> bool {
        let mut state = self.lock();
        state.last_success = Some(Timestamp::now());
        std::mem::replace(&mut state.failing, false)
    }

    /// Something went wrong. Returns whether it went well before.
    pub fn failed(&self, why: &str) -> bool {
        let mut state = self.lock();
        state.last_failure = Some(Failure { at: Timestamp::now(), why: why.to_owned() });
        !std::mem::replace(&mut state.failing, true)
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let health = Health::default();
        assert!(!health.succeeded());
        assert!(health.failed("no route"));
        assert!(!health.failed("no route still"));
        assert!(health.state().failing);
        assert_eq!(health.state().last_failure.unwrap().why, "no route still");
        assert!(health.succeeded());
        assert!(!health.state().failing);
    }
}
