//! The calls of one action: where they wait, and what holds them back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc};

use super::{
    call::OutboundCall,
    caller::{Caller, Failure, PATIENCE},
};
use crate::{
    event::Policy,
    filter::rate::{Bucket, Rate},
    health::Health,
    metrics::{OutboundCounts, OutboundOutcome},
};

/// The line by which an action calls out.
#[derive(Debug)]
pub struct Line {
    bucket: Mutex<Bucket>,
    waiting: mpsc::Sender<()>,
    counts: Arc<OutboundCounts>,
}

/// The other end of a line: what was asked for, made one after the other.
#[derive(Debug)]
pub(super) struct Calls {
    waiting: mpsc::Receiver<()>,
    caller: Caller,
    counts: Arc<OutboundCounts>,
    at_once: Arc<Semaphore>,
    policy: String,
    action: &'static str,
    health: Health,
}

/// Calls that an action makes at most, whatever happens; as many may come at once.
const RATE: Rate = Rate::per_minute(10);

/// Calls of an action that wait for the one before them.
const WAITING: usize = 4;

// === impl Line ===

impl Line {
    pub(super) fn new(
        policy: &Policy,
        call: &OutboundCall,
        caller: Caller,
        counts: Arc<OutboundCounts>,
        at_once: Arc<Semaphore>,
    ) -> (Self, Calls) {
        let (waiting, calls) = mpsc::channel(WAITING);
        let bucket = Mutex::new(Bucket::new(RATE, Instant::now()));
        let calls = Calls {
            waiting: calls,
            caller,
            counts: Arc::clone(&counts),
            at_once,
            policy: policy.name.to_string(),
            action: call.action().word(),
            health: Health::default(),
        };
        (Self { bucket, waiting, counts }, calls)
    }

    /// Has the call made, if it may be; waits for nothing. What isn't made is counted.
    pub fn call(&self, now: Instant) {
        let outcome = if !self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now) {
            OutboundOutcome::RateLimit
        } else if self.waiting.try_send(()).is_err() {
            OutboundOutcome::QueueFull
        } else {
            return;
        };
        self.counts.count(outcome);
    }

    /// Counts a call that isn't made since the agent itself did what it would be for.
    pub fn pass_over(&self) {
        self.counts.count(OutboundOutcome::OwnDeed);
    }
}

// === impl Calls ===

impl Calls {
    /// Makes calls until the line is gone, and those that wait then.
    pub(super) async fn run(self) {
        self.run_with(PATIENCE).await;
    }

    async fn run_with(mut self, patience: Duration) {
        while self.waiting.recv().await.is_some() {
            let Ok(_turn) = self.at_once.acquire().await else { return };
            let came = self.caller.call(patience).await;
            self.counts.count(match came {
                Ok(()) => OutboundOutcome::Ok,
                Err(Failure::Timeout) => OutboundOutcome::Timeout,
                Err(Failure::Failed(_)) => OutboundOutcome::Failed,
            });
            self.tell(came, patience);
        }
    }

    /// Tells of the first failure, and of the first success after one.
    fn tell(&self, came: Result<(), Failure>, patience: Duration) {
        let Self { policy, action, .. } = self;
        let why = match came {
            Ok(()) => {
                if self.health.succeeded() {
                    tracing::info!(policy, action, "what the policy calls out to answers again");
                }
                return;
            }
            Err(Failure::Timeout) => format!("no answer within {patience:?}"),
            Err(Failure::Failed(why)) => why,
        };
        if self.health.failed(&why) {
            tracing::warn!(policy, action, why, "what the policy calls out to can't be reached, or refuses");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        metrics::{OutboundMetrics, Registry},
        outbound::{HttpUrl, resolver::Resolver},
    };

    fn line(url: &str, at_once: usize) -> (Line, Calls) {
        let policy = Policy { name: "canary".into(), namespace: None };
        let call = OutboundCall::Get(HttpUrl::parse(url).unwrap());
        let caller = Caller::new(&call, &Resolver::new(1)).unwrap();
        let metrics = OutboundMetrics::register(&Registry::new()).unwrap();
        let counts = metrics.counts("canary", "", "GetUrl");
        Line::new(&policy, &call, caller, counts, Arc::new(Semaphore::new(at_once)))
    }

    #[tokio::test]
    async fn a_flood_is_held_back_and_counted() {
        let (line, calls) = line("http://127.0.0.1:9/", 1);
        let now = Instant::now();
        (0..100).for_each(|_| line.call(now));
        let counts = Arc::clone(&line.counts);
        let count = |outcome| counts.get(outcome);
        // Nobody makes them yet: as many as wait are accepted, then the rate is used up.
        assert_eq!(count(OutboundOutcome::QueueFull), 10 - WAITING as u64);
        assert_eq!(count(OutboundOutcome::RateLimit), 90);
        // Six seconds are worth another one.
        line.call(now + Duration::from_secs(6));
        assert_eq!(count(OutboundOutcome::QueueFull), 10 - WAITING as u64 + 1);
        drop(line);
        calls.run_with(PATIENCE).await;
        assert_eq!(count(OutboundOutcome::Failed), WAITING as u64, "those that waited are made, and refused");
        assert_eq!(count(OutboundOutcome::Ok) + count(OutboundOutcome::Timeout), 0);
    }

    #[tokio::test]
    async fn one_answer_is_waited_for_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (line, calls) = line(&format!("http://{}/", listener.local_addr().unwrap()), 8);
        (0..3).for_each(|_| line.call(Instant::now()));
        let counts = Arc::clone(&line.counts);
        drop(line);
        let running = tokio::spawn(calls.run_with(Duration::from_millis(200)));
        let mut open = Vec::new();
        for number in 0..3 {
            open.push(listener.accept().await.unwrap());
            assert_eq!(counts.get(OutboundOutcome::Timeout), number, "the ones before were given up");
        }
        running.await.unwrap();
        assert_eq!(counts.get(OutboundOutcome::Timeout), 3);
    }
}
