//! What was asked of the server, and by whom.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::request::Asked;

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it came.
    pub at: Instant,
    /// What it asked.
    pub asked: Asked,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Whose token it had; empty where it was nobody's.
    pub user: String,
    /// The HTTP status of the answer; 0 where there was none.
    pub code: u16,
    /// The bytes of its body.
    pub received: u64,
    /// The bytes of the answer's body, until now.
    pub sent: u64,
}

/// A call that may still go on.
#[derive(Debug)]
pub(super) struct Entry {
    at: Instant,
    asked: Asked,
    user_agent: String,
    user: Mutex<String>,
    code: AtomicU16,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Record {
    entries: Mutex<Vec<Arc<Entry>>>,
    watches: Arc<AtomicUsize>,
}

/// Counts a watch for as long as it is open.
#[derive(Debug)]
pub(super) struct Open(Arc<AtomicUsize>);

// === impl Call ===

impl Call {
    /// It changes an object, or tries to.
    pub fn is_write(&self) -> bool {
        matches!(self.asked.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// `list pods`, `patch things/status`; the method and the path where it is about no resource.
    pub fn summary(&self) -> String {
        let Asked { verb, resource, subresource, path, .. } = &self.asked;
        match (resource.as_str(), subresource.as_str()) {
            ("", _) => format!("{verb} {path}"),
            (resource, "") => format!("{verb} {resource}"),
            (resource, subresource) => format!("{verb} {resource}/{subresource}"),
        }
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn is_of(&self, user: &str) {
        user.clone_into(&mut self.user.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn ends(&self, code: u16) {
        self.code.store(code, Ordering::Relaxed);
    }
}

// === impl Record ===

impl Record {
    pub(super) fn begin(&self, asked: &Asked, user_agent: &str) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            at: Instant::now(),
            asked: asked.clone(),
            user_agent: user_agent.into(),
            user: Mutex::default(),
            code: AtomicU16::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        self.lock().push(Arc::clone(&entry));
        entry
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        let call = |entry: &Arc<Entry>| Call {
            at: entry.at,
            asked: entry.asked.clone(),
            user_agent: entry.user_agent.clone(),
            user: entry.user.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            code: entry.code.load(Ordering::Relaxed),
            received: entry.received.load(Ordering::Relaxed),
            sent: entry.sent.load(Ordering::Relaxed),
        };
        self.lock().iter().map(call).collect()
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    pub(super) fn opens(&self) -> Open {
        self.watches.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.watches))
    }

    pub(super) fn watches(&self) -> usize {
        self.watches.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
