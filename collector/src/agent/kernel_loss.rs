//! What the kernel lost, brought into the one family for loss.

use std::sync::Arc;

use prometheus::IntCounter;
use tracing::warn;
use trigon_exporters::metrics::Loss;
use trigon_probes::lifecycle::Lost;

/// The kernel's own counts, and how much of them the counters have.
pub struct KernelLoss {
    lost: Arc<Lost>,
    loss: Loss,
    rows: Vec<(IntCounter, u64)>,
}

// === impl KernelLoss ===

impl KernelLoss {
    /// Counts nothing yet.
    pub fn new(lost: Arc<Lost>, loss: &Loss) -> Self {
        Self { lost, loss: loss.clone(), rows: Vec::new() }
    }

    /// Brings the counters up to date.
    pub fn update(&mut self) {
        let now = match self.lost.read() {
            Ok(now) => now,
            Err(error) => {
                warn!(%error, "what the kernel lost is not known");
                return;
            }
        };
        for (index, (kind, reason, total)) in now.into_iter().enumerate() {
            if self.rows.len() <= index {
                let counter = self.loss.untyped("kernel", reason.as_str(), kind.as_str());
                self.rows.push((counter, 0));
            }
            if let Some((counter, known)) = self.rows.get_mut(index) {
                counter.inc_by(total.saturating_sub(*known));
                *known = total;
            }
        }
    }
}
