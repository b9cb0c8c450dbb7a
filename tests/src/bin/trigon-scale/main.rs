//! What many nodes ask of one API server: the agent's own watches and reports, each node with a client of its own, against the
//! API server of the tests. Only the kernel is left out: a policy that the reader takes counts as loaded.
//!
//! `trigon-scale [NODES…]` prints a table for `deploy/scaling.md`.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch, task::JoinSet};
use trigon::kubernetes::{
    KubernetesConfig, client,
    config::PolicyGroup,
    crd, node,
    policies::{self, WantedList},
    report,
};
use trigon_exporters::metrics::KubernetesMetrics;
use trigon_tests::{
    apiserver::{ApiServer, Call, pods},
    wait,
};

mod loaded;

/// Policies that are made at once.
const POLICIES: usize = 10;
/// Zones that the nodes are of.
const ZONES: usize = 4;
/// Watches of a node: two kinds of two groups, and the node.
const WATCHES: usize = 5;

/// The nodes of a cluster.
struct Fleet {
    server: ApiServer,
    nodes: Vec<watch::Receiver<WantedList>>,
    interval: Duration,
    _runtime: Runtime,
}

/// What came of a change.
struct Seen {
    /// Until the last node had it.
    taken: Duration,
    /// Until the last report told of it.
    told: Duration,
    requests: usize,
    /// Bytes that the API server sent, on watches too.
    sent: u64,
    writes: usize,
    /// In the second that had most of them.
    peak: usize,
}

/// A moment from which on things are counted.
struct Since {
    begin: Instant,
    sent: u64,
}

fn main() -> ExitCode {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![50, 200, 800] } else { sizes };
    // Each watch has a connection, as has the list before it for a while, and each connection has two ends here: 20 files a
    // node.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("ask for the limit of files");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raise the limit of files");
    println!(
        "| nodes | what happens | watches | requests | MB received by all nodes | writes | most writes in a second | last node has it after | last report after |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    for size in sizes {
        let fleet = Fleet::of(size);
        fleet.measure();
    }
    ExitCode::SUCCESS
}

// === impl Fleet ===

impl Fleet {
    /// Starts an API server and so many nodes.
    fn of(size: usize) -> Self {
        let server = ApiServer::start();
        for group in PolicyGroup::ALL {
            for definition in crd::of(group) {
                server.put(serde_json::to_value(definition).expect("a definition is JSON"));
            }
        }
        let config = KubernetesConfig { kubeconfig: server.kubeconfig(), ..KubernetesConfig::default() };
        let interval = config.report_interval;
        let runtime = Runtime::new().expect("make a runtime");
        let mut nodes = Vec::new();
        let since = Since::now(&server);
        for index in 0..size {
            let name = name(index);
            let mut object = pods::node(&name);
            object["metadata"]["labels"]["zone"] = json!(format!("z{}", index % ZONES));
            server.put(object);
            let (sender, wanted) = watch::channel(WantedList::default());
            runtime.spawn(run(name, config.clone(), sender));
            nodes.push(wanted);
        }
        let fleet = Self { server, nodes, interval, _runtime: runtime };
        fleet.server.until_watches(size * WATCHES);
        let taken = since.begin.elapsed();
        fleet.until_reports(|report| report["summary"]["policies"] == 0);
        let seen = since.seen(&fleet.server, taken);
        fleet.print("all nodes start", &seen);
        fleet
    }

    fn measure(&self) {
        let all = |list: &WantedList| list.iter().filter(|wanted| wanted.refused.is_none()).count();
        let count = |report: &Value, count: usize| report["summary"]["loaded"] == count;
        let made = (0..POLICIES).map(|index| policy(&format!("policy-{index}"), "/etc/shadow"));
        let seen = self.change(
            || made.clone().for_each(|policy| drop(self.server.put(policy))),
            |list| all(list) == POLICIES,
            |report| count(report, POLICIES),
        );
        self.print(&format!("{POLICIES} policies are made"), &seen);

        let seen = self.change(
            || drop(self.server.put(policy("policy-0", "/etc/passwd"))),
            |list| list.iter().any(|wanted| wanted.object.generation == Some(2)),
            |report| {
                let mut policies = report["policies"].as_array().into_iter().flatten();
                policies.any(|policy| policy["generation"] == 2)
            },
        );
        self.print("one policy changes", &seen);

        let mut zoned = policy("zoned", "/etc/shadow");
        zoned["spec"]["nodeSelector"] = json!({"matchLabels": {"zone": "z0"}});
        let seen = self.change(
            || drop(self.server.put(zoned.clone())),
            |list| list.len() == POLICIES + 1,
            |report| report["summary"]["policies"] == POLICIES + 1,
        );
        self.print("one policy for a quarter of the nodes is made", &seen);

        let since = Since::now(&self.server);
        std::thread::sleep(self.interval * 4);
        let seen = since.seen(&self.server, Duration::ZERO);
        self.print(&format!("nothing, for {:?}", self.interval * 4), &seen);
    }

