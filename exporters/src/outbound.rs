//! What policies have the agent call out to: a URL that is asked for (`GetUrl`), a name that is looked up (`DnsLookup`).
//!
//! What is called is fixed in the policy, and nothing of an event goes with it. When it is called follows from what
//! programs do, those of an attacker among them: so each action has a rate that it can't exceed, waits for one answer at
//! a time, and holds nobody up.
//!
//! ```text
//! a match ─► Line: rate ─► queue of its own ─► Caller: one at a time ─► the URL's server, the name's servers
//! (reader)                 (bounded)           (task)
//! ```

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Semaphore};

use crate::{event::Policy, metrics::OutboundMetrics};

mod call;
mod caller;
mod line;
mod resolver;

pub use call::{DnsName, HttpUrl, OutboundCall};
pub use line::Line;

use caller::Caller;
use resolver::Resolver;

/// Makes the lines that actions call out by. Clones share what all lines together may do.
#[derive(Clone, Debug)]
pub struct Outbound {
    runtime: Handle,
    resolver: Resolver,
    at_once: Arc<Semaphore>,
    metrics: OutboundMetrics,
}

/// A call can't be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the call to {call}: {reason}")]
pub struct OutboundError {
    /// What was to be called.
    pub call: OutboundCall,
    /// What is wrong, such as that the system's certificates can't be read.
    pub reason: String,
}

/// Calls that are made at once, of all actions together.
const AT_ONCE: usize = 8;

// === impl Outbound ===

impl Outbound {
    /// Calls are made on `runtime`.
    pub fn new(runtime: Handle, metrics: OutboundMetrics) -> Self {
        Self {
            runtime,
            resolver: Resolver::new(AT_ONCE),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            metrics,
        }
    }

    /// The line of an action of a policy. Its queue ends with it.
    ///
    /// # Errors
    /// The call can't be prepared.
    pub fn line(&self, policy: &Policy, call: &OutboundCall) -> Result<Line, OutboundError> {
        let caller = Caller::new(call, &self.resolver)
            .map_err(|reason| OutboundError { call: call.clone(), reason })?;
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        let counts = self.metrics.counts(&policy.name, namespace, call.action().word());
        let (line, calls) = Line::new(policy, call, caller, counts, Arc::clone(&self.at_once));
        self.runtime.spawn(calls.run());
        Ok(line)
    }
}
