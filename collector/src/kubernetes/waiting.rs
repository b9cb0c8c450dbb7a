//! Events that wait until it is known which pod they are of: a container's first events come before the API server has
//! told of it.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use trigon_exporters::event::{Cgroup, Event};

use super::cri::Questions;
use crate::enrich::Cgroups;

/// Events that wait, by the cgroup whose place isn't known. Those of one process keep their order.
#[derive(Debug)]
pub struct Waiting {
    wait: Duration,
    most: usize,
    queues: FxHashMap<u64, Queue>,
    /// For processes of which events wait: the queue that they are in, and how many.
    processes: FxHashMap<u32, (u64, usize)>,
    /// Cgroups that were waited for in vain: their events go out at once until something is known.
    given_up: FxHashMap<u64, Weak<Cgroup>>,
    count: usize,
    outcomes: Outcomes,
    /// Where to ask for a container that has waited a while.
    questions: Option<Questions>,
}

/// How long the API server is given before the container runtime is asked.
const ASK_AFTER: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Queue {
    cgroup: Arc<Cgroup>,
    since: Instant,
    asked: bool,
    events: Vec<Event>,
}

/// How many events waited, by what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Their place came to be known.
    pub found: u64,
    /// The time was over, and nothing was known.
    pub without_pod: u64,
    /// The time was over, and the pod was known but not the container.
    pub without_container: u64,
    /// Too many waited.
    pub full: u64,
}

// === impl Waiting ===

impl Waiting {
    /// Events wait so long and are so many at most. With no time nothing waits.
    pub fn new(wait: Duration, most: usize) -> Self {
        Self {
            wait,
            most,
            queues: FxHashMap::default(),
            processes: FxHashMap::default(),
            given_up: FxHashMap::default(),
            count: 0,
            outcomes: Outcomes::default(),
            questions: None,
        }
    }

    /// Asks there for containers that the API server is slow to tell of.
    pub fn ask(&mut self, questions: Questions) {
        self.questions = Some(questions);
    }

    /// Passes an event to `route`, now or later.
    pub fn take(&mut self, event: Event, cgroups: &Cgroups, now: Instant, route: &mut impl FnMut(Event)) {
        if self.wait.is_zero() {
            return route(event);
        }
        let pid = event.process.pid();
        // One that was before it in its process is waiting: it comes after that.
        let behind = (self.count > 0).then(|| self.processes.get(&pid)).flatten();
        let id = match behind {
            Some((queue, _)) => *queue,
            None => {
                let cgroup = &event.process.cgroup;
                if !cgroups.lacks_place(cgroup) || self.given_up.contains_key(&cgroup.id) {
                    return route(event);
                }
                cgroup.id
            }
        };
        if self.count >= self.most {
            self.outcomes.full += 1;
            self.give_up(id, |outcomes, waited| outcomes.full += waited, route);
            return route(event);
        }
        let cgroup = &event.process.cgroup;
        let queue = self.queues.entry(id).or_insert_with(|| Queue {
            cgroup: Arc::clone(cgroup),
            since: now,
            asked: false,
            events: Vec::new(),
        });
        self.processes.entry(pid).or_insert((id, 0)).1 += 1;
        self.count += 1;
        queue.events.push(event);
    }

    /// Passes on what has waited long enough, and what need not wait any more.
    pub fn settle(&mut self, cgroups: &Cgroups, now: Instant, route: &mut impl FnMut(Event)) {
        if self.queues.is_empty() {
            return;
        }
        if let Some(questions) = &self.questions {
            let slow =
                |queue: &&mut Queue| !queue.asked && now.saturating_duration_since(queue.since) >= ASK_AFTER;
            for queue in self.queues.values_mut().filter(slow) {
                // Where there are more questions than answers, the API server is waited for.
                queue.asked = match cgroups.pod_of(&queue.cgroup).and_then(|pod| pod.container.clone()) {
                    Some(id) => questions.try_send(id).is_ok(),
                    None => true,
                };
            }
        }
        let over = |queue: &Queue| now.saturating_duration_since(queue.since) >= self.wait;
        let ready: Vec<_> = self
            .queues
            .iter()
            .map(|(id, queue)| (*id, cgroups.lacks_place(&queue.cgroup), over(queue)))
            .filter(|(_, lacks, over)| !lacks || *over)
            .collect();
        for (id, lacks, _) in ready {
            if lacks {
                let known = self.queues.get(&id).is_some_and(|queue| queue.cgroup.place.get().is_some());
                let outcome = match known {
                    true => |outcomes: &mut Outcomes, waited| outcomes.without_container += waited,
                    false => |outcomes: &mut Outcomes, waited| outcomes.without_pod += waited,
                };
                self.give_up(id, outcome, route);
            } else {
                self.release(id, |outcomes, waited| outcomes.found += waited, route);
            }
        }
    }

    /// Passes everything on, as it is.
    pub fn flush(&mut self, route: &mut impl FnMut(Event)) {
        let all: Vec<_> = self.queues.keys().copied().collect();
        for id in all {
            self.release(id, |outcomes, waited| outcomes.without_pod += waited, route);
        }
    }

    /// Forgets cgroups that are gone.
    pub fn sweep(&mut self) {
        self.given_up.retain(|_, cgroup| cgroup.strong_count() > 0);
    }

    /// Events that wait now.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What came of those that waited.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// Waits for this cgroup no longer, nor again.
    fn give_up(&mut self, id: u64, outcome: fn(&mut Outcomes, u64), route: &mut impl FnMut(Event)) {
        if let Some(queue) = self.queues.get(&id) {
            self.given_up.insert(id, Arc::downgrade(&queue.cgroup));
        }
        self.release(id, outcome, route);
    }

    fn release(&mut self, id: u64, outcome: fn(&mut Outcomes, u64), route: &mut impl FnMut(Event)) {
        let Some(queue) = self.queues.remove(&id) else { return };
        self.count -= queue.events.len();
        outcome(&mut self.outcomes, queue.events.len() as u64);
        for event in queue.events {
            let pid = event.process.pid();
            if let Some((_, count)) = self.processes.get_mut(&pid) {
                *count -= 1;
                if *count == 0 {
                    self.processes.remove(&pid);
                }
            }
            route(event);
        }
    }
}

#[cfg(test)]
mod tests;
