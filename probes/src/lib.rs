//! Trigon's kernel side: the eBPF programs, their loader and the decoding of what they report.
//!
//! Knows nothing of policies' files or of exports. The only crate with `unsafe`, each block with its reason.

pub mod btf;
pub mod cgroups;
pub mod elf;
mod error;
pub mod heap;
pub mod hooks;
pub mod kernel;
pub mod lifecycle;
pub mod loader;
mod mirror;
mod modules;
mod object;
mod objects;
pub mod operand;
pub mod placements;
pub mod programs;
pub mod record;
pub mod ring;
pub mod symbols;
mod sys;
pub mod tasks;
mod tracefs;
pub mod types;
pub mod usdt;

pub use error::ProbeError;
