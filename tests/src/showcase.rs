//! A node as operators have it: pods that do things, an agent with policies, destinations near and away, Prometheus
//! with the rules that ship.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Running},
    apiserver::ApiServer,
    grafana,
    kubelet::{Driver, NodeContainer, NodePod},
    otlp::Receiver,
    place,
    prometheus::Prometheus,
    workload::Workload,
};

/// All of it.
pub struct Showcase {
    /// What it sends to.
    pub receiver: Receiver,
    /// The agent.
    pub agent: Running,
    /// What scrapes it.
    pub prometheus: Prometheus,
    server: ApiServer,
    workload: Workload,
    services: Vec<Service>,
    /// Where files are that nobody may read.
    folder: TempDir,
    rounds: usize,
}

/// A workload of the cluster, with its one pod here.
#[derive(Debug)]
struct Service {
    // Before the pod: its cgroup is within the pod's.
    container: NodeContainer,
    pod: NodePod,
    name: &'static str,
    /// What it does in each round.
    deed: Deed,
}

type Deed = fn(&Showcase, &Service);

const NODE: &str = "node-1";

/// An endpoint where nobody is: the exporter's queues fill, and it loses events.
const AWAY: &str = "http://127.0.0.1:9";

/// Whoever opens the file is ended.
const GUARD: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: guard}
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    args:
    - {index: 1, type: string}
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Sigkill}]
";

const SERVICES: [(&str, &str, &str, Deed); 7] = [
    ("shop", "web", "Deployment", |show, of| {
        for _ in 0..6 {
            show.run(of, Path::new("/bin/true"), &[]);
        }
        show.shell(of, "ls / > /dev/null; exit $(($$ % 3))");
    }),
    ("shop", "db", "StatefulSet", |show, of| {
        show.run(of, Path::new("/bin/cat"), &["/etc/shadow"]);
        show.shell(of, "kill -9 $$");
    }),
    ("shop", "cart", "Deployment", |show, of| {
        let file = show.folder.path().join("forbidden");
        show.run(of, Path::new("/bin/cat"), &[&file.display().to_string()]);
    }),
    ("build", "ci", "Job", |show, of| {
        show.shell(of, "mount -t tmpfs none /root && mkdir /root/.ssh && echo > /root/.ssh/authorized_keys");
        show.run(of, Path::new("setpriv"), &["--reuid=65534", "--clear-groups", "passwd", "--status"]);
        // A program that is new each time.
        let program = show.folder.path().join(format!("tool-{}", show.rounds));
        fs::copy("/bin/true", &program).expect("copy a program");
        show.run(of, &program, &[]);
        fs::remove_file(&program).expect("remove the program");
    }),
    ("kube-system", "dns", "DaemonSet", |show, of| {
        let calls = "calls init_module 0 0 0 ; finit_module -1 0 0 ; bpf 5 0 0 ; setuid 0";
        let words: Vec<_> = calls.split(' ').collect();
        show.run(of, show.workload.program(), &words);
    }),
    ("build", "backup", "CronJob", |show, of| show.shell(of, "sleep 0.05; exit 1")),
    ("build", "bare", "ReplicaSet", |show, of| show.run(of, &show.folder.path().join("script"), &["x"])),
];

// === impl Showcase ===

impl Showcase {
    /// Starts everything.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-showcase-").tempdir().expect("make a folder");
        let server = ApiServer::start();
        let services: Vec<_> = SERVICES.into_iter().map(|of| Service::new(&server, of)).collect();
        let receiver = Receiver::open();
        let agent = agent(&server, &receiver, folder.path()).start();
        let prometheus = Prometheus::with_rules(agent.metrics_address(), &grafana::rules());
        Self { receiver, agent, prometheus, server, workload: Workload::new(), services, folder, rounds: 0 }
    }

    /// Everybody does their deeds once.
    pub fn round(&mut self) {
        self.rounds += 1;
        self.services.iter().for_each(|service| (service.deed)(self, service));
        // Something changes at the API server, too.
        self.server.put(self.services[0].pod_object(SERVICES[0], self.rounds));
    }

    /// Plays for so long, a round a second.
    pub fn play(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let round = Instant::now();
            self.round();
            thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
        }
    }

    /// Runs a program in a service's container until it ends, however that is.
    fn run(&self, of: &Service, program: &Path, arguments: &[&str]) {
        let output = of.container.start(program, arguments).output();
        output.unwrap_or_else(|error| panic!("run {} in {}: {error}", program.display(), of.name));
    }

    fn shell(&self, of: &Service, script: &str) {
        self.run(of, Path::new("/bin/sh"), &["-c", script]);
    }
}

