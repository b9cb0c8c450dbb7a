//! Who owns the policies while the agent runs: a thread that does one job after the other.
//!
//! Without policies nothing of them is in the kernel: the engine is made with the first and goes with the last.

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use jiff::Timestamp;
use tracing::{info, warn};
use trigon_exporters::{
    metrics::{PolicyHook, PolicyMemory, PolicyMetrics},
    outbound::Outbound,
};
use trigon_probes::{
    hooks::{Hooks, Mechanism, Requests},
    lifecycle::Shared,
};

use super::{
    Rules,
    compile::Host,
    engine::{Engine, LoadError, Status, Types},
    fault::Fault,
    matches::Sources,
    model::{Mode, Policy},
    placements::Placements,
};
use crate::{
    api::{Added, FileFault, HookStatus, Origin, PolicyStatus, State},
    jobs,
    kubernetes::config::PolicyGroup,
    loader,
};

mod cluster;
mod directory;
mod trial;

use cluster::Cluster;
pub use trial::{Outcome, Trial};

/// What the engine is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What hooks share with the lifecycle.
    pub shared: Shared,
    /// What depends on this host.
    pub host: Host,
    /// What the reader looks records up in.
    pub sources: Sources,
    /// Where policies can apply.
    pub placements: Placements,
    /// Where OpenTelemetry's eBPF instrumentation pins its map of requests. Empty: it is not looked for.
    pub traces_ctx: PathBuf,
    /// What listens to what processes map.
    pub loader: loader::Source,
    /// By what policies call out; none where they may not.
    pub outbound: Option<Outbound>,
}

/// All policies, in force or not.
pub struct Manager {
    parts: Parts,
    engine: Option<Engine>,
    types: Types,
    /// By key: `name`, or `namespace/name`.
    entries: BTreeMap<String, Entry>,
    directory: Option<PathBuf>,
    /// What the directory has beside the policies that have their name here.
    left_out: Vec<PolicyStatus>,
    /// What the API server has.
    cluster: Cluster,
    metrics: PolicyMetrics,
    /// The map of requests can't be used, and that was said.
    requests_refused: bool,
    stopped: bool,
}

/// A policy that was to be loaded.
#[derive(Debug)]
struct Entry {
    from: Origin,
    since: Timestamp,
    /// What could not be done.
    error: Option<String>,
    /// The policy, where the engine doesn't have it.
    waiting: Option<Box<Policy>>,
    /// The mode that it was to be loaded in, whatever it says itself.
    mode: Option<Mode>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The text is no policy.
    #[error("it has {} that must be mended", if faults.len() == 1 { "a fault" } else { "faults" })]
    Faults {
        /// What is wrong.
        faults: Vec<Fault>,
        /// Faults beyond these.
        hidden: usize,
    },
    /// There is one of that name.
    #[error("a policy named {name} is there, from {from}; delete it first")]
    Exists {
        /// The name.
        name: String,
        /// Where that one comes from.
        from: Origin,
    },
    /// It is the API server's.
    #[error("policy {name} is an object of the cluster ({}): delete it there, or disable it here", group.as_str())]
    OfCluster {
        /// Which.
        name: String,
        /// Its group.
        group: PolicyGroup,
    },
    /// There is none of that name.
    #[error("there is no policy named {0}")]
    Unknown(String),
    /// There is nothing that it could do.
    #[error(
        "policy {0} has no mode: none of its actions kills, signals or denies (Sigkill, Signal, Override, NotifyEnforcer)"
    )]
    OnlyTells(String),
    /// The kernel, or the agent, can't do it.
    #[error("policy {name}: {error}")]
    Failed {
        /// Which.
        name: String,
        /// Why not.
        error: String,
    },
}

/// Gives the manager's thread jobs.
pub type Handle = jobs::Handle<Manager>;

/// How often what nobody waits for is taken out of the kernel.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// Has house kept from time to time, until the agent stops.
pub async fn keep_house(manager: Handle) {
    let mut period = tokio::time::interval(HOUSEKEEPING);
    loop {
        period.tick().await;
        if manager.call(Manager::keep_house).await.is_err() {
            return;
        }
    }
}

