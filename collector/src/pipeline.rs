//! What the reader's thread owns, and others ask it for or have it change.

use std::time::{Duration, Instant};

use trigon_exporters::event::Event;

use crate::{
    jobs,
    kubernetes::{pods::Change, waiting::Waiting},
    policy::placements::Placements,
    router::Router,
    tracker::Tracker,
};

/// The stages behind the decoder.
pub struct Pipeline {
    /// The process table.
    pub tracker: Tracker,
    /// Where each cgroup is, for policies.
    pub placements: Placements,
    /// Events that wait for their pod.
    pub waiting: Waiting,
    /// The ways out, and the recent past.
    pub router: Router,
    /// How long a pod that was deleted stays known.
    pub deleted_linger: Duration,
}

/// Gives the reader's thread jobs, which it does between two chunks of records: what a job does must be quick, since
/// records wait meanwhile.
pub type Handle = jobs::Handle<Pipeline>;

// === impl Pipeline ===

impl Pipeline {
    /// Sends an event on its way; `now` is when it was read.
    pub fn take(&mut self, event: Event, now: Instant) {
        let Self { tracker, waiting, router, .. } = self;
        waiting.take(event, tracker.cgroups(), now, &mut |event| router.route(event));
    }

    /// Sends on what has waited long enough.
    pub fn settle(&mut self, now: Instant) {
        let Self { tracker, waiting, router, .. } = self;
        waiting.settle(tracker.cgroups(), now, &mut |event| router.route(event));
    }

    /// Takes over what the API server tells of pods; events that waited for that go on.
    pub fn change_pods(&mut self, changes: Vec<Change>) {
        let now = Instant::now();
        let Self { tracker, placements, .. } = self;
        tracker.change_pods(|pods| {
            changes.into_iter().for_each(|change| pods.take(change, now));
            for uid in pods.changed() {
                if let Some(entry) = pods.get(uid) {
                    placements.pod(entry);
                }
            }
        });
        self.settle(now);
        self.router.flush();
    }

    /// Forgets what is gone.
    pub fn sweep(&mut self, now: Instant) {
        let linger = self.deleted_linger;
        for gone in self.tracker.change_pods(|pods| pods.sweep(now, linger)) {
            self.placements.pod_gone(&gone.cgroup_uid);
        }
        self.waiting.sweep();
        self.router.tick(now);
    }

    /// Sends everything on, as it is.
    pub fn finish(&mut self) {
        let Self { waiting, router, .. } = self;
        waiting.flush(&mut |event| router.route(event));
        router.flush();
    }
}
