//! The agent stops and starts; processes live on.

use trigon_tests::{
    expected::{Sighting, What},
    otlp::{Attributes as _, Protocol, Receiver},
    rig::Rig,
    suite::Suite,
    workload::Workload,
};

use crate::KERNEL;

pub fn tests(suite: &mut Suite) {
    suite.test("process_keeps_its_ids_over_a_restart", KERNEL, || process_keeps_its_ids(false));
    suite.test("process_keeps_its_ids_over_a_crash", KERNEL, || process_keeps_its_ids(true));
    suite.test("process_that_was_there_first_is_a_parent", KERNEL, process_that_was_there_first_is_a_parent);
    suite.test("stop_sends_what_it_has", KERNEL, stop_sends_what_it_has);
}

fn process_keeps_its_ids(crash: bool) {
    let workload = Workload::new();
    let receiver = Receiver::open();
    let agent = || Rig::agent(&receiver, Protocol::Grpc, "").start();
    let first = agent();
    let alive = workload.live();
    let exec = receiver
        .until("the exec", |received| Some(Sighting::from(*received.logs_of(workload.tag()).first()?)));
    if crash {
        first.kill()
    } else {
        first.stop()
    };
    let second = agent();
    let fact = alive.finish();
    let exit = receiver
        .until("the exit", |received| Some(Sighting::from(*received.logs_of(workload.tag()).get(1)?)));
    assert_eq!((exec.what, exit.what), (What::Exec, What::Exit(fact.end)));
    assert_eq!((&exit.node, exit.id, exit.parent), (&exec.node, exec.id, exec.parent));
    assert_eq!((&exit.trace, &exit.span), (&exec.trace, &exec.span));
    let span =
        receiver.until("the span", |received| Some((*received.spans_of(workload.tag()).first()?).clone()));
    assert_eq!(span.record.span_id, exec.id.span_id(&exec.node).0);
    assert_eq!(span.record.end_time_unix_nano, exit.time);
    assert!(span.record.start_time_unix_nano <= exec.time, "it began before its exec was over: {span:?}");
    let flags = span.texts("trigon.flags").expect("flags");
    assert!(flags.iter().any(|flag| flag == "procfs"), "the second agent found it in /proc: {flags:?}");
    second.stop();
}

fn process_that_was_there_first_is_a_parent() {
    let workload = Workload::new();
    let alive = workload.live();
    let rig = Rig::start(Protocol::Grpc, "");
    // This very process was there first, and starts the next one.
    let said = rig.check(&Workload::new(), "exit 0");
    let root = said.executions.iter().next().expect("one execution");
    assert_eq!(root.fact.parent, std::process::id());
    let fact = alive.finish();
    let exit = rig
        .receiver
        .until("the exit", |received| Some(Sighting::from(*received.logs_of(workload.tag()).first()?)));
    assert_eq!(exit.what, What::Exit(fact.end));
    assert_eq!(Some(exit.id.ktime / 10_000_000), fact.start, "start as the kernel tells it");
    assert_eq!(exit.parent.map(|parent| parent.pid), Some(std::process::id()));
    rig.agent.stop();
}

fn stop_sends_what_it_has() {
    let rig = Rig::start(Protocol::Grpc, "\n[otlp.batch]\nmax_age = \"1h\"");
    let workload = Workload::new();
    workload.run("tree 1 2");
    rig.agent.until_lines(workload.tag(), 6);
    assert_eq!(rig.receiver.received().logs_of(workload.tag()).len(), 0, "the batch is still being gathered");
    rig.agent.stop();
    let received = rig.receiver.received();
    assert_eq!((received.logs_of(workload.tag()).len(), received.spans_of(workload.tag()).len()), (6, 3));
}
