//! The pods of this node, as far as the API server has told of them: a slim index.

use std::{
    collections::BTreeSet,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use trigon_exporters::event::Place;

use super::pod::PodEntry;
use crate::enrich::container::PodRef;

/// Containers that are remembered of a pod: one that is started again and again leaves its former ids.
const CONTAINERS: usize = 64;
/// Pods that were deleted and are remembered, at most.
const DELETED: usize = 4096;

/// Pods by the uid that their cgroups have in their names.
#[derive(Debug, Default)]
pub struct Pods {
    known: FxHashMap<Box<str>, Known>,
    /// Uids of which places may have changed since somebody asked.
    changed: BTreeSet<Box<str>>,
    /// While the API server lists: those that it has named.
    listed: Option<BTreeSet<Box<str>>>,
    deleted: usize,
}

#[derive(Debug)]
struct Known {
    entry: Arc<PodEntry>,
    /// One for each container, by its id, and one for the pod itself.
    places: FxHashMap<Option<Box<str>>, Arc<Place>>,
    /// When the API server said that it is gone.
    deleted: Option<Instant>,
}

/// What the API server tells.
#[derive(Clone, Debug)]
pub enum Change {
    /// It begins to list all pods.
    Begin,
    /// A pod is there, and like this.
    Is(Box<PodEntry>),
    /// The container runtime has told of a container, or a sandbox, and its pod. It knows less of it.
    Learnt(Box<PodEntry>),
    /// A pod is gone, by the uid in its cgroups' names.
    Gone(String),
    /// It has listed all pods: others are gone.
    End,
}

// === impl Pods ===

impl Pods {
    /// Takes over what the API server tells.
    pub fn take(&mut self, change: Change, now: Instant) {
        match change {
            Change::Begin => self.listed = Some(BTreeSet::new()),
            Change::Is(entry) => self.is(*entry),
            Change::Learnt(entry) => self.learnt(*entry),
            Change::Gone(uid) => self.gone(&uid, now),
            Change::End => {
                let Some(listed) = self.listed.take() else { return };
                let living = self.known.iter().filter(|(_, known)| known.deleted.is_none());
                let gone: Vec<_> =
                    living.map(|(uid, _)| uid.clone()).filter(|uid| !listed.contains(uid)).collect();
                gone.iter().for_each(|uid| self.gone(uid, now));
            }
        }
    }

    fn is(&mut self, mut entry: PodEntry) {
        let uid: Box<str> = entry.cgroup_uid.as_str().into();
        if let Some(listed) = &mut self.listed {
            listed.insert(uid.clone());
        }
        let mut places = FxHashMap::default();
        if let Some(known) = self.known.get_mut(&uid) {
            if known.deleted.take().is_some() {
                self.deleted -= 1;
            }
            entry.remember(&known.entry, CONTAINERS);
            if *known.entry == entry {
                return;
            }
            // Whoever has one of these has it still.
            places = mem::take(&mut known.places);
            places.retain(|id, place: &mut Arc<Place>| **place == entry.place(id.as_deref()));
        }
        self.changed.insert(uid.clone());
        self.known.insert(uid, Known { entry: Arc::new(entry), places, deleted: None });
    }

    fn learnt(&mut self, mut entry: PodEntry) {
        if let Some(known) = self.known.get(entry.cgroup_uid.as_str()) {
            let mut more = PodEntry::clone(&known.entry);
            more.remember(&entry, CONTAINERS);
            entry = more;
        }
        self.is(entry);
    }

    fn gone(&mut self, uid: &str, now: Instant) {
        let Some(known) = self.known.get_mut(uid) else { return };
        if known.deleted.is_none() {
            known.deleted = Some(now);
            self.deleted += 1;
        }
    }

    /// The place of a cgroup of a pod, where the pod is known.
    pub fn place(&mut self, pod: &PodRef) -> Option<Arc<Place>> {
        let Known { entry, places, .. } = self.known.get_mut(pod.uid.as_str())?;
        // Of a container that the pod doesn't have (yet) only the pod is known.
        let container = pod.container.as_deref().filter(|id| entry.container(id).is_some());
        let place =
            places.entry(container.map(Into::into)).or_insert_with(|| Arc::new(entry.place(container)));
        Some(Arc::clone(place))
    }

    /// Whether this is a pod's sandbox: no container that could be known yet.
    pub fn is_sandbox(&self, pod: &PodRef) -> bool {
        let known = self.known.get(pod.uid.as_str());
        known.zip(pod.container.as_ref()).is_some_and(|(known, id)| known.entry.sandboxes.contains(id))
    }

    /// A pod, by the uid in its cgroups' names.
    pub fn get(&self, uid: &str) -> Option<&Arc<PodEntry>> {
        self.known.get(uid).map(|known| &known.entry)
    }

    /// Uids of the pods that changed since [`Self::take_changed`].
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(|uid| &**uid)
    }

    /// Uids of the pods whose places may have changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Box<str>> {
        mem::take(&mut self.changed)
    }

    /// How many there are, and how many of them are deleted.
    pub fn count(&self) -> (usize, usize) {
        (self.known.len() - self.deleted, self.deleted)
    }

    /// Forgets pods that were deleted longer ago than `linger`, and returns them. The API server tells of a deletion when
    /// all of the pod's processes have ended; cgroups that have their place keep it.
    pub fn sweep(&mut self, now: Instant, linger: Duration) -> Vec<Arc<PodEntry>> {
        if self.deleted == 0 {
            return Vec::new();
        }
        // Where very many come and go there is no room for all of them to linger.
        let over = |deleted: Instant, count: usize| {
            now.saturating_duration_since(deleted) >= linger || count > DELETED
        };
        let mut left = self.deleted;
        let mut forgotten = Vec::new();
        self.known.retain(|_, known| match known.deleted {
            Some(deleted) if over(deleted, left) => {
                left -= 1;
                forgotten.push(Arc::clone(&known.entry));
                false
            }
            _ => true,
        });
        self.deleted = left;
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use trigon_exporters::event::{Pod, PodContainer};

    use super::*;

    fn entry(uid: &str, containers: &[&str]) -> Box<PodEntry> {
        let pod =
            Pod { namespace: "shop".into(), name: format!("web-{uid}"), uid: uid.into(), ..Pod::default() };
        let container = |id: &&str| {
            Arc::new(PodContainer { name: "nginx".into(), id: (*id).into(), ..PodContainer::default() })
        };
        Box::new(PodEntry {
            pod: Arc::new(pod),
            cgroup_uid: uid.into(),
            containers: containers.iter().map(container).collect(),
            ..PodEntry::default()
        })
    }

    fn of(uid: &str, container: &str) -> PodRef {
        PodRef { uid: uid.into(), container: Some(container.into()) }
    }

    #[test]
    fn a_pod_is_known_before_its_container() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        assert_eq!(pods.place(&of("u1", "c1")), None);
        pods.take(Change::Is(entry("u1", &[])), now);
        assert_eq!(pods.take_changed().into_iter().collect::<Vec<_>>(), ["u1".into()]);
        let place = pods.place(&of("u1", "c1")).expect("known");
        assert_eq!((place.pod.name.as_str(), place.container.is_none()), ("web-u1", true));
        pods.take(Change::Is(entry("u1", &["c1"])), now);
        let place = pods.place(&of("u1", "c1")).expect("known");
        assert_eq!(place.container.as_ref().map(|container| container.id.as_str()), Some("c1"));
        assert!(Arc::ptr_eq(&place, &pods.place(&of("u1", "c1")).expect("known")));
    }

    #[test]
    fn what_is_told_again_changes_nothing() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        pods.take(Change::Is(entry("u1", &["c1"])), now);
        let place = pods.place(&of("u1", "c1")).expect("known");
        pods.take_changed();
        pods.take(Change::Is(entry("u1", &["c1"])), now);
        assert!(pods.take_changed().is_empty());
        // Another container doesn't touch the place of this one.
        pods.take(Change::Is(entry("u1", &["c1", "c2"])), now);
        assert!(Arc::ptr_eq(&place, &pods.place(&of("u1", "c1")).expect("known")));
    }

    #[test]
    fn a_container_that_was_started_again_has_its_former_id_too() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        pods.take(Change::Is(entry("u1", &["c1"])), now);
        for again in 2..1000 {
            pods.take(Change::Is(entry("u1", &[&format!("c{again}")])), now);
        }
        assert!(pods.place(&of("u1", "c998")).expect("known").container.is_some());
        assert!(pods.get("u1").expect("known").containers.len() <= CONTAINERS);
    }

    #[test]
    fn what_the_runtime_tells_adds_to_what_the_api_server_tells() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        let learnt =
            |container: &[&str]| PodEntry { sandboxes: vec!["s1".into()], ..*entry("u1", container) };
        pods.take(Change::Learnt(Box::new(learnt(&["c1"]))), now);
        assert!(pods.place(&of("u1", "c1")).expect("known").container.is_some());
        let mut told = entry("u1", &[]);
        Arc::make_mut(&mut told.pod).all_labels = Arc::new([("app".into(), "web".into())].into());
        pods.take(Change::Is(told), now);
        pods.take(Change::Learnt(Box::new(learnt(&["c2"]))), now);
        assert_eq!(pods.get("u1").expect("known").labels().len(), 1);
        for container in ["c1", "c2"] {
            assert!(pods.place(&of("u1", container)).expect("known").container.is_some());
        }
        assert!(pods.is_sandbox(&of("u1", "s1")) && !pods.is_sandbox(&of("u1", "c1")));
    }

    #[test]
    fn one_that_is_gone_lingers() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        let linger = Duration::from_secs(60);
        pods.take(Change::Is(entry("u1", &["c1"])), now);
        pods.take(Change::Gone("u1".into()), now);
        assert_eq!(pods.count(), (0, 1));
        assert!(pods.place(&of("u1", "c1")).is_some());
        assert!(pods.sweep(now + Duration::from_secs(59), linger).is_empty());
        assert_eq!(pods.sweep(now + linger, linger).len(), 1);
        assert_eq!((pods.count(), pods.place(&of("u1", "c1"))), ((0, 0), None));
    }

    #[test]
    fn a_list_tells_of_those_that_are_gone_by_not_naming_them() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        for uid in ["u1", "u2"] {
            pods.take(Change::Is(entry(uid, &[])), now);
        }
        for change in [Change::Begin, Change::Is(entry("u2", &[])), Change::Is(entry("u3", &[])), Change::End]
        {
            pods.take(change, now);
        }
        assert_eq!(pods.count(), (2, 1));
        // A list that broke off says nothing of those that it didn't name.
        for change in [
            Change::Begin,
            Change::Begin,
            Change::Is(entry("u2", &[])),
            Change::Is(entry("u3", &[])),
            Change::End,
        ] {
            pods.take(change, now);
        }
        assert_eq!(pods.count(), (2, 1));
    }

    #[test]
    fn not_all_that_are_deleted_linger_where_there_are_very_many() {
        let (mut pods, now) = (Pods::default(), Instant::now());
        for number in 0..2 * DELETED {
            let uid = format!("u{number}");
            pods.take(Change::Is(entry(&uid, &["c"])), now);
            pods.take(Change::Gone(uid), now);
        }
        pods.sweep(now, Duration::from_secs(3600));
        assert_eq!(pods.count(), (0, DELETED));
    }
}
