//! Trigon's kernel side: eBPF programs, their loader and the decoding of what they report.
