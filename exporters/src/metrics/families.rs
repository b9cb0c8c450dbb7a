//! Events, counted: the families that dashboards are made of.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use super::{
    MetricsConfig, Registry,
    capped::{About, Capped, Labels, register_folded},
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
    series::{Count, Times},
};
use crate::{
    event::{Event, EventType, Exec, Exit, Gains, Kind, Place, Process, Timestamp},
    names,
};

#[cfg(test)]
mod tests;

/// What is counted of events, by who did it: `namespace`, `workload`, `pod`, `binary`.
///
/// Belongs to the one thread that the events pass through.
#[derive(Debug)]
pub struct EventMetrics {
    events: Capped<Count, 1, 4>,
    policies: Capped<Count, 4, 4>,
    exits: Capped<Count, 2, 4>,
    gained: Capped<Count, 1, 4>,
    first_seen: Capped<Count, 0, 2>,
    runs: Capped<Times, 0, 2>,
    labels: Labels,
    stale_after: Duration,
    swept: Instant,
}

const SIZES: &[ScrapeFamily] = &[
    ScrapeFamily {
        name: "trigon_metrics_series",
        help: "Series that a family of event metrics has now; of a histogram each bucket is one.",
        kind: ScrapeKind::Gauge,
        labels: &["family"],
    },
    ScrapeFamily {
        name: "trigon_metrics_series_limit",
        help: "Series that a family of event metrics may have (metrics.max_series).",
        kind: ScrapeKind::Gauge,
        labels: &[],
    },
];

/// Of the series by policy or by exit code, one in so many is for events whose own series found no room.
const REST: usize = 4;

/// A family is looked through for stale series so often in the time that makes a series stale.
const LOOKS: u32 = 10;

/// Privileges that an exec gains by its file, by their names.
const GAINS: [(Gains, &str); 3] =
    [(Gains::SETUID, "setuid"), (Gains::SETGID, "setgid"), (Gains::FILE_CAPS, "file_caps")];

/// Exit codes as texts.
static CODES: LazyLock<[String; 256]> = LazyLock::new(|| std::array::from_fn(|code| code.to_string()));

// === impl EventMetrics ===

