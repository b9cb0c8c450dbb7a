//! What surrounds a process: its cgroup and container.

pub mod cgroups;
pub mod container;

pub use cgroups::Cgroups;
