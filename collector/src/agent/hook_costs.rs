//! What hooks cost the kernel, told by the names that policies' events have.

use std::collections::{BTreeMap, HashMap};

use tracing::{info, warn};
use trigon_exporters::metrics::{HookCost, HookMetrics, HookNumbers};
use trigon_probes::{
    lifecycle::Shared,
    programs::{At, Cost, Place, RunTimes},
};

use crate::policy::engine::kind_of;

/// Has the kernel measure programs where that is wanted. What it refuses is told, and done without.
pub fn measure(wanted: bool) -> Option<RunTimes> {
    if !wanted {
        return None;
    }
    let measured = RunTimes::measure();
    match &measured {
        Ok(_) => info!("the kernel measures how often and how long eBPF programs run (metrics.bpf_stats)"),
        Err(error) => {
            warn!(
                "metrics.bpf_stats: {error}. There is no trigon_hook_runs_total and no trigon_hook_seconds_total"
            );
        }
    }
    measured.ok()
}

/// Has `metrics` tell what hooks cost, at each scrape.
pub fn tell(metrics: &HookMetrics, shared: Shared, run_times: Option<RunTimes>) {
    metrics.read_by(move || HookNumbers {
        hooks: by_name(shared.costs()),
        measured: run_times.is_some(),
        memory: shared.memory().map(|(part, bytes)| (part.as_str(), bytes)).to_vec(),
    });
}

/// A function that policies name in two ways is two hooks in the kernel, of one name.
fn by_name(costs: HashMap<Place, Cost>) -> Vec<HookCost> {
    let mut named: BTreeMap<(String, &'static str), Cost> = BTreeMap::new();
    for (Place { at, mechanism }, cost) in costs {
        let hook = match at {
            At::Hook(target) => kind_of(&target).name(),
            At::Own(name) => name.to_owned(),
        };
        *named.entry((hook, mechanism)).or_default() += cost;
    }
    let cost = |((hook, mechanism), Cost { runs, nanoseconds, missed })| HookCost {
        hook,
        mechanism,
        runs,
        nanoseconds,
        missed,
    };
    named.into_iter().map(cost).collect()
}
