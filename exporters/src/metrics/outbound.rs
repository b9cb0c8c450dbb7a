//! What policies have the agent call out to: how often, and what came of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Registry,
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
};

/// `trigon_outbound_actions_total{policy,policy_namespace,action,outcome}`, of policies that are loaded.
#[derive(Clone, Debug, Default)]
pub struct OutboundMetrics(Arc<Mutex<BTreeMap<Key, Weak<OutboundCounts>>>>);

/// Policy, namespace, action.
type Key = (String, String, &'static str);

/// What is counted of the actions of one name that a policy has. They are forgotten with the last who has them.
#[derive(Debug, Default)]
pub struct OutboundCounts([AtomicU64; OutboundOutcome::ALL.len()]);

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundOutcome {
    /// It was answered.
    Ok,
    /// It was answered by an error, or could not be made.
    Failed,
    /// It was not answered in time.
    Timeout,
    /// It was not made: there were too many in a minute.
    RateLimit,
    /// It was not made: too many waited.
    QueueFull,
    /// It was not made: the agent itself had done what was matched.
    OwnDeed,
}

const FAMILIES: &[ScrapeFamily] = &[ScrapeFamily {
    name: "trigon_outbound_actions_total",
    help: "Calls out that loaded policies asked for (GetUrl, DnsLookup), by what came of it: ok, failed, timeout; or not made, since there were too many in a minute (rate_limit), too many waited (queue_full), or the agent itself had done what was matched (own_deed).",
    kind: ScrapeKind::Counter,
    labels: &["policy", "policy_namespace", "action", "outcome"],
}];

// === impl OutboundOutcome ===

impl OutboundOutcome {
    /// All of them, each at its place.
    const ALL: [Self; 6] =
        [Self::Ok, Self::Failed, Self::Timeout, Self::RateLimit, Self::QueueFull, Self::OwnDeed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::QueueFull => "queue_full",
            Self::OwnDeed => "own_deed",
        }
    }
}

// === impl OutboundCounts ===

impl OutboundCounts {
    /// Counts one.
    pub fn count(&self, outcome: OutboundOutcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self, outcome: OutboundOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

// === impl OutboundMetrics ===

impl OutboundMetrics {
    /// Makes the family and registers it. It is empty until a policy calls out.
    ///
    /// # Errors
    /// Fails where the registry has a family of the name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let this = Self::default();
        let numbers = this.clone();
        register_scraped(registry, FAMILIES, move |rows| numbers.read(rows))?;
        Ok(this)
    }

    /// The counts of a policy's actions of one name: those that there are, or new ones.
    pub fn counts(&self, policy: &str, namespace: &str, action: &'static str) -> Arc<OutboundCounts> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, counts| counts.strong_count() > 0);
        let counts = all.entry((policy.to_owned(), namespace.to_owned(), action)).or_default();
        counts.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *counts = Arc::downgrade(&new);
            new
        })
    }

    fn read(&self, rows: &mut Rows<'_>) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((policy, namespace, action), counts) in all.iter() {
            let Some(counts) = counts.upgrade() else { continue };
            for outcome in OutboundOutcome::ALL {
                let labels = [policy.as_str(), namespace, action, outcome.as_str()];
                rows.push(FAMILIES[0].name, &labels, counts.get(outcome) as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn what_a_policys_actions_share_is_forgotten_with_the_last() {
        let registry = Registry::new();
        let metrics = OutboundMetrics::register(&registry).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text().is_empty());
        let one = metrics.counts("canary", "", "GetUrl");
        for outcome in OutboundOutcome::ALL {
            assert_eq!(OutboundOutcome::ALL[outcome as usize], outcome);
            one.count(outcome);
        }
        // Of another version of the policy.
        let other = metrics.counts("canary", "", "GetUrl");
        other.count(OutboundOutcome::Ok);
        drop(one);
        assert_eq!(other.get(OutboundOutcome::Ok), 2);
        let _lookups = metrics.counts("canary", "team", "DnsLookup");
        insta::assert_snapshot!(text(), @r#"
        # HELP trigon_outbound_actions_total Calls out that loaded policies asked for (GetUrl, DnsLookup), by what came of it: ok, failed, timeout; or not made, since there were too many in a minute (rate_limit), too many waited (queue_full), or the agent itself had done what was matched (own_deed).
        # TYPE trigon_outbound_actions_total counter
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="failed"} 1
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="ok"} 2
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="own_deed"} 1
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="queue_full"} 1
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="rate_limit"} 1
        trigon_outbound_actions_total{policy="canary",policy_namespace="",action="GetUrl",outcome="timeout"} 1
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="failed"} 0
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="ok"} 0
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="own_deed"} 0
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="queue_full"} 0
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="rate_limit"} 0
        trigon_outbound_actions_total{policy="canary",policy_namespace="team",action="DnsLookup",outcome="timeout"} 0
        "#);
        drop(other);
        assert!(!text().contains("GetUrl\""));
    }
}
