//! Every process that starts or ends: exactly one log record, JSON line and count for each, and a span.

mod args;
mod places;
mod restart;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use trigon_tests::{
    otlp::{Attributes as _, Protocol},
    rig::Rig,
    suite::{self, Need, Suite},
    workload::{End, Workload},
};

const KERNEL: &[Need] = &[Need::Kernel];

/// Deeds and the number of executions in each, as a check on the workload itself.
const DEEDS: [(&str, usize); 17] = [
    ("exit 0", 1),
    ("exit 42", 1),
    ("tree 2 3", 13),
    ("setsid tree 3 2", 16),
    ("fork-only", 2),
    ("double-fork", 3),
    ("orphan", 2),
    ("again 3", 4),
    ("thread-exec", 2),
    ("fexecve", 2),
    ("memfd", 2),
    ("script", 2),
    ("signal 9", 2),
    ("signal 15", 2),
    ("core", 2),
    ("exit-in-threads", 1),
    ("hostile-args", 2),
];

/// Most tests wait for what they did: batches that go out soon save them the time.
const PROMPT: &str = "batch.max_age = \"50ms\"";

const GZIP: &str = "batch.max_age = \"50ms\"\ncompression = \"gzip\"";

/// One agent that many tests ask, one after the other; started by the first.
#[derive(Clone, Default)]
struct Shared(Arc<OnceLock<Rig>>);

fn main() -> ExitCode {
    suite::run(|suite| {
        let shared = Shared::default();
        for (deed, executions) in DEEDS {
            let shared = shared.clone();
            suite.test(&deed.replace([' ', '-'], "_"), KERNEL, move || {
                let said = shared.rig().check(&Workload::new(), deed);
                assert_eq!(said.executions.iter().count(), executions, "executions of {deed}");
            });
        }
        test(suite, &shared, "reused_pid_is_another_process", reused_pid_is_another_process);
        test(suite, &shared, "core_dump_is_told", core_dump_is_told);
        test(suite, &shared, "two_thousand_short_processes", two_thousand_short_processes);
        args::tests(suite, &shared);
        places::tests(suite, &shared);
        suite.test("tree_over_http", KERNEL, || tree_over(Protocol::Http, PROMPT));
        suite.test("tree_over_grpc_with_gzip", KERNEL, || tree_over(Protocol::Grpc, GZIP));
        suite.test("tree_over_http_with_gzip", KERNEL, || tree_over(Protocol::Http, GZIP));
        suite.test("resource_names_the_node", KERNEL, resource_names_the_node);
        restart::tests(suite);
        test(suite, &shared, "nothing_was_lost", Rig::check_no_loss);
    })
}

fn test(suite: &mut Suite, shared: &Shared, name: &str, test: fn(&Rig)) {
    let shared = shared.clone();
    suite.test(name, KERNEL, move || test(shared.rig()));
}

// === impl Shared ===

impl Shared {
    fn rig(&self) -> &Rig {
        self.0.get_or_init(|| Rig::start(Protocol::Grpc, PROMPT))
    }
}

fn two_thousand_short_processes(rig: &Rig) {
    let said = rig.check(&Workload::new(), "burst 2000");
    assert_eq!(said.executions.iter().count(), 2001);
    rig.check_no_loss();
}

fn reused_pid_is_another_process(rig: &Rig) {
    let said = rig.check(&Workload::new(), "reuse-pid");
    let (first, second) = (said.executions.role("first"), said.executions.role("second"));
    assert_eq!(first.id.pid, second.id.pid);
    assert!(first.id.ktime < second.id.ktime);
}

fn core_dump_is_told(rig: &Rig) {
    let said = rig.check(&Workload::new(), "core");
    // The generic check compares the bit; here it must have been set for the test to have tested anything.
    assert_eq!(said.executions.role("aborted").fact.end, End::Signal { number: 6, core: true });
}

fn tree_over(protocol: Protocol, otlp: &str) {
    let rig = Rig::start(protocol, otlp);
    rig.check(&Workload::new(), "setsid tree 2 3");
    let requests = rig.receiver.received().requests;
    assert!(requests.iter().all(|request| request.protocol == protocol), "{requests:?}");
    rig.check_no_loss();
    rig.agent.stop();
}

fn resource_names_the_node() {
    let rig = Rig::start(Protocol::Grpc, "\n[node]\nname = \"node-7\"");
    let said = rig.check(&Workload::new(), "exit 0");
    for origin in said.logs.iter().map(|log| &log.origin).chain(said.spans.iter().map(|span| &span.origin)) {
        assert_eq!(origin.text("host.name"), Some("node-7"), "{origin:?}");
        assert_eq!(origin.text("os.type"), Some("linux"), "{origin:?}");
        assert!(origin.schema_url.starts_with("https://opentelemetry.io/schemas/"), "{origin:?}");
        assert!(origin.scope.as_ref().is_some_and(|scope| !scope.name.is_empty()), "{origin:?}");
    }
    rig.agent.stop();
}
