//! How it stands with policies, and what they take.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Registry,
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
};

/// `trigon_policies{state}`, `trigon_policy_kernel_memory_bytes{policy,policy_namespace}` and
/// `trigon_policy_hook_info{policy,policy_namespace,hook,mechanism}`, of one moment.
#[derive(Clone, Debug, Default)]
pub struct PolicyMetrics(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    states: Vec<(&'static str, usize)>,
    memory: Vec<PolicyMemory>,
    hooks: BTreeSet<PolicyHook>,
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

/// A hook that a policy in force has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyHook {
    /// The policy's name.
    pub policy: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// The hook's name, as `trigon_policy_events_total` has it.
    pub hook: String,
    /// How it is entered.
    pub mechanism: &'static str,
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
    ScrapeFamily {
        name: "trigon_policy_hook_info",
        help: "A policy in force has this hook by this mechanism; always 1, to join with what the hook costs.",
        kind: ScrapeKind::Gauge,
        labels: &["policy", "policy_namespace", "hook", "mechanism"],
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

    /// Sets all numbers: policies by state, kernel memory by policy, and the hooks of each.
    pub fn set(
        &self,
        states: Vec<(&'static str, usize)>,
        memory: Vec<PolicyMemory>,
        hooks: BTreeSet<PolicyHook>,
    ) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Numbers { states, memory, hooks };
    }

    fn read(&self, rows: &mut Rows<'_>) {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (state, count) in &numbers.states {
            rows.push(FAMILIES[0].name, &[state], *count as f64);
        }
        for PolicyMemory { name, namespace, bytes } in &numbers.memory {
            rows.push(FAMILIES[1].name, &[name, namespace], *bytes as f64);
        }
        for PolicyHook { policy, namespace, hook, mechanism } in &numbers.hooks {
            rows.push(FAMILIES[2].name, &[policy, namespace, hook, mechanism], 1.0);
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
        let hook = |policy: &str, hook: &str| PolicyHook {
            policy: policy.to_owned(),
            namespace: String::new(),
            hook: hook.to_owned(),
            mechanism: "fentry",
        };
        metrics.set(
            vec![("enabled", 2), ("error", 0)],
            vec![memory("a", "", 4096), memory("b", "team", 10)],
            BTreeSet::from([hook("a", "kprobe:fd_install"), hook("a", "kprobe:__x64_sys_read")]),
        );
        insta::assert_snapshot!(text());
        metrics.set(vec![("enabled", 1), ("error", 0)], vec![memory("b", "", 20)], BTreeSet::new());
        assert!(text().contains("\ntrigon_policies{state=\"enabled\"} 1\n"));
        assert!(
            text().contains("\ntrigon_policy_kernel_memory_bytes{policy=\"b\",policy_namespace=\"\"} 20\n")
        );
        assert!(!text().contains("policy=\"a\""));
    }
}
