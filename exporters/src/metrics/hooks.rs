//! What hooks cost: how often their programs ran in the kernel, for how long, and what they take of its memory.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{
    Registry,
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
};

/// `trigon_hook_runs_total`, `trigon_hook_seconds_total`, `trigon_hook_missed_total`, all `{hook,mechanism}`, and
/// `trigon_kernel_memory_bytes{part}`: read at each scrape, once somebody knows how ([`Self::read_by`]).
#[derive(Clone, Default)]
pub struct HookMetrics(Arc<OnceLock<Read>>);

type Read = Box<dyn Fn() -> HookNumbers + Send + Sync>;

/// The numbers of one moment.
#[derive(Clone, Debug, Default)]
pub struct HookNumbers {
    /// Each hook once with each mechanism.
    pub hooks: Vec<HookCost>,
    /// Whether the kernel measures runs: else there are none.
    pub measured: bool,
    /// Bytes of kernel memory, by the part of the agent that has them.
    pub memory: Vec<(&'static str, u64)>,
}

/// What a hook cost since the agent started, by one mechanism.
#[derive(Clone, Debug)]
pub struct HookCost {
    /// Its name, as `trigon_policy_events_total` has it; of what is no policy's the kernel's name.
    pub hook: String,
    /// How it is entered.
    pub mechanism: &'static str,
    /// Runs of its programs.
    pub runs: u64,
    /// How long they took, in nanoseconds.
    pub nanoseconds: u64,
    /// Runs that the kernel left out.
    pub missed: u64,
}

const FAMILIES: &[ScrapeFamily] = &[
    ScrapeFamily {
        name: "trigon_hook_runs_total",
        help: "Runs of a hook's programs: entry and return of a call are two. What hooks share is split evenly. \
               Only with metrics.bpf_stats.",
        kind: ScrapeKind::Counter,
        labels: &["hook", "mechanism"],
    },
    ScrapeFamily {
        name: "trigon_hook_seconds_total",
        help: "Time that a hook's programs ran, on all CPUs together. What hooks share is split evenly. \
               Only with metrics.bpf_stats.",
        kind: ScrapeKind::Counter,
        labels: &["hook", "mechanism"],
    },
    ScrapeFamily {
        name: "trigon_hook_missed_total",
        help: "Runs of a hook's programs that the kernel left out, since one was running on that CPU already.",
        kind: ScrapeKind::Counter,
        labels: &["hook", "mechanism"],
    },
    ScrapeFamily {
        name: "trigon_kernel_memory_bytes",
        help: "Bytes of the kernel's memory that the agent's programs and maps take, as the kernel accounts for it, \
               by the part of the agent.",
        kind: ScrapeKind::Gauge,
        labels: &["part"],
    },
];

// === impl HookMetrics ===

impl HookMetrics {
    /// Makes the families and registers them. They are empty until somebody reads.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let this = Self::default();
        let numbers = this.clone();
        register_scraped(registry, FAMILIES, move |rows| numbers.fill(rows))?;
        Ok(this)
    }

    /// Has `read` tell the numbers at each scrape from now on. Who came first stays.
    pub fn read_by(&self, read: impl Fn() -> HookNumbers + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(read));
    }

    fn fill(&self, rows: &mut Rows<'_>) {
        let Some(read) = self.0.get() else { return };
        let numbers = read();
        for HookCost { hook, mechanism, runs, nanoseconds, missed } in &numbers.hooks {
            let labels: [&str; 2] = [hook, mechanism];
            if numbers.measured {
                rows.push(FAMILIES[0].name, &labels, *runs as f64);
                rows.push(FAMILIES[1].name, &labels, *nanoseconds as f64 / 1e9);
            }
            rows.push(FAMILIES[2].name, &labels, *missed as f64);
        }
        for (part, bytes) in numbers.memory {
            rows.push(FAMILIES[3].name, &[part], bytes as f64);
        }
    }
}

impl fmt::Debug for HookMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn runs_are_told_where_they_are_measured() {
        let text = |measured| {
            let registry = Registry::new();
            let metrics = HookMetrics::register(&registry).unwrap();
            assert!(registry.gather().is_empty());
            metrics.read_by(move || HookNumbers {
                hooks: vec![HookCost {
                    hook: "kprobe:fd_install".to_owned(),
                    mechanism: "fentry",
                    runs: 3,
                    nanoseconds: 1_500_000_000,
                    missed: 1,
                }],
                measured,
                memory: vec![("lifecycle", 4096)],
            });
            TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
        };
        insta::assert_snapshot!(text(true));
        assert!(!text(false).contains("runs") && !text(false).contains("seconds"));
        assert!(
            text(false)
                .contains("trigon_hook_missed_total{hook=\"kprobe:fd_install\",mechanism=\"fentry\"} 1\n")
        );
    }
}
