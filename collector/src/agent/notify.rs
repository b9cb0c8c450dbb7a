//! What the service manager is told, if there is one: readiness, reloads, the end, and that the agent lives.
//!
//! The protocol is that of sd_notify(3). Without `NOTIFY_SOCKET` in the environment nothing is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

/// Counts the turns of the reader. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

/// The reader turns this often at least; more seldom pings tell of each turn.
const TURN: Duration = Duration::from_millis(100);

// === impl Heartbeat ===

impl Heartbeat {
    /// Says that the reader turned.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The agent has started, or has reloaded.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("seeing all processes")]);
}

/// The agent reads its configuration anew; [`ready`] is to follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => warn!(%error, "the service manager isn't told of the reload"),
    }
}

/// The agent ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("sending what was read")]);
}

/// Tells that the agent lives, as often as the service manager's watchdog asks, while the reader turns.
pub async fn watchdog(heartbeat: Heartbeat) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else { return };
    info!(?patience, "the service manager watches");
    let mut pulse = Pulse::default();
    // More often than half of it, as sd_watchdog_enabled(3) asks.
    let period = (patience / 3).max(TURN);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pulse.feel(heartbeat.count()) {
            Feeling::Alive => tell(&[NotifyState::Watchdog]),
            Feeling::Stuck => warn!("the reader has stopped turning; the service manager will end the agent"),
            Feeling::StillStuck => {}
        }
    }
}

/// What the count of turns was.
#[derive(Debug, Default)]
struct Pulse {
    count: u64,
    stuck: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feeling {
    Alive,
    Stuck,
    StillStuck,
}

// === impl Pulse ===

impl Pulse {
    fn feel(&mut self, count: u64) -> Feeling {
        let turned = count != std::mem::replace(&mut self.count, count);
        match (turned, std::mem::replace(&mut self.stuck, !turned)) {
            (true, _) => Feeling::Alive,
            (false, false) => Feeling::Stuck,
            (false, true) => Feeling::StillStuck,
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_are_signs_of_life() {
        let (heartbeat, mut pulse) = (Heartbeat::default(), Pulse::default());
        let other = heartbeat.clone();
        other.beat();
        assert_eq!(pulse.feel(heartbeat.count()), Feeling::Alive);
        assert_eq!(pulse.feel(heartbeat.count()), Feeling::Stuck);
        assert_eq!(pulse.feel(heartbeat.count()), Feeling::StillStuck);
        other.beat();
        assert_eq!(pulse.feel(heartbeat.count()), Feeling::Alive);
        assert_eq!(pulse.feel(heartbeat.count()), Feeling::Stuck);
    }
}
