//! Policies of the API server: what is wanted is caught up with one step at a time, between other jobs, so that a long
//! list keeps nobody waiting.
//!
//! Each step looks at what there is and what is wanted, and remembers only what came of each object. So it doesn't
//! matter in which order objects, files and requests come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Manager;
use crate::{
    api::{Origin, PolicyStatus, State},
    kubernetes::{
        policies::{
            Wanted, WantedList,
            object::{Object, ObjectKey},
        },
        report::Told,
    },
    policy::model::Policy,
};

/// What is wanted, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    wanted: WantedList,
    /// Of each name, the object that has it.
    owners: BTreeMap<String, ObjectKey>,
    done: BTreeMap<ObjectKey, Done>,
    /// What the kernel doesn't let go of.
    stuck: BTreeSet<String>,
    told: watch::Sender<Arc<[Told]>>,
}

/// What came of an object.
#[derive(Debug)]
struct Done {
    object: Arc<Object>,
    since: Timestamp,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was given to the engine: how it stands with it, the policy of its name says.
    Loaded,
    /// It is no policy.
    Invalid(String),
    /// It is not to be loaded.
    LeftOut(State, String),
}

// === impl Manager ===

impl Manager {
    /// From now on, these are wanted of the API server.
    pub fn want(&mut self, wanted: WantedList) {
        let mut owners = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| wanted.refused.is_none()) {
            owners.entry(wanted.object.key.policy()).or_insert_with(|| wanted.object.key.clone());
        }
        let known: BTreeSet<&ObjectKey> = wanted.iter().map(|wanted| &wanted.object.key).collect();
        self.cluster.done.retain(|key, _| known.contains(key));
        self.cluster.stuck.clear();
        self.cluster.owners = owners;
        self.cluster.wanted = wanted;
    }

    /// How it stands with every policy, whenever that changes.
    pub fn told(&self) -> watch::Receiver<Arc<[Told]>> {
        let told = self.cluster.told.subscribe();
        self.tell();
        told
    }

    /// Takes one step towards what is wanted. False where nothing was left to do.
    pub(super) fn catch_up(&mut self) -> bool {
        // First what goes: a name must be free before another has it.
        let gone = self.entries.iter().find_map(|(name, entry)| match entry.from {
            Origin::Kubernetes(group) => {
                let stays = self.cluster.owners.get(name).is_some_and(|owner| owner.group == group);
                (!stays && !self.cluster.stuck.contains(name)).then(|| name.clone())
            }
            _ => None,
        });
        if let Some(name) = gone {
            self.withdraw(&name);
            return true;
        }
        let next = self.cluster.wanted.iter().find_map(|wanted| {
            let left_out = self.left_out_of_cluster(wanted);
            let done = self.cluster.done.get(&wanted.object.key);
            let stands = done.is_some_and(|done| match (&done.outcome, &left_out) {
                (Outcome::LeftOut(state, error), Some(left_out)) => {
                    (*state, error) == (left_out.0, &left_out.1)
                }
                (Outcome::Loaded | Outcome::Invalid(_), None) => done.object == wanted.object,
                _ => false,
            });
            (!stands).then(|| (Arc::clone(&wanted.object), left_out))
        });
        let Some((object, left_out)) = next else { return false };
        let outcome = match left_out {
            Some((state, error)) => {
                info!(policy = object.key.policy(), from = %Origin::Kubernetes(object.key.group), state = state.as_str(), "policy left out: {error}");
                Outcome::LeftOut(state, error)
            }
            None => self.take_object(&object),
        };
        self.cluster.done.insert(object.key.clone(), Done { object, since: Timestamp::now(), outcome });
        true
    }

    /// Why an object isn't to be loaded here, if so.
    fn left_out_of_cluster(&self, wanted: &Wanted) -> Option<(State, String)> {
        if wanted.refused.is_some() {
            return wanted.refused.clone();
        }
        let Wanted { object, .. } = wanted;
        let (name, from) = (object.key.policy(), Origin::Kubernetes(object.key.group));
        let owner = self.cluster.owners.get(&name).filter(|owner| **owner != object.key);
        let owner = owner.map(|owner| Origin::Kubernetes(owner.group));
        let other = owner.as_ref().or_else(|| {
            let entry = self.entries.get(&name)?;
            (entry.from != from).then_some(&entry.from)
        })?;
        Some((State::LoadError, format!("a policy named {name} is there, from {other}")))
    }

    fn take_object(&mut self, object: &Object) -> Outcome {
        let name = object.key.policy();
        let loaded = self.cluster.done.get(&object.key);
        let same =
            loaded.is_some_and(|done| done.outcome == Outcome::Loaded && done.object.text == object.text);
        if same && self.entries.contains_key(&name) {
            // Another version of it, with the same hooks.
            return Outcome::Loaded;
        }
        let mut checked = self.rules().check_bytes(object.text.as_bytes());
        let policy = match checked.first_error() {
            None => checked.policies.pop().ok_or_else(|| "there is no policy in it".to_owned()),
            Some(error) => Err(error),
        };
        match policy {
            Ok(policy) => {
                if !self.has_object(&name, &policy) {
                    self.load(policy, Origin::Kubernetes(object.key.group));
                }
                Outcome::Loaded
            }
            Err(error) => {
                if self.entries.contains_key(&name) {
                    self.keep(&name, error.clone());
                } else {
                    warn!(policy = name, from = %Origin::Kubernetes(object.key.group), "policy can't be loaded: {error}");
                }
                Outcome::Invalid(error)
            }
        }
    }

    /// Whether the policy is the one that is loaded. What was wrong with its object is mended then.
    fn has_object(&mut self, name: &str, policy: &Policy) -> bool {
        let same = self.engine.as_ref().and_then(|engine| engine.policy(name)) == Some(policy);
        if same
            && let Some(entry) = self.entries.get_mut(name)
            && entry.error.take().is_some()
        {
            entry.since = Timestamp::now();
            info!(policy = name, "its object is again what is loaded");
        }
        same
    }

    fn withdraw(&mut self, name: &str) {
        if let Err(error) = self.remove(name) {
            warn!(policy = name, %error, "a policy whose object is gone stays");
            self.cluster.stuck.insert(name.to_owned());
            return;
        }
        if self.left_out.iter().any(|left_out| left_out.key().as_deref() == Some(name)) {
            self.scan();
        }
    }

    /// Objects that aren't in the kernel, nor were to be put there.
    pub(super) fn left_in_cluster(&self) -> impl Iterator<Item = PolicyStatus> + '_ {
        self.cluster.done.iter().filter_map(|(key, done)| {
            let from = Origin::Kubernetes(key.group);
            let (state, error) = match &done.outcome {
                Outcome::Loaded => return None,
                Outcome::LeftOut(state, error) => (*state, error),
                // What it was before is still in force, and listed with what is wrong.
                Outcome::Invalid(_) if self.entries.contains_key(&key.policy()) => return None,
                Outcome::Invalid(error) => (State::LoadError, error),
            };
            Some(PolicyStatus {
                name: Some(key.name.clone()),
                namespace: key.namespace.clone(),
                state,
                mode: None,
                since: done.since,
                from,
                hooks: Vec::new(),
                kernel_memory_bytes: 0,
                error: Some(error.clone()),
            })
        })
    }

    /// Says how it stands to whoever wants to know.
    pub(super) fn tell(&self) {
        if self.cluster.told.receiver_count() == 0 {
            return;
        }
        let generation = |status: &PolicyStatus| {
            let Origin::Kubernetes(group) = status.from else { return None };
            let (namespace, name) = (status.namespace.clone(), status.name.clone()?);
            self.cluster.done.get(&ObjectKey { group, namespace, name })?.object.generation
        };
        let told = self.list().into_iter().map(|status| Told { generation: generation(&status), status });
        let told: Arc<[Told]> = told.collect();
        self.cluster.told.send_if_modified(|known| {
            let changed = **known != *told;
            *known = told;
            changed
        });
    }
}
