//! Where records come from: what makes them a group with one resource.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::event::{Container, Place, PlaceNow, Process};

/// Where a process is: in a container, in a pod, or on the host.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// As the name of the cgroup tells.
    pub(super) container: Option<Arc<Container>>,
    /// As Kubernetes tells, since it is known.
    pub(super) place: Option<Arc<Place>>,
}

/// The same, of a process and for now.
pub(super) struct OriginNow<'a> {
    container: Option<&'a Arc<Container>>,
    place: PlaceNow,
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

// === impl Origin ===

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        // As a rule one container has one allocation, and a place takes longer to compare.
        let same_place = || same(self.place.as_ref(), other.place.as_ref()) || self.place == other.place;
        self.container == other.container && same_place()
    }
}

impl Eq for Origin {}

/// What tells containers apart is enough: places of one container are few.
impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.container.as_ref().map(|container| &container.id).hash(state);
        self.place.as_ref().map(|place| &place.pod.uid).hash(state);
    }
}

// === impl OriginNow ===

impl<'a> OriginNow<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        Self { container: process.container(), place: process.place() }
    }

    /// Whether it is the very same in memory, which is cheap to ask; others can be equal, too.
    pub(super) fn is(&self, origin: &Origin) -> bool {
        same(self.container, origin.container.as_ref()) && same(self.place.as_ref(), origin.place.as_ref())
    }

    pub(super) fn to_owned(&self) -> Origin {
        Origin { container: self.container.cloned(), place: self.place.clone() }
    }
}
