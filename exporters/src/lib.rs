//! The public event model of Trigon and every way out of the agent.
//!
//! [`event`] says what leaves the agent; [`sink`] is the queue between the router and a way out.

#![forbid(unsafe_code)]

pub mod compact;
pub mod compression;
pub mod display;
pub mod event;
pub mod file;
pub mod filter;
pub mod health;
pub mod identity;
pub mod json;
pub mod lines;
pub mod metrics;
pub mod names;
pub mod nearest;
pub mod node;
pub mod otlp;
pub mod outbound;
#[cfg(test)]
mod samples;
pub mod serve;
pub mod sink;
pub mod stdout;
mod text;
