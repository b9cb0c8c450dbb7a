//! Trigon, an eBPF agent that exports what processes do as OTLP logs, spans and Prometheus metrics.
