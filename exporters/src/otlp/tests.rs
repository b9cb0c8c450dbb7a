//! Tests of the OTLP exporters: what they encode, and what arrives over real sockets.

mod child;
mod delivery;
mod encoding;
mod hooks;
mod pods;
mod prometheus;
mod proxy;
mod push;
mod receiver;
mod sample;
mod tls;
mod veil;
