//! Trigon's agent: from the kernel's records to what leaves the node. Read [`agent`] first.

#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod enrich;
pub mod first_seen;
pub mod jobs;
pub mod kubernetes;
pub mod loader;
pub mod pipeline;
pub mod policy;
pub mod recent;
pub mod redact;
pub mod router;
mod symbols;
mod text;
pub mod tracker;
pub mod watch;
