//! Tests of the OTLP exporters: what they encode, and what arrives over real sockets.

mod delivery;
mod encoding;
mod hooks;
mod receiver;
mod sample;
mod tls;
mod veil;
