//! Whose a mapping is that the kernel tells of by process id and time.

use std::{collections::HashMap, sync::Arc};

use trigon_exporters::event::{Process, Timestamp};

use super::Tracker;
use crate::loader::Mapping;

/// A process, and its parent where that is known.
type Known = (Arc<Process>, Option<Arc<Process>>);

// === impl Tracker ===

impl Tracker {
    /// The process of each mapping, as far as it is known; after `patience` tries the next best will do.
    pub fn whose(&self, mappings: Vec<Mapping>, patience: u8) -> Vec<(Mapping, Option<Known>)> {
        let mut executions: HashMap<u32, Vec<&Arc<Process>>> = HashMap::new();
        for mapping in &mappings {
            executions.insert(mapping.mapped.pid, Vec::new());
        }
        for entry in self.table.entries() {
            if let Some(known) = executions.get_mut(&entry.process.exec_id.pid) {
                known.push(&entry.process);
            }
        }
        executions.values_mut().for_each(|known| known.sort_by_key(|process| process.start));
        let of = |mapping: Mapping| {
            let known = executions.get(&mapping.mapped.pid).map_or(&[][..], Vec::as_slice);
            let at = self.clock.at(mapping.mapped.time);
            let exec = mapping.exec.map(|time| self.clock.at(time));
            let found = execution(known, at, exec, mapping.tries >= patience);
            let found = found.map(|process| (Arc::clone(process), self.parent(process)));
            (mapping, found)
        };
        mappings.into_iter().map(of).collect()
    }

    /// A moment of the boot clock.
    pub fn time_of(&self, boot: u64) -> Timestamp {
        self.clock.at(boot)
    }
}

/// The execution that was there at a moment. A new image maps its own file before its execution is told: from the
/// moment `exec` on what is mapped is its own, and the execution is the first that began then.
fn execution<'a>(
    known: &[&'a Arc<Process>],
    at: Timestamp,
    exec: Option<Timestamp>,
    settle: bool,
) -> Option<&'a Arc<Process>> {
    let since = exec.filter(|exec| *exec <= at).unwrap_or_default();
    let of_image = || known.iter().filter(|process| process.start >= since);
    let running = of_image().rfind(|process| process.start <= at);
    let found = running.or_else(|| of_image().next());
    found.or_else(|| known.last().filter(|_| settle)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_of_the_image_that_makes_them() {
        let process = |start| Arc::new(Process { start: Timestamp(start), ..Process::default() });
        let (forked, first, second) = (process(10), process(20), process(30));
        let known = [&forked, &first, &second];
        let start = |at, exec: Option<u64>, known: &[&Arc<Process>]| {
            execution(known, Timestamp(at), exec.map(Timestamp), false).map(|process| process.start.0)
        };
        assert_eq!(start(15, None, &known), Some(10));
        assert_eq!(start(25, Some(18), &known), Some(20));
        // Its own file, before its execution was told.
        assert_eq!(start(19, Some(18), &known), Some(20));
        assert_eq!(start(29, Some(28), &known), Some(30));
        // Not told yet.
        assert_eq!(start(19, Some(18), &known[..1]), None);
        let settled = execution(&known[..1], Timestamp(19), Some(Timestamp(18)), true);
        assert_eq!(settled.map(|process| process.start.0), Some(10));
        assert_eq!(start(19, None, &[]), None);
    }
}
