//! A new configuration while the agent runs: what can change does, what can't is named.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use prometheus::{Gauge, IntGauge};
use tokio::sync::mpsc;
use toml::Table;
use tracing::{info, warn};
use trigon_exporters::{lines::Format, metrics::Registry};

use super::{AgentError, Way, WaysOut};
use crate::{
    api::status::ConfigStatus,
    config::{Effective, Given, layers::leaves},
    jobs::Stopping,
    pipeline, watch,
};

/// Changes the running agent's configuration.
pub struct Reloader {
    given: Given,
    format: Option<Format>,
    /// What is in force of that which can't change.
    started: Effective,
    /// What the file said when it was last looked at.
    text: Option<Vec<u8>>,
    state: ConfigState,
    metrics: ReloadMetrics,
    /// The file, or something beside it, changed.
    changes: mpsc::Receiver<()>,
}

/// The configuration in force, for those who ask.
#[derive(Clone, Debug)]
pub struct ConfigState(Arc<Mutex<ConfigStatus>>);

/// How it goes with the configuration.
#[derive(Clone, Debug)]
pub struct ReloadMetrics {
    successful: IntGauge,
    success_time: Gauge,
}

/// Keys, and beginnings of keys, whose change is in force at once.
const LIVE: [&str; 10] = [
    "file",
    "filter",
    "limits.args",
    "limits.shutdown_timeout",
    "limits.stdout_queue_events",
    "otlp",
    "recent",
    "redaction",
    "stdout",
    "trace.max_age",
];

// === impl Reloader ===

impl Reloader {
    /// For an agent that was started with `started`, which `given` gave. Its file is watched from now on.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn new(
        given: Given,
        format: Option<Format>,
        started: Effective,
        metrics: ReloadMetrics,
    ) -> Result<Self, AgentError> {
        metrics.succeeded();
        let (changed, changes) = mpsc::channel(1);
        let text = given.file.as_deref().and_then(|file| fs::read(file).ok());
        if let Some(file) = &given.file {
            let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let told = move || match changed.try_send(()) {
                Err(mpsc::error::TrySendError::Closed(())) => Err(Stopping),
                // One that waits to be looked at will do.
                Ok(()) | Err(mpsc::error::TrySendError::Full(())) => Ok(()),
            };
            watch::spawn(directory.unwrap_or(Path::new(".")).to_owned(), told)
                .map_err(|source| AgentError::System { what: "start a thread", source })?;
        }
        let state = ConfigStatus {
            file: given.file.clone(),
            loaded: Timestamp::now(),
            error: None,
            needs_restart: Vec::new(),
        };
        let state = ConfigState(Arc::new(Mutex::new(state)));
        Ok(Self { given, format, started, text, state, metrics, changes })
    }

    /// The configuration in force, at any time.
    pub fn state(&self) -> ConfigState {
        self.state.clone()
    }

    /// Waits until the file is another one than it was.
    pub async fn changed(&mut self) {
        loop {
            if self.changes.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            let text = self.given.file.as_deref().and_then(|file| fs::read(file).ok());
            // A file that is gone is about to come back, or was taken away on purpose: what is in force stays.
            if text.is_some() && text != self.text {
                return;
            }
        }
    }

    /// Reads the configuration again, and puts in force what can be.
    pub async fn reload(&mut self, ways_out: &mut WaysOut, pipeline: &pipeline::Handle) {
        self.text = self.given.file.as_deref().and_then(|file| fs::read(file).ok());
        let wanted = match self.given.load() {
            Ok(wanted) => wanted,
            Err(error) => {
                warn!("the configuration of before stays in force: {error}");
                self.metrics.successful.set(0);
                self.state.lock().error = Some(error.to_string());
                return;
            }
        };
        let failures = ways_out.replace(Way::all_of(&wanted, self.format), pipeline).await;
        let (tracker, recent) = (wanted.tracker(), wanted.config.recent.max_bytes);
        let applied = pipeline.call(move |pipeline| {
            pipeline.tracker.change(tracker);
            pipeline.router.recent().limit(recent);
        });
        if applied.await.is_err() {
            return;
        }
        let needs_restart = differences(&self.started, &wanted);
        if !needs_restart.is_empty() {
            warn!("in force only after a restart: {}", needs_restart.join(", "));
        }
        let mut state = self.state.lock();
        state.needs_restart = needs_restart;
        match failures.as_slice() {
            [] => {
                info!("the configuration was read again and is in force");
                self.metrics.succeeded();
                state.loaded = Timestamp::now();
                state.error = None;
            }
            failures => {
                let error = failures.join("; ");
                warn!("the configuration was read again; some ways out stay as they were: {error}");
                self.metrics.successful.set(0);
                state.error = Some(error);
            }
        }
    }
}

/// Keys by which two configurations differ, and that can't change while the agent runs.
fn differences(one: &Effective, other: &Effective) -> Vec<String> {
    // What has been read can be written.
    let [one, other] = [one, other].map(|settings| Table::try_from(&settings.config).unwrap_or_default());
    let [one, other]: [BTreeMap<_, _>; 2] = [&one, &other].map(|table| leaves(table).into_iter().collect());
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differs = |key: &&&String| one.get(**key) != other.get(**key);
    let is_live = |key: &str| {
        LIVE.iter().any(|live| {
            key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    keys.iter().filter(differs).filter(|key| !is_live(key)).map(|key| (*key).clone()).collect()
}

// === impl ConfigState ===

impl ConfigState {
    /// How it stands.
    pub fn get(&self) -> ConfigStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ConfigStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ReloadMetrics ===

impl ReloadMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            successful: registry.gauge(
                "trigon_config_last_reload_successful",
                "1 if the configuration in force is the one that was read last, 0 if that one could not be used.",
            )?,
            success_time: registry.float_gauge(
                "trigon_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, in seconds since the Unix epoch.",
            )?,
        })
    }

    fn succeeded(&self) {
        self.successful.set(1);
        self.success_time.set(Timestamp::now().as_duration().as_secs_f64());
    }
}
