//! How it stands with policies, and what they take.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Registry,
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
};

/// `trigon_policies{state}` and `trigon_policy_kernel_memory_bytes{policy,policy_namespace}`, of one moment.
#[derive(Clone, Debug, Default)]
pub struct PolicyMetrics(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    states: Vec<(&'static str, usize)>,
    memory: Vec<PolicyMemory>,
}

/// What a policy takes.
#[derive(Clone, Debug)]
pub struct PolicyMemory {
    /// Its name.
    pub name: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Bytes of the kernel's memory.
    pub bytes: u64,
}

const FAMILIES: &[ScrapeFamily] = &[
    ScrapeFamily {
        name: "trigon_policies",
        help: "Policies, by how it stands with them.",
        kind: ScrapeKind::Gauge,
        labels: &["state"],
    },
    ScrapeFamily {
        name: "trigon_policy_kernel_memory_bytes",
        help: "Bytes of the kernel's memory that a policy takes, at most; of what policies share, its share.",
        kind: ScrapeKind::Gauge,
        labels: &["policy", "policy_namespace"],
    },
];

// === impl PolicyMetrics ===

impl PolicyMetrics {
    /// Makes the families and registers them. They are empty until there are numbers.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let this = Self::default();
        let numbers = this.clone();
        register_scraped(registry, FAMILIES, move |rows| numbers.read(rows))?;
        Ok(this)
    }

    /// Sets all numbers: policies by state, and kernel memory by policy.
    pub fn set(&self, states: Vec<(&'static str, usize)>, memory: Vec<PolicyMemory>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Numbers { states, memory };
    }

    fn read(&self, rows: &mut Rows<'_>) {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (state, count) in &numbers.states {
            rows.push(FAMILIES[0].name, &[state], *count as f64);
        }
        for PolicyMemory { name, namespace, bytes } in &numbers.memory {
            rows.push(FAMILIES[1].name, &[name, namespace], *bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_policy_that_is_gone_has_no_numbers() {
        let registry = Registry::new();
        let metrics = PolicyMetrics::register(&registry).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let memory = |name: &str, namespace: &str, bytes| PolicyMemory {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            bytes,
        };
        metrics.set(vec![("enabled", 2), ("error", 0)], vec![memory("a", "", 4096), memory("b", "team", 10)]);
        insta::assert_snapshot!(text());
        metrics.set(vec![("enabled", 1), ("error", 0)], vec![memory("b", "", 20)]);
        assert!(text().contains("\ntrigon_policies{state=\"enabled\"} 1\n"));
        assert!(
            text().contains("\ntrigon_policy_kernel_memory_bytes{policy=\"b\",policy_namespace=\"\"} 20\n")
        );
        assert!(!text().contains("policy=\"a\""));
    }
}
