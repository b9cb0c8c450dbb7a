//! Very many pods come and go: nothing stays of them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    ops::Range,
    process::{Child, ChildStdout, Stdio},
};

use serde_json::Value;
use trigon_tests::{
    exposition::Exposition,
    kubelet::{Driver, NodeContainer, NodePod},
    suite::{self, Suite},
    workload::Workload,
};

use crate::{
    KERNEL,
    scene::{LONG, Scene, pod},
};

/// Pods after which the tables have the size that they have under this load, and pods after these.
const WARM: usize = 10_000;
const PODS: usize = 10_000;

/// Far more than the series that there may be; `TRIGON_PODS` says another number, for a run by hand.
const MANY: u64 = 10_000;
const SERIES: usize = 1_000;

/// Events that may wait for their pods before more pods come: far fewer than there is room for.
const WAITING: f64 = 1_000.0;

/// Pods that are there at once.
const BATCH: usize = 100;

pub fn tests(suite: &mut Suite) {
    suite.test("pods_that_come_and_go_leave_nothing", KERNEL, churn);
    suite.test("many_pods_stay_within_the_cap_and_sums_are_right", KERNEL, cap);
}

fn churn() {
    let scene = Scene::start(LONG, "deleted_linger = '1s'\n[metrics]\nstale_after = '1s'");
    scene.synced();
    // Those of a test that was killed, say: they are not this one's.
    let others = scene.agent.metrics().sum("trigon_placements", &[]);
    come_and_go(&scene, 0..WARM);
    settled(&scene, others);
    let before = resident(&scene);
    come_and_go(&scene, WARM..WARM + PODS);
    settled(&scene, others);
    let after = resident(&scene);
    println!("resident before {before} KiB, after {after} KiB");
    assert!(after as f64 <= 1.2 * before as f64, "resident memory grew from {before} to {after} KiB");
    let metrics = scene.agent.metrics();
    assert!(metrics.sum("trigon_pod_waits_total", &[("outcome", "full")]) == 0.0, "{metrics}");
    assert!(metrics.labels("trigon_lost_events_total", &[]).is_empty(), "{metrics}");
}

/// All have ended, and their series are kept: what found no room is counted together.
fn cap() {
    let kept = format!("deleted_linger = '1s'\n[metrics]\nmax_series = {SERIES}\nstale_after = '1h'");
    let scene = Scene::start(LONG, &kept);
    scene.synced();
    // The host has its series before there is no more room: what ends there is not counted with the pods.
    assert!(scene.workload.command(["exit", "0"]).status().expect("run the workload").success());
    scene.agent.until_metrics("the end of a process of the host", |metrics| {
        let of_host = [("type", "PROCESS_EXIT"), ("namespace", "")];
        (metrics.sum("trigon_events_total", &of_host) > 0.0).then_some(())
    });
    let many = suite::number("TRIGON_PODS").unwrap_or(MANY) as usize;
    come_and_go(&scene, 0..many);
    let exits = |metrics: &Exposition| {
        let of = |namespace| [("type", "PROCESS_EXIT"), ("namespace", namespace)];
        ["shop", "other"].map(|namespace| metrics.sum("trigon_events_total", &of(namespace)))
    };
    scene.agent.until_metrics("every end", |metrics| {
        (exits(metrics).iter().sum::<f64>() >= many as f64).then_some(())
    });
    let metrics = scene.agent.metrics();
    let [own, other] = exits(&metrics);
    assert!(own > 0.0 && other > 0.0, "{own} have series of their own, {other} none");
    assert_eq!(own + other, many as f64);
    let folded = metrics.sum("trigon_metrics_folded_total", &[("family", "trigon_events_total")]);
    assert_eq!(folded, metrics.sum("trigon_events_total", &[("namespace", "other")]));
    for family in ["trigon_events_total", "trigon_process_exits_total"] {
        let series = metrics.labels(family, &[]).len();
        let told = metrics.sum("trigon_metrics_series", &[("family", family)]);
        assert!(
            series <= SERIES && told == series as f64,
            "{family} has {series} series, and tells of {told}"
        );
    }
    assert!(metrics.sum("trigon_process_exits_total", &[]) >= many as f64, "{metrics}");
    assert_eq!(metrics.sum("trigon_lost_events_total", &[]), 0.0, "{metrics}");
}

/// Told, run, deleted, removed: a batch at a time, so that there are never many cgroups.
fn come_and_go(scene: &Scene, numbers: Range<usize>) {
    let mut births = Births::start(&scene.workload);
    for first in numbers.clone().step_by(BATCH) {
        let batch = first..numbers.end.min(first + BATCH);
        let pods: Vec<_> = batch.map(|number| Come::new(scene, number)).collect();
        births.run(&pods);
        // So fast that the API server's word comes after them: an agent keeps a limited number of events waiting.
        scene.agent.until_metrics("events to find their pods", |metrics| {
            (metrics.sum("trigon_pod_waiting_events", &[]) < WAITING).then_some(())
        });
        pods.iter().for_each(|pod| scene.server.delete(&pod.object));
    }
}

/// Runs a program in cgroups, born there: to move a process into one takes the kernel longer than all the rest.
struct Births {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Births {
    fn start(workload: &Workload) -> Self {
        let mut command = workload.command(["born-in", "/bin/true"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the workload");
        let told = BufReader::new(child.stdout.take().expect("it tells"));
        Self { child, told }
    }

    /// In each pod once, until all have ended.
    fn run(&mut self, pods: &[Come]) {
        let folder = |pod: &Come| format!("{}\n", pod.container.cgroup().folder().display());
        let folders: String = pods.iter().map(folder).chain(["\n".into()]).collect();
        let asked = self.child.stdin.as_mut().expect("it listens");
        asked.write_all(folders.as_bytes()).expect("tell the workload");
        let mut line = String::new();
        self.told.read_line(&mut line).expect("hear of the workload");
        assert_eq!(line.trim(), pods.len().to_string());
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("wait for the workload");
    }
}

/// A pod that has come.
struct Come {
    object: Value,
    // Before the pod: its cgroup is within the pod's.
    container: NodeContainer,
    _pod: NodePod,
}

impl Come {
    fn new(scene: &Scene, number: usize) -> Self {
        let node_pod = NodePod::new(Driver::Systemd);
        let container = node_pod.container();
        let object = pod(&node_pod, &format!("web-{number}"), &[("nginx", &container)]);
        scene.server.put(object.clone());
        Self { object, container, _pod: node_pod }
    }
}

/// Waits until nothing is left that is counted: pods, series, processes, entries in the kernel but those of `others`.
fn settled(scene: &Scene, others: f64) {
    scene.agent.until_metrics("the end of all pods", |metrics| {
        let placements = metrics.sum("trigon_placements", &[]) - others;
        let pods = metrics.sum("trigon_pods", &[]) + placements;
        let waiting = metrics.sum("trigon_pod_waiting_events", &[]);
        // Processes that ended stay in the table for a while.
        let table = metrics.sum("trigon_process_table_size", &[]);
        let series = metrics.labels("trigon_events_total", &[("namespace", "shop")]).len();
        (pods == 0.0 && waiting == 0.0 && series == 0 && table < 1000.0).then_some(())
    });
}

/// KiB of memory that the agent has of its own.
fn resident(scene: &Scene) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", scene.agent.pid())).expect("the agent lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
