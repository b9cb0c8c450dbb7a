//! The objects, and the history that watches are told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    resource::{Id, Resource},
    status::Status,
};

/// The changes of a resource that are remembered at most.
const HISTORY: usize = 100_000;

/// Everything that the server knows.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    revision: u64,
    shelves: BTreeMap<Id, Shelf>,
}

/// A resource's objects.
#[derive(Debug)]
struct Shelf {
    resource: Arc<Resource>,
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    /// Changes up to this one are forgotten.
    forgotten: u64,
    latest: watch::Sender<u64>,
}

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for what has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The server's revision from then on.
    pub revision: u64,
    /// The object.
    pub key: Key,
    /// As it was; none where it is new.
    pub before: Option<Arc<Value>>,
    /// As it is; none where it is gone.
    pub after: Option<Arc<Value>>,
    /// As it is or, where it is gone, as it was, with the revision of its end.
    pub last: Arc<Value>,
}

/// The objects at a revision, in the order of their keys.
pub type Snapshot = (u64, BTreeMap<Key, Arc<Value>>);

// === impl Store ===

impl Store {
    /// An empty store of these resources.
    pub fn new(resources: impl IntoIterator<Item = Resource>) -> Self {
        let store = Self { inner: Mutex::new(Inner { revision: 1, shelves: BTreeMap::new() }) };
        resources.into_iter().for_each(|resource| store.serve(resource));
        store
    }

    /// Serves a resource from now on, or as this says from now on.
    pub fn serve(&self, resource: Resource) {
        let mut inner = self.lock();
        let (id, resource) = (resource.id.clone(), Arc::new(resource));
        let forgotten = inner.revision;
        if let Some(shelf) = inner.shelves.get_mut(&id) {
            shelf.resource = resource;
            return;
        }
        let (objects, log, latest) = (BTreeMap::new(), VecDeque::new(), watch::Sender::new(forgotten));
        inner.shelves.insert(id, Shelf { resource, objects, log, forgotten, latest });
    }

    /// Serves it no more; its objects are gone.
    pub fn forget(&self, id: &Id) {
        self.lock().shelves.remove(id);
    }

    /// The resources.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.lock().shelves.values().map(|shelf| Arc::clone(&shelf.resource)).collect()
    }

    /// A resource.
    pub fn resource(&self, id: &Id) -> Result<Arc<Resource>, Status> {
        Ok(Arc::clone(&self.lock().shelf(id)?.resource))
    }

    /// The server's revision.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// An object.
    pub fn get(&self, id: &Id, key: &Key) -> Option<Arc<Value>> {
        self.lock().shelves.get(id)?.objects.get(key).cloned()
    }

    /// The objects as they are, or as they were at a revision.
    pub fn list(&self, id: &Id, at: Option<u64>) -> Result<Snapshot, Status> {
        let mut inner = self.lock();
        let revision = inner.revision;
        let shelf = inner.shelf(id)?;
        let mut objects = shelf.objects.clone();
        let Some(at) = at else { return Ok((revision, objects)) };
        if at < shelf.forgotten {
            return Err(Status::expired(at, shelf.forgotten));
        }
        for change in shelf.log.iter().rev().take_while(|change| change.revision > at) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        Ok((at, objects))
    }

    /// What changed after a revision, and the revision that is reached with it.
    pub fn changes(&self, id: &Id, after: u64) -> Result<(u64, Vec<Change>), Status> {
        let mut inner = self.lock();
        let revision = inner.revision;
        let shelf = inner.shelf(id)?;
        if after < shelf.forgotten {
            return Err(Status::expired(after, shelf.forgotten));
        }
        let from = shelf.log.partition_point(|change| change.revision <= after);
        Ok((revision.max(after), shelf.log.range(from..).cloned().collect()))
    }

    /// Tells of each change of a resource, by its revision.
    pub fn follow(&self, id: &Id) -> Result<watch::Receiver<u64>, Status> {
        Ok(self.lock().shelf(id)?.latest.subscribe())
    }

    /// Changes an object as `edit` says, which is given the object as it is; none stands for no object. What is returned
    /// is the object as it is then, or was, where it is gone. Nothing is stored where nothing changes, or if it is `dry`.
    pub fn edit(
        &self,
        id: &Id,
        key: &Key,
        dry: bool,
        edit: impl FnOnce(Option<&Value>) -> Result<Option<Value>, Status>,
    ) -> Result<Arc<Value>, Status> {
        let mut inner = self.lock();
        let revision = inner.revision + 1;
        let shelf = inner.shelf(id)?;
        let before = shelf.objects.get(key).cloned();
        let after = edit(before.as_deref())?;
        let stamped = |mut object: Value| {
            object["metadata"]["resourceVersion"] = json!(revision.to_string());
            Arc::new(object)
        };
        let (after, answer) = match (&before, after) {
            (Some(before), Some(after)) if **before == after => return Ok(Arc::clone(before)),
            (_, Some(after)) if dry => return Ok(Arc::new(after)),
            (_, Some(after)) => {
                let after = stamped(after);
                (Some(Arc::clone(&after)), after)
            }
            (Some(before), None) => (None, stamped((**before).clone())),
            (None, None) => return Err(Status::not_found(&id.group, &id.plural, &key.name)),
        };
        if dry {
            return Ok(answer);
        }
        match &after {
            Some(after) => shelf.objects.insert(key.clone(), Arc::clone(after)),
            None => shelf.objects.remove(key),
        };
        shelf.log.push_back(Change { revision, key: key.clone(), before, after, last: Arc::clone(&answer) });
        while shelf.log.len() > HISTORY {
            shelf.forgotten = shelf.log.pop_front().map_or(shelf.forgotten, |change| change.revision);
        }
        inner.revision = revision;
        inner.shelf(id)?.latest.send_replace(revision);
        Ok(answer)
    }

    /// Forgets all history: whoever asks for what was before now is told that it is gone.
    pub fn compact(&self) {
        let mut inner = self.lock();
        let revision = inner.revision;
        for shelf in inner.shelves.values_mut() {
            shelf.log.clear();
            shelf.forgotten = revision;
        }
    }

    /// Every object of a namespace: where it is, and its name.
    pub fn within(&self, namespace: &str) -> Vec<(Id, Key)> {
        let inner = self.lock();
        let of = |shelf: &Shelf| shelf.objects.keys().cloned().collect::<Vec<_>>();
        let all = inner.shelves.iter().filter(|(_, shelf)| shelf.resource.namespaced);
        all.flat_map(|(id, shelf)| of(shelf).into_iter().map(|key| (id.clone(), key)))
            .filter(|(_, key)| key.namespace == namespace)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn shelf(&mut self, id: &Id) -> Result<&mut Shelf, Status> {
        self.shelves.get_mut(id).ok_or_else(Status::no_such_path)
    }
}

// === impl Key ===

impl Key {
    /// An object's key, by its metadata.
    pub fn of(object: &Value) -> Self {
        let word = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        Self { namespace: word("namespace"), name: word("name") }
    }
}
