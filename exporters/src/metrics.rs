//! What the agent counts, for Prometheus.

pub mod loss;

pub use loss::{Loss, LossCounter};
