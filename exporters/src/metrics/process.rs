//! `process_*` of the agent itself.

use procfs::process::Process;
use prometheus::{
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto,
};

/// As Prometheus's own collector, but for the CPU time: that one tells whole seconds, which make a rate of an agent that
/// takes little jump between nothing and all.
pub(super) struct ProcessMetrics(ProcessCollector);

const CPU: &str = "process_cpu_seconds_total";

// === impl ProcessMetrics ===

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families.iter_mut().find(|family| family.name() == CPU);
        if let (Some(family), Some(seconds)) = (cpu, cpu_seconds()) {
            let mut counter = proto::Counter::default();
            counter.set_value(seconds);
            let mut metric = proto::Metric::default();
            metric.set_counter(counter);
            family.set_metric(vec![metric]);
        }
        families
    }
}

/// Of all threads, in user mode and in the kernel, to the kernel's tick; none where `/proc` can't be read.
fn cpu_seconds() -> Option<f64> {
    let stat = Process::myself().and_then(|process| process.stat()).ok()?;
    Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_has_parts_of_seconds() {
        let read = || {
            let families = ProcessMetrics::new().collect();
            let family = families.iter().find(|family| family.name() == CPU).expect("a family");
            family.get_metric()[0].get_counter().get_value()
        };
        let begin = read();
        // Whole seconds would be the first that differ.
        let next = loop {
            let now = read();
            if now > begin {
                break now;
            }
        };
        assert!(next - begin < 1.0, "{begin}, then {next}");
    }
}
