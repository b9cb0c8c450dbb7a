//! A policy that posts every read of a machine that does nothing but read: hook events are lost, and counted; execs
//! and exits are not.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use trigon_tests::{
    exposition::Exposition,
    otlp::{Protocol, Receiver},
    rig::Rig,
    suite::{self, Need},
    workload::Workload,
};

/// Small for a flood, and with room for the lifecycle while the agent waits for its turn: a quarter of it.
const RING: &str = "[limits]\nring_buffer_bytes = 1048576";

/// Threads that read, more than a small machine has cores.
const READERS: usize = 4;

/// Of the tree's own reads there is nothing to say here, and its lines are counted.
const READS: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: every-read}
spec:
  kprobes:
  - call: sys_read
    syscall: true
    return: true
    returnArg: {index: 0, type: int}
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, returnCopy: true}
    - {index: 2, type: size_t}
    selectors: [{matchBinaries: [{operator: NotPrefix, values: [WORK/]}]}]
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("a_flood_of_reads_costs_no_exec_and_no_exit_grpc", &[Need::Kernel], || {
            flood(Protocol::Grpc)
        });
        suite.test("a_flood_of_reads_costs_no_exec_and_no_exit_http", &[Need::Kernel], || {
            flood(Protocol::Http)
        });
    })
}

fn flood(protocol: Protocol) {
    let workload = Workload::new();
    let yaml = workload.folder().join("policy.yaml");
    let folder = workload.folder().to_str().expect("a plain path");
    fs::write(&yaml, READS.replace("WORK", folder)).expect("write the policy");
    let receiver = Receiver::open();
    let agent = Rig::agent(&receiver, protocol, "").config(RING);
    let agent = agent.argument("--policy").argument(yaml.to_str().expect("a plain path")).start();
    let rig = Rig { receiver, agent };
    let over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| read_until(&over));
        }
        let deed = || {
            let before = rig
                .agent
                .until_metrics("lost reads", |metrics| Some(lost_reads(metrics)).filter(|lost| *lost > 0.0));
            let done = workload.run("burst 500");
            rig.agent
                .until_metrics("more lost reads", |metrics| (lost_reads(metrics) > before).then_some(()));
            done
        };
        // The readers must end whether it succeeds or not.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(deed));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let metrics = rig.agent.metrics();
    let lost = metrics.labels("trigon_lost_events_total", &[]);
    let is_of_policy = |kind: &str| matches!(kind, "HOOK" | "PROCESS_KPROBE" | "PROCESS_TRACEPOINT");
    assert!(lost.iter().all(|labels| is_of_policy(&labels["type"])), "lost: {}", lost_by_place(&metrics));
    let said = rig.check_done(&workload, &done);
    assert_eq!(said.executions.iter().count(), 501);
    let metrics = rig.agent.metrics();
    let posted = metrics.sum("trigon_policy_events_total", &[("policy", "every-read")]);
    println!("{posted} reads told, lost: {}", lost_by_place(&metrics));
    assert!(posted > 0.0, "{metrics}");
    rig.agent.stop();
}

/// Reads as fast as it can, 4 KiB at a time.
fn read_until(over: &AtomicBool) {
    let mut zeros = File::open(Path::new("/dev/zero")).expect("open /dev/zero");
    let mut bytes = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        zeros.read_exact(&mut bytes).expect("read zeros");
    }
}

fn lost_reads(metrics: &Exposition) -> f64 {
    metrics.sum("trigon_lost_events_total", &[("stage", "kernel"), ("reason", "ring_full"), ("type", "HOOK")])
}

fn lost_by_place(metrics: &Exposition) -> String {
    let places = metrics.labels("trigon_lost_events_total", &[]).into_iter().map(|labels| {
        let of: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let lost = metrics.sum("trigon_lost_events_total", &of);
        format!("{lost} {} at {} ({})", labels["type"], labels["stage"], labels["reason"])
    });
    places.collect::<Vec<_>>().join(", ")
}