impl EventMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry, config: &MetricsConfig) -> prometheus::Result<Self> {
        let folded = register_folded(registry)?;
        let many = config.max_series / REST;
        let events = About {
            name: "trigon_events_total",
            help: "Events that the agent saw, by their type and by who did it.",
            what: ["type"],
            // A type that finds no series of its own must not take the last one, which has no type.
            rest: EventType::ALL.len() + 1,
        };
        let policies = About {
            name: "trigon_policy_events_total",
            help: "Events that policies posted, by the policy, its namespace (empty: it is one of the cluster's), the hook, what was done and by who did it.",
            what: ["policy", "policy_namespace", "hook", "action"],
            rest: many,
        };
        let exits = About {
            name: "trigon_process_exits_total",
            help: "Processes that ended, by their exit code (empty where a signal ended them), the signal (empty where none did) and by who it was.",
            what: ["code", "signal"],
            rest: many,
        };
        let gained = About {
            name: "trigon_privileges_gained_total",
            help: "Executions that gained privileges by the file that they execute (setuid, setgid, file_caps), by who did it.",
            what: ["gained"],
            rest: GAINS.len() + 1,
        };
        let first_seen = About {
            name: "trigon_first_seen_binaries_total",
            help: "Executions of a binary that the workload, or the host, had not executed since the agent started.",
            what: [],
            rest: 1,
        };
        let runs = About {
            name: "trigon_process_run_seconds",
            help: "How long executions ran, observed when the process ended or executed something else.",
            what: [],
            rest: 1,
        };
        let metrics = Self {
            events: Capped::register(registry, events, config, &folded)?,
            policies: Capped::register(registry, policies, config, &folded)?,
            exits: Capped::register(registry, exits, config, &folded)?,
            gained: Capped::register(registry, gained, config, &folded)?,
            first_seen: Capped::register(registry, first_seen, config, &folded)?,
            runs: Capped::register(registry, runs, config, &folded)?,
            labels: Labels::new(config),
            stale_after: config.stale_after,
            swept: Instant::now(),
        };
        metrics.register_sizes(registry, config.max_series)?;
        Ok(metrics)
    }

    fn register_sizes(&self, registry: &Registry, limit: usize) -> prometheus::Result<()> {
        let (events, policies, exits) = (self.events.series(), self.policies.series(), self.exits.series());
        let (gained, first_seen, runs) = (self.gained.series(), self.first_seen.series(), self.runs.series());
        let read = move |rows: &mut Rows<'_>| {
            for (family, series) in [
                (events.name(), events.len()),
                (policies.name(), policies.len()),
                (exits.name(), exits.len()),
                (gained.name(), gained.len()),
                (first_seen.name(), first_seen.len()),
                (runs.name(), runs.len()),
            ] {
                rows.push(SIZES[0].name, &[family], series as f64);
            }
            rows.push(SIZES[1].name, &[], limit as f64);
        };
        register_scraped(registry, SIZES, read)
    }

    /// Counts an event.
    pub fn observe(&mut self, event: &Event) {
        let process = &*event.process;
        let place = process.place();
        let who = self.labels.choose(who(place.as_deref(), process));
        if event.has_record() || event.is_of_policy() {
            self.events.observe([event.event_type().as_str()], who, ());
        }
        match &event.kind {
            Kind::Hook(hook) => {
                let policy = &*hook.source.policy;
                let namespace = policy.namespace.as_deref().unwrap_or_default();
                let what = [&policy.name, namespace, hook.source.name(), hook.done()];
                self.policies.observe(what, who, ());
            }
            Kind::Exec(exec) => self.executed(exec, process, who),
            Kind::Exit(exit) => self.exited(exit, who),
            Kind::Loader(_) | Kind::Replaced | Kind::Descriptor(_) | Kind::RateLimit(_) => {}
        }
        self.ran(event);
    }

    fn executed(&mut self, exec: &Exec, process: &Process, who: [&str; 4]) {
        let gained = process.image.file.map(|file| file.gained).unwrap_or_default();
        for (_, name) in GAINS.into_iter().filter(|(gain, _)| gained.contains(*gain)) {
            self.gained.observe([name], who, ());
        }
        if exec.first_seen {
            let [namespace, workload, ..] = who;
            self.first_seen.observe([], [namespace, workload], ());
        }
    }

    fn exited(&mut self, exit: &Exit, who: [&str; 4]) {
        if exit.signal == 0 {
            self.exits.observe([&CODES[usize::from(exit.code)], ""], who, ());
        } else {
            self.exits.observe(["", &names::signal(exit.signal)], who, ());
        }
    }

    /// Observes how long the execution ran that the event ended, if it ended one.
    fn ran(&mut self, event: &Event) {
        let process = match &event.kind {
            Kind::Exec(Exec { replaced: Some(replaced), .. }) => &*replaced.process,
            Kind::Exit(_) | Kind::Replaced => &*event.process,
            _ => return,
        };
        // A start that was missed is 0.
        if process.start == Timestamp::default() {
            return;
        }
        let place = process.place();
        let [namespace, workload, ..] = self.labels.choose(who(place.as_deref(), process));
        let time = Duration::from_nanos(event.time.0.saturating_sub(process.start.0));
        self.runs.observe([], [namespace, workload], time.as_secs_f64());
    }

    /// Removes the series in which nothing was counted for `metrics.stale_after`, so that others have their room. An
    /// event that comes after all makes its series anew, from 0. Call it now and then; it looks through the series a
    /// few times in that time only.
    pub fn sweep(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.swept);
        let stale_after = self.stale_after;
        if stale_after.is_zero() || passed < stale_after / LOOKS {
            return;
        }
        self.swept = now;
        self.events.sweep(passed, stale_after);
        self.policies.sweep(passed, stale_after);
        self.exits.sweep(passed, stale_after);
        self.gained.sweep(passed, stale_after);
        self.first_seen.sweep(passed, stale_after);
        self.runs.sweep(passed, stale_after);
    }
}

/// The values of all labels that say who did it.
fn who<'a>(place: Option<&'a Place>, process: &'a Process) -> [&'a str; 4] {
    let pod = place.map(|place| &*place.pod);
    let workload = pod.and_then(|pod| pod.workload.as_ref());
    [
        pod.map(|pod| &*pod.namespace).unwrap_or_default(),
        workload.map(|workload| &*workload.name).unwrap_or_default(),
        pod.map(|pod| &*pod.name).unwrap_or_default(),
        process.image.binary(),
    ]
}
