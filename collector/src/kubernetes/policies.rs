//! Policies of the API server: what it has is what the agent loads.
//!
//! Each kind is watched by itself. From all of them, and from the node's labels, comes one list: what this node is to
//! have. Whoever puts policies in force takes the newest list whenever it can, so nothing waits for it, and nothing is
//! lost when it is slow. While the API server is away the list stays as it was.

use std::{collections::BTreeMap, sync::Arc};

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use trigon_exporters::metrics::KubernetesMetrics;

use super::{
    KubernetesConfig,
    config::PolicyGroup,
    crd::PolicyKind,
    node::{self, NodeMeta},
    report,
};
use crate::{
    api::State,
    policy::manager::{Handle, Manager},
};

mod follow;
pub mod object;

use follow::Change;
use object::{Object, ObjectKey};

/// A policy of the API server, as this node has to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// It.
    pub object: Arc<Object>,
    /// Why it isn't to be loaded here, if so, and the state that it is in.
    pub refused: Option<(State, String)>,
}

/// What this node is to have: of those that have one name, the first has it.
pub type WantedList = Arc<[Wanted]>;

/// A kind of a group.
type Source = (PolicyGroup, PolicyKind);

/// What the API server has of each kind.
type Objects = BTreeMap<Source, BTreeMap<ObjectKey, Arc<Object>>>;

/// Changes that wait to be looked at; more wait with those who watch.
const CHANGES: usize = 64;

/// Has the policies of the API server loaded, and reports on all policies, until the manager stops.
pub async fn run(
    client: Client,
    node: String,
    config: KubernetesConfig,
    policies: Handle,
    metrics: KubernetesMetrics,
) {
    let Ok(told) = policies.call(|manager| manager.told()).await else { return };
    let (node_sender, node_meta) = watch::channel(None);
    let (sender, wanted) = watch::channel(WantedList::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(node::follow(client.clone(), node.clone(), node_sender, metrics.clone()));
    if config.report {
        tasks.spawn(report::run(client.clone(), node, node_meta.clone(), told, config.report_interval));
    }
    tasks.spawn(follow_all(client, config.policies, node_meta, sender, metrics));
    // With the manager it ends, and with it the others.
    apply(wanted, policies).await;
}

/// Watches all kinds of these groups, and says what this node is to have.
pub async fn follow_all(
    client: Client,
    groups: Vec<PolicyGroup>,
    mut node: watch::Receiver<Option<NodeMeta>>,
    wanted: watch::Sender<WantedList>,
    metrics: KubernetesMetrics,
) {
    let (sender, mut changes) = mpsc::channel(CHANGES);
    let mut followers = JoinSet::new();
    for group in groups {
        for kind in PolicyKind::ALL {
            followers.spawn(follow::follow(client.clone(), (group, kind), sender.clone(), metrics.clone()));
        }
    }
    // With the last of them the channel ends.
    drop(sender);
    let mut objects = Objects::new();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = changes.recv_many(&mut batch, CHANGES) => if count == 0 { return },
            Ok(()) = node.changed() => {}
        }
        batch.drain(..).for_each(|(source, change)| take(objects.entry(source).or_default(), change));
        let next = list(&objects, node.borrow_and_update().as_ref());
        wanted.send_if_modified(|list| {
            let changed = **list != *next;
            *list = next;
            changed
        });
    }
}

/// Tells the manager what is wanted, the newest each time.
async fn apply(mut wanted: watch::Receiver<WantedList>, policies: Handle) {
    while wanted.changed().await.is_ok() {
        let list = Arc::clone(&wanted.borrow_and_update());
        if policies.call(|manager: &mut Manager| manager.want(list)).await.is_err() {
            return;
        }
    }
}

fn take(objects: &mut BTreeMap<ObjectKey, Arc<Object>>, change: Change) {
    let keyed = |object: Object| (object.key.clone(), Arc::new(object));
    match change {
        Change::All(all) => *objects = all.into_iter().map(keyed).collect(),
        Change::One(object) => {
            let (key, object) = keyed(object);
            objects.insert(key, object);
        }
        Change::Gone(key) => {
            objects.remove(&key);
        }
    }
}

/// The list for a node. Of a name the oldest comes first, so that every node has the same one.
fn list(objects: &Objects, node: Option<&NodeMeta>) -> WantedList {
    let all = objects.values().flat_map(BTreeMap::values);
    let wanted = |object: &Arc<Object>| Wanted { object: Arc::clone(object), refused: refused(object, node) };
    let mut list: Vec<Wanted> = all.map(wanted).collect();
    list.sort_by(|one, other| {
        let rank = |wanted: &Wanted| (wanted.object.created, wanted.object.key.clone());
        rank(one).cmp(&rank(other))
    });
    list.into()
}

fn refused(object: &Object, node: Option<&NodeMeta>) -> Option<(State, String)> {
    let selector = match &object.nodes {
        Ok(selector) => selector,
        Err(error) => return Some((State::LoadError, format!("spec.nodeSelector: {error}"))),
    };
    if selector.selects_all() {
        return None;
    }
    match node {
        Some(node) if node.is_selected(selector) => None,
        Some(_) => Some((State::Skipped, "its nodeSelector doesn't select this node".to_owned())),
        None => Some((
            State::Skipped,
            "it has a nodeSelector, and this node's labels aren't known yet".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
