//! Which binaries were executed where: what has not been seen there before is worth a look.
//!
//! The memory is bounded, and ends with the agent: after its start everything is new. What is forgotten counts as new
//! again; what is known is never taken for something else, since nobody outside knows the key of the hashes.

use std::{
    hash::{BuildHasher, RandomState},
    mem,
};

use rustc_hash::FxHashSet;
use trigon_exporters::event::Process;

/// Binaries that were executed, each with who executed it.
#[derive(Debug, Default)]
pub struct FirstSeen {
    keys: RandomState,
    /// Hashes of what was executed lately, and of what was before.
    young: FxHashSet<u64>,
    old: FxHashSet<u64>,
}

/// Who executes, as far as binaries are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope<'a> {
    Host,
    /// Any container that is of no pod: such come and go, and nothing but a random id is known of them.
    Container,
    /// All pods of a workload.
    Workload(&'a str, &'a str, &'a str),
    /// A pod that no controller made.
    Pod(&'a str, &'a str),
}

/// Hashes in a generation: a binary is forgotten when so many others were executed since it was.
const GENERATION: usize = 32_768;

// === impl FirstSeen ===

impl FirstSeen {
    /// Whether its workload (or the host, or any container without a pod) executes the process's binary for the first
    /// time. It is known from now on. A binary whose path is not known is never new.
    pub fn is_first(&mut self, process: &Process) -> bool {
        let binary = process.image.binary();
        if binary.is_empty() {
            return false;
        }
        let place = process.place();
        let pod = place.as_ref().map(|place| &*place.pod);
        let scope = match (pod, process.container()) {
            (Some(pod), _) => match &pod.workload {
                Some(workload) => Scope::Workload(&pod.namespace, &workload.kind, &workload.name),
                None => Scope::Pod(&pod.namespace, &pod.name),
            },
            (None, Some(_)) => Scope::Container,
            (None, None) => Scope::Host,
        };
        let hash = self.keys.hash_one((scope, binary));
        if self.young.contains(&hash) {
            return false;
        }
        let is_first = !self.old.remove(&hash);
        if self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash);
        is_first
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trigon_exporters::event::{Cgroup, Container, Image, Place, Pod, Workload};

    use super::*;

    fn process(binary: &str) -> Process {
        Process { image: Arc::new(Image::new(binary, "", "", "", None)), ..Process::default() }
    }

    fn contained(binary: &str, id: &str) -> Process {
        let container = Some(Arc::new(Container { id: id.to_owned(), runtime: None }));
        Process { cgroup: Arc::new(Cgroup { container, ..Cgroup::default() }), ..process(binary) }
    }

    fn in_pod(binary: &str, namespace: &str, workload: &str, name: &str) -> Process {
        let made = Workload { kind: "Deployment".to_owned(), name: workload.to_owned() };
        let pod = Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            workload: Some(made).filter(|made| !made.name.is_empty()),
            ..Pod::default()
        };
        let process = contained(binary, name);
        process.cgroup.place.set(Some(Arc::new(Place { pod: Arc::new(pod), container: None })));
        process
    }

    #[test]
    fn a_binary_is_new_once_for_each_workload() {
        let mut seen = FirstSeen::default();
        for (process, first) in [
            (process("/bin/sh"), true),
            (process("/bin/sh"), false),
            (process("/bin/ls"), true),
            (process(""), false),
            (contained("/bin/sh", "1"), true),
            (contained("/bin/sh", "2"), false),
            (in_pod("/bin/sh", "shop", "web", "web-1"), true),
            (in_pod("/bin/sh", "shop", "web", "web-2"), false),
            (in_pod("/bin/sh", "test", "web", "web-1"), true),
            (in_pod("/bin/sh", "shop", "db", "db-1"), true),
            // A pod may have the name of a workload, and names may hold whatever separates them elsewhere.
            (in_pod("/bin/sh", "shop", "", "web"), true),
            (in_pod("/bin/sh", "shop", "", "web"), false),
            (in_pod("/bin/sh", "shop\0web", "", ""), true),
            (in_pod("/bin/sh", "sho", "pweb", "x"), true),
        ] {
            assert_eq!(seen.is_first(&process), first, "{process:?}");
        }
    }

    #[test]
    fn a_flood_of_binaries_makes_it_forget_and_not_grow() {
        let mut seen = FirstSeen::default();
        assert!(seen.is_first(&process("/bin/once")));
        for number in 0..3 * GENERATION {
            assert!(seen.is_first(&process(&format!("/tmp/{number}"))));
            // What is executed now and then stays known.
            if number % 1000 == 0 {
                assert_eq!(seen.is_first(&process("/bin/often")), number == 0);
            }
            assert!(seen.young.len() <= GENERATION && seen.old.len() <= GENERATION);
        }
        assert!(seen.is_first(&process("/bin/once")));
    }
}