fn agent(server: &ApiServer, receiver: &Receiver, folder: &Path) -> Agent {
    let forbidden = folder.join("forbidden");
    fs::write(&forbidden, "x").expect("write a file");
    let script = folder.join("script");
    fs::write(&script, "#!/bin/cat\n").expect("write a script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("make it a program");
    let guard = folder.join("guard.yaml");
    fs::write(&guard, GUARD.replace("FOLDER", &folder.display().to_string())).expect("write a policy");
    let config = format!(
        "node.name = '{NODE}'
        process_table.state_file = ''
        file = {{ path = '{}' }}
        [metrics]
        bpf_stats = true
        [kubernetes]
        enabled = 'always'
        kubeconfig = '{}'
        [[otlp]]
        endpoint = '{}'
        protocol = 'http/protobuf'
        batch.max_age = '200ms'
        [[otlp]]
        name = 'away'
        endpoint = '{AWAY}'
        protocol = 'http/protobuf'
        batch.max_age = '200ms'
        queue = {{ max_events = 64, max_bytes = 65536 }}
        filter = {{ deny = [{{ event_set = ['PROCESS_EXIT'] }}] }}",
        folder.join("events.json").display(),
        server.kubeconfig().display(),
        receiver.endpoint(),
    );
    let shipped = fs::read_dir(place::workspace("deploy/policies")).expect("policies are shipped");
    let mut policies: Vec<_> = shipped.map(|entry| entry.expect("list the policies").path()).collect();
    policies.retain(|path| path.extension().is_some_and(|of| of == "yaml"));
    policies.push(guard);
    policies.sort();
    policies.iter().fold(Agent::new().config(&config), |agent, policy| {
        agent.argument("--policy").argument(policy.display().to_string())
    })
}

// === impl Service ===

impl Service {
    /// Makes its pod here, and tells the API server of it.
    fn new(server: &ApiServer, of: (&str, &'static str, &str, Deed)) -> Self {
        let pod = NodePod::new(Driver::Systemd);
        let service = Self { container: pod.container(), pod, name: of.1, deed: of.3 };
        server.put(service.pod_object(of, 0));
        service
    }

    fn pod_object(&self, (namespace, name, kind, _): (&str, &str, &str, Deed), round: usize) -> Value {
        let (pod, owner) = match kind {
            "Deployment" => {
                (format!("{name}-5d9c7b6f4d-x7k2p"), ("ReplicaSet", format!("{name}-5d9c7b6f4d")))
            }
            "StatefulSet" => (format!("{name}-0"), (kind, name.to_owned())),
            "CronJob" => (format!("{name}-29412345-q4z8m"), ("Job", format!("{name}-29412345"))),
            _ => (format!("{name}-q4z8m"), (kind, name.to_owned())),
        };
        let group = if kind.ends_with("Job") { "batch/v1" } else { "apps/v1" };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": namespace, "uid": self.pod.uid,
                "labels": { "app": name, "pod-template-hash": "5d9c7b6f4d" },
                "annotations": { "round": round.to_string() },
                "ownerReferences": [{
                    "apiVersion": group, "kind": owner.0, "name": owner.1, "uid": "r", "controller": true,
                }],
            },
            "spec": { "nodeName": NODE, "containers": [{ "name": name, "image": format!("{name}:1.27") }] },
            "status": {
                "phase": "Running",
                "startTime": "2026-11-24T10:00:00Z",
                "containerStatuses": [{
                    "name": name, "containerID": self.container.api_id,
                    "image": format!("docker.io/library/{name}:1.27"),
                    "imageID": format!("docker.io/library/{name}@sha256:{}", "0123456789abcdef".repeat(4)),
                    "restartCount": 1, "ready": true,
                    "state": { "running": { "startedAt": "2026-11-24T10:00:09Z" } },
                }],
            },
        })
    }
}
