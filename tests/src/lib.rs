//! The harness of Trigon's end-to-end tests: a real agent, real receivers, a workload of known shape, real kernels.
//!
//! A test binary lists its tests in a [`suite::run`]; each says what it [`suite::Need`]s of the machine.

pub mod agent;
pub mod apiserver;
pub mod cgroup;
pub mod command;
pub mod container;
pub mod cri;
pub mod expected;
pub mod exposition;
pub mod grafana;

pub mod hooked;
pub mod http;
pub mod json;
pub mod kmock;
pub mod kubectl;
pub mod kubelet;
pub mod otlp;
pub mod place;
pub mod policed;
pub mod policies;
pub mod prometheus;
pub mod reference;
pub mod rig;
pub mod rotel;
pub mod schemas;
pub mod showcase;
pub mod suite;
pub mod vm;
pub mod wait;
pub mod workload;
