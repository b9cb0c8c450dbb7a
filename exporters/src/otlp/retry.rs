//! How long to wait before a request is sent again.

use std::time::Duration;

use super::config::RetryConfig;

/// The longest delay that an endpoint can ask for: a mistaken one must not silence the agent for days.
const MAX_ASKED: Duration = Duration::from_secs(300);

/// Exponential back-off with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(config: &RetryConfig) -> Self {
        Self { next: config.initial, max: config.max }
    }

    /// The next wait: what the endpoint `asked` for, or else twice as long as the one before. The latter is shortened
    /// at random by up to a half, so that a thousand nodes that lost one endpoint don't return in one moment.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(MAX_ASKED);
        }
        let wait = self.next.min(self.max);
        self.next = wait.saturating_mul(2);
        wait.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: RetryConfig = RetryConfig {
        initial: Duration::from_millis(100),
        max: Duration::from_millis(350),
        max_elapsed: Duration::ZERO,
    };

    #[test]
    fn waits_double_up_to_the_longest_and_vary_below() {
        let mut backoff = Backoff::new(&CONFIG);
        for longest in [100, 200, 350, 350].map(Duration::from_millis) {
            let wait = backoff.wait(None);
            assert!(wait <= longest && wait >= longest / 2, "{wait:?} for {longest:?}");
        }
    }

    #[test]
    fn the_endpoint_wins_within_reason() {
        let mut backoff = Backoff::new(&CONFIG);
        assert_eq!(backoff.wait(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.wait(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(backoff.wait(Some(Duration::MAX)), MAX_ASKED);
        assert!(backoff.wait(None) <= CONFIG.initial);
    }
}
