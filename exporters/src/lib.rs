//! The public event model of Trigon and every way out of the agent.
//!
//! [`event`] says what leaves the agent; [`sink`] is the queue between the router and a way out.

#![forbid(unsafe_code)]

pub mod event;
pub mod identity;
pub mod metrics;
pub mod sink;