// === impl Manager ===

impl Manager {
    /// No policies yet.
    pub fn new(parts: Parts, types: Types, metrics: PolicyMetrics) -> Self {
        Self {
            parts,
            engine: None,
            types,
            entries: BTreeMap::new(),
            directory: None,
            left_out: Vec::new(),
            cluster: Cluster::default(),
            metrics,
            requests_refused: false,
            stopped: false,
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn spawn(mut self) -> std::io::Result<Handle> {
        let (handle, mut jobs) = jobs::channel();
        self.settle();
        thread::Builder::new().name("trigon-policies".to_owned()).spawn(move || {
            // A job may change what can be had: each is followed by steps until there are none to take.
            let mut behind = false;
            while !self.stopped {
                let job = if behind { jobs.next_now() } else { jobs.wait() };
                match job {
                    Some(job) => {
                        job(&mut self);
                        behind = true;
                    }
                    None if behind => behind = self.catch_up(),
                    None => break,
                }
                self.settle();
            }
        })?;
        Ok(handle)
    }

    /// Takes all policies out of the kernel and ends the thread.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.engine = None;
    }

    /// The rules by which policies are read.
    fn rules(&self) -> Rules {
        Rules { outbound: self.parts.outbound.is_some() }
    }

    fn keep_house(&mut self) {
        self.parts.placements.walk();
        let Some(mut engine) = self.engine.take() else { return };
        if let Err(error) = engine.keep_house() {
            warn!(%error, "calls that will never return are still waited for");
        }
        self.find_requests(&mut engine);
        self.engine = Some(engine);
    }

    /// Has events tell which request they were for, as soon as there is something that knows; it may come and go.
    fn find_requests(&mut self, engine: &mut Engine) {
        let path = &self.parts.traces_ctx;
        if path.as_os_str().is_empty() {
            return;
        }
        match engine.find_requests(path) {
            Ok(Requests::Same) => {}
            Ok(Requests::Found) => {
                info!(map = %path.display(), "events of policies are told with the requests that they are for");
            }
            Ok(Requests::Gone) => {
                info!(map = %path.display(), "nobody tells any more which requests events are for");
            }
            Err(error) => {
                // Once: it stays wrong until somebody mends it.
                if !self.requests_refused {
                    warn!(map = %path.display(), "{error}");
                }
                self.requests_refused = true;
                return;
            }
        }
        self.requests_refused = false;
    }

    /// Loads a policy of the command line.
    ///
    /// # Errors
    /// Says what the kernel or the agent can't do.
    pub fn start_with(&mut self, policy: Policy, file: PathBuf) -> Result<(), LoadError> {
        let name = policy.key();
        self.engine(|engine, types| engine.add(policy, types))?;
        let from = Origin::File(file);
        let entry = Entry { from, since: Timestamp::now(), error: None, waiting: None, mode: None };
        self.entries.insert(name.clone(), entry);
        self.log(&name);
        Ok(())
    }

    /// Loads the policies in a text, in the mode that each says, or in this one. Each is loaded or not by itself; those
    /// that are not stay listed.
    ///
    /// # Errors
    /// The text is wrong, or one has the name of one that is loaded: none is loaded then.
    pub fn add(&mut self, text: &[u8], mode: Option<Mode>) -> Result<Added, Refusal> {
        let checked = self.rules().check_bytes(text);
        if checked.errors > 0 {
            return Err(Refusal::Faults { faults: checked.faults, hidden: checked.hidden });
        }
        for policy in &checked.policies {
            if let Some(entry) = self.entries.get(&policy.key())
                && entry.waiting.is_none()
            {
                return Err(Refusal::Exists { name: policy.key(), from: entry.from.clone() });
            }
        }
        let names: Vec<_> = checked.policies.iter().map(Policy::key).collect();
        checked.policies.into_iter().for_each(|policy| self.load_in(policy, Origin::Api, mode));
        Ok(Added {
            policies: names.iter().filter_map(|name| self.status(name)).collect(),
            warnings: checked.faults.iter().map(FileFault::from).collect(),
        })
    }

    /// Takes a policy out of the kernel and forgets it. Another one that waited for its name has it then.
    ///
    /// # Errors
    /// There is none of that name, it is the API server's, or the kernel refuses what is to stay.
    pub fn delete(&mut self, name: &str) -> Result<(), Refusal> {
        if let Some(Entry { from: Origin::Kubernetes(group), .. }) = self.entries.get(name) {
            return Err(Refusal::OfCluster { name: name.to_owned(), group: *group });
        }
        self.remove(name)?;
        if self.left_out.iter().any(|left_out| left_out.key().as_deref() == Some(name)) {
            self.scan();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Refusal> {
        let entry = self.entries.get_mut(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        if entry.waiting.is_none() {
            let deleted = self.engine(|engine, types| engine.delete(name, types));
            self.done(name, deleted)?;
        }
        self.entries.remove(name);
        info!(policy = name, "policy deleted");
        Ok(())
    }

    /// Puts a policy in force, or out of it. One that could not be loaded is tried again.
    ///
    /// # Errors
    /// There is none of that name, or the kernel refuses it.
    pub fn set_enabled(&mut self, name: &str, enabled: bool) -> Result<PolicyStatus, Refusal> {
        let entry = self.entries.get_mut(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        if let Some(policy) = entry.waiting.clone() {
            let (from, mode) = (entry.from.clone(), entry.mode);
            if enabled {
                self.load_in(*policy, from, mode);
            }
            let error = self.entries.get(name).and_then(|entry| entry.error.clone());
            if let Some(error) = error {
                return Err(Refusal::Failed { name: name.to_owned(), error });
            }
        } else {
            let set = self.engine(|engine, types| engine.set_enabled(name, enabled, types));
            self.done(name, set)?;
            info!(policy = name, enabled, "policy set");
        }
        self.status(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))
    }

    /// Has a policy do what it says, or only tell what it would have done.
    ///
    /// # Errors
    /// There is none of that name, or nothing that it could do; or the kernel refuses.
    pub fn set_mode(&mut self, name: &str, mode: Mode) -> Result<PolicyStatus, Refusal> {
        let entry = self.entries.get_mut(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        // One that is loaded later, is so in this mode.
        entry.mode = Some(mode);
        if entry.waiting.is_none() {
            let set = self.engine(|engine, _| engine.set_mode(name, mode));
            set.map_err(|error| match error {
                LoadError::OnlyTells => Refusal::OnlyTells(name.to_owned()),
                error => Refusal::Failed { name: name.to_owned(), error: error.to_string() },
            })?;
            info!(policy = name, mode = mode.as_str(), "policy set");
        }
        self.status(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))
    }

    /// How it stands with all.
    pub fn list(&self) -> Vec<PolicyStatus> {
        let own = self.entries.keys().filter_map(|name| self.status(name));
        let mut all: Vec<_> =
            own.chain(self.left_out.iter().cloned()).chain(self.left_in_cluster()).collect();
        all.sort_by_key(PolicyStatus::key);
        all
    }

    /// Loads a policy, in the place of the one of its name if there is one, and keeps why it could not be done.
    fn load(&mut self, policy: Policy, from: Origin) {
        let mode = self.entries.get(&policy.key()).and_then(|entry| entry.mode);
        self.load_in(policy, from, mode);
    }

    fn load_in(&mut self, policy: Policy, from: Origin, mode: Option<Mode>) {
        let name = policy.key();
        if mode.is_some() && !policy.enforces() {
            warn!(policy = name, "the policy has no mode: none of its actions kills, signals or denies");
        }
        let loaded = self.engine(|engine, types| engine.replace(policy.clone(), mode, types));
        let known = self.engine.as_ref().is_some_and(|engine| engine.policy(&name).is_some());
        let error = loaded.err().map(|error| error.to_string());
        let waiting = (!known).then(|| Box::new(policy));
        self.entries.insert(name.clone(), Entry { from, since: Timestamp::now(), error, waiting, mode });
        self.log(&name);
    }

    /// Uses the engine, which is made for it where there is none, and is gone where nothing is left in it.
    fn engine<T>(
        &mut self,
        job: impl FnOnce(&mut Engine, &mut Types) -> Result<T, LoadError>,
    ) -> Result<T, LoadError> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let Parts { shared, host, sources, placements, loader, outbound, .. } = self.parts.clone();
                let hooks = Hooks::new(shared, self.types.get()?)?;
                Engine::new(hooks, host, sources, placements, Some(loader), outbound)
            }
        };
        let result = job(&mut engine, &mut self.types);
        self.find_requests(&mut engine);
        self.engine = Some(engine).filter(|engine| !engine.is_empty());
        result
    }

    /// Keeps what came of a change to a policy that is loaded.
    fn done(&mut self, name: &str, result: Result<(), LoadError>) -> Result<(), Refusal> {
        let error = result.err().map(|error| error.to_string());
        if let Some(entry) = self.entries.get_mut(name) {
            entry.since = Timestamp::now();
            entry.error.clone_from(&error);
        }
        error.map_or(Ok(()), |error| Err(Refusal::Failed { name: name.to_owned(), error }))
    }

    fn status(&self, name: &str) -> Option<PolicyStatus> {
        let entry = self.entries.get(name)?;
        let engine = self.engine.as_ref();
        let policy = entry.waiting.as_deref().or_else(|| engine?.policy(name))?;
        let status = engine.and_then(|engine| engine.status(name));
        let state = match &status {
            None => State::LoadError,
            Some(_) if entry.error.is_some() => State::Error,
            Some(Status { enabled: false, .. }) => State::Disabled,
            Some(status) if status.hooks.iter().any(|(_, mechanism)| mechanism.is_none()) => {
                State::PartiallyEnabled
            }
            Some(_) => State::Enabled,
        };
        let hook = |(name, mechanism): &(String, Option<Mechanism>)| HookStatus {
            name: name.clone(),
            mechanism: mechanism.map(|mechanism| mechanism.as_str().to_owned()),
        };
        Some(PolicyStatus {
            name: Some(policy.name.clone()),
            namespace: policy.namespace.clone(),
            state,
            mode: status.as_ref().map(|status| status.mode.into()),
            since: entry.since,
            from: entry.from.clone(),
            hooks: status.iter().flat_map(|status| status.hooks.iter().map(hook)).collect(),
            kernel_memory_bytes: status.map_or(0, |status| status.kernel_memory),
            error: entry.error.clone(),
        })
    }

    fn log(&self, name: &str) {
        let Some(status) = self.status(name) else { return };
        if let Some(error) = status.error {
            warn!(policy = name, from = %status.from, state = status.state.as_str(), "policy can't be loaded: {error}");
            return;
        }
        for hook in status.hooks {
            let mechanism = hook.mechanism.as_deref().unwrap_or("missing");
            info!(policy = name, hook = hook.name, mechanism, "policy loaded");
        }
    }

    /// After a job: the numbers, and the memory that it took.
    fn settle(&mut self) {
        let all = self.list();
        let count = |state| all.iter().filter(|status| status.state == state).count();
        let states = State::ALL.map(|state| (state.as_str(), count(state)));
        let loaded = all.into_iter().filter(|status| !status.hooks.is_empty());
        let memory = loaded.filter_map(|status| {
            let namespace = status.namespace.unwrap_or_default();
            Some(PolicyMemory { name: status.name?, namespace, bytes: status.kernel_memory_bytes })
        });
        let memory = memory.collect();
        let hook = |(policy, hook, mechanism): (&Policy, String, Mechanism)| PolicyHook {
            policy: policy.name.clone(),
            namespace: policy.namespace.clone().unwrap_or_default(),
            hook,
            mechanism: mechanism.as_str(),
        };
        let hooks = self.engine.iter().flat_map(Engine::attached).map(hook).collect();
        self.metrics.set(states.to_vec(), memory, hooks);
        self.types.release();
        self.tell();
    }
}

// === impl FileFault ===

impl From<&Fault> for FileFault {
    fn from(fault: &Fault) -> Self {
        Self { line: fault.at.line, column: fault.at.column, text: fault.to_string() }
    }
}
