//! Trigon's end-to-end tests and their harness.