    /// Makes a change, and waits until every node has it and every report tells of it.
    fn change(
        &self,
        change: impl FnOnce(),
        has: impl Fn(&WantedList) -> bool,
        tells: impl Fn(&Value) -> bool,
    ) -> Seen {
        // No node is to owe a report, nor to have just written one.
        std::thread::sleep(self.interval);
        let since = Since::now(&self.server);
        change();
        let waiting = || self.nodes.iter().all(|wanted| has(&wanted.borrow())).then_some(());
        wait::until("all nodes", waiting, String::new);
        let taken = since.begin.elapsed();
        self.until_reports(tells);
        since.seen(&self.server, taken)
    }

    fn until_reports(&self, tells: impl Fn(&Value) -> bool) {
        for index in 0..self.nodes.len() {
            let report = ("trigon.io", "tracingpolicyreports", "", &*name(index));
            self.server.until(report, |report| tells(report).then_some(()));
        }
    }

    fn print(&self, what: &str, seen: &Seen) {
        println!(
            "| {} | {what} | {} | {} | {:.1} | {} | {} | {:.1} s | {:.1} s |",
            self.nodes.len(),
            self.server.open_watches(),
            seen.requests,
            seen.sent as f64 / 1e6,
            seen.writes,
            seen.peak,
            seen.taken.as_secs_f64(),
            seen.told.as_secs_f64(),
        );
    }
}

// === impl Since ===

impl Since {
    fn now(server: &ApiServer) -> Self {
        Self { begin: Instant::now(), sent: sent(server) }
    }

    fn seen(&self, server: &ApiServer, taken: Duration) -> Seen {
        let told = self.begin.elapsed();
        let calls: Vec<Call> = server.calls().into_iter().filter(|call| call.at >= self.begin).collect();
        let writes: Vec<Instant> = calls.iter().filter(|call| call.is_write()).map(|call| call.at).collect();
        let within = |at: &Instant| {
            let second = *at..*at + Duration::from_secs(1);
            writes.iter().filter(|other| second.contains(*other)).count()
        };
        Seen {
            taken,
            told,
            requests: calls.len(),
            sent: sent(server) - self.sent,
            writes: writes.len(),
            peak: writes.iter().map(within).max().unwrap_or_default(),
        }
    }
}

fn sent(server: &ApiServer) -> u64 {
    server.calls().iter().map(|call| call.sent).sum()
}

/// A node: what `policies::run` starts, with [`loaded::by_reader`] in the place of the kernel.
async fn run(name: String, config: KubernetesConfig, wanted: watch::Sender<WantedList>) {
    let client = client::connect(&config).await.expect("make a client");
    let metrics = KubernetesMetrics::register(&Default::default()).expect("register metrics");
    let (node_sender, node_meta) = watch::channel(None);
    let (told_sender, told) = watch::channel(Arc::default());
    let applied = wanted.subscribe();
    let mut tasks = JoinSet::new();
    tasks.spawn(node::follow(client.clone(), name.clone(), node_sender, metrics.clone()));
    tasks.spawn(report::run(client.clone(), name, node_meta.clone(), told, config.report_interval));
    tasks.spawn(policies::follow_all(client, config.policies, node_meta, wanted, metrics));
    tasks.spawn(loaded::by_reader(applied, told_sender));
    tasks.join_all().await;
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

fn policy(name: &str, file: &str) -> Value {
    json!({
        "apiVersion": "cilium.io/v1alpha1",
        "kind": "TracingPolicy",
        "metadata": {"name": name},
        "spec": {"kprobes": [{
            "call": "security_file_permission",
            "syscall": false,
            "return": true,
            "args": [{"index": 0, "type": "file"}, {"index": 1, "type": "int"}],
            "returnArg": {"index": 0, "type": "int"},
            "selectors": [{
                "matchArgs": [{"index": 0, "operator": "Prefix", "values": [file, "/etc/ssh/", "/root/.ssh/"]}],
                "matchActions": [{"action": "Post", "rateLimit": "1m"}],
            }],
        }]},
    })
}
