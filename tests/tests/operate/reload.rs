//! A new configuration while the agent runs.

use std::fs;

use trigon_tests::{
    agent::{Agent, Running},
    json::Line,
    otlp::Receiver,
    suite::Suite,
    wait,
    workload::Workload,
};

use crate::{KERNEL, ask::json};

pub fn tests(suite: &mut Suite) {
    suite.test("another_endpoint_is_in_force_at_once", KERNEL, another_endpoint_is_in_force_at_once);
    suite.test("no_event_falls_between_two_endpoints", KERNEL, no_event_falls_between_two_endpoints);
    suite.test("lines_stay_whole_over_a_reload", KERNEL, lines_stay_whole_over_a_reload);
    suite.test("a_broken_file_changes_nothing", KERNEL, a_broken_file_changes_nothing);
    suite.test("what_needs_a_restart_is_named", KERNEL, what_needs_a_restart_is_named);
}

fn endpoint(receiver: &Receiver) -> String {
    format!("[otlp]\nendpoint = \"{}\"\nbatch.max_age = \"100ms\"\n", receiver.endpoint())
}

/// Runs something until the receiver has heard of it.
fn until_received(receiver: &Receiver, agent: &Running) {
    let workload = Workload::new();
    let told = || {
        workload.run("exit 0");
        (!receiver.received().logs_of(workload.tag()).is_empty()).then_some(())
    };
    wait::until("a log record", told, || agent.log());
}

fn until_logged(agent: &Running, text: &str) {
    wait::until(text, || agent.log().contains(text).then_some(()), || agent.log());
}

/// By SIGHUP, and by nothing but a change of the file; and nothing is lost on the way.
fn another_endpoint_is_in_force_at_once() {
    let receivers: Vec<_> = (0..3).map(|_| Receiver::open()).collect();
    let agent = Agent::new().config(&endpoint(&receivers[0])).start();
    let workload = Workload::new();
    workload.run("tree 2 2");
    until_received(&receivers[0], &agent);
    // Replaced as an editor does.
    let new = agent.config().with_extension("new");
    fs::write(&new, endpoint(&receivers[1])).expect("write");
    fs::rename(&new, agent.config()).expect("rename");
    until_received(&receivers[1], &agent);
    fs::write(agent.config(), endpoint(&receivers[2])).expect("write");
    agent.reload();
    until_received(&receivers[2], &agent);
    agent.until_metrics("no loss", |metrics| {
        (metrics.sum("trigon_lost_events_total", &[]) == 0.0).then_some(())
    });
    let heard = receivers.iter().map(|receiver| receiver.received().logs_of(workload.tag()).len());
    assert_eq!(heard.collect::<Vec<_>>(), [14, 0, 0]);
    agent.stop();
}

/// While processes start and end, the endpoint changes again and again: each event is at one of them, once.
fn no_event_falls_between_two_endpoints() {
    let receivers: Vec<_> = (0..2).map(|_| Receiver::open()).collect();
    let agent = Agent::new().config(&endpoint(&receivers[0])).start();
    let workload = Workload::new();
    let done = std::thread::scope(|scope| {
        let working = scope.spawn(|| (0..8).map(|_| workload.run("burst 100").facts.len()).sum::<usize>());
        for turn in 1.. {
            fs::write(agent.config(), endpoint(&receivers[turn % 2])).expect("write");
            agent.reload();
            let reads =
                || (agent.log().matches("was read again and is in force").count() >= turn).then_some(());
            wait::until("a reload", reads, || agent.log());
            if working.is_finished() {
                break;
            }
        }
        working.join().expect("the workload's end")
    });
    let heard = || -> usize {
        receivers.iter().map(|receiver| receiver.received().logs_of(workload.tag()).len()).sum()
    };
    wait::until(
        "all events",
        || (heard() >= 2 * done).then_some(()),
        || format!("{} of {}", heard(), 2 * done),
    );
    agent.stop();
    assert_eq!(heard(), 2 * done);
    assert!(receivers.iter().all(|receiver| !receiver.received().logs_of(workload.tag()).is_empty()));
}

/// Standard output is taken over in the middle of a flood: no line is cut, missing or there twice.
fn lines_stay_whole_over_a_reload() {
    let agent = Agent::new().start();
    let workload = Workload::new();
    let done: usize = std::thread::scope(|scope| {
        let working = scope.spawn(|| (0..8).map(|_| workload.run("burst 100").facts.len()).sum());
        for turn in 1.. {
            fs::write(agent.config(), format!("[limits]\nstdout_queue_events = {}\n", 20_000 + turn))
                .expect("write");
            agent.reload();
            let reads =
                || (agent.log().matches("was read again and is in force").count() >= turn).then_some(());
            wait::until("a reload", reads, || agent.log());
            if working.is_finished() {
                break;
            }
        }
        working.join().expect("the workload's end")
    });
    agent.until_lines(workload.tag(), 2 * done);
    let ended = agent.stop();
    // Each is parsed: one that is cut is no JSON.
    let lines: Vec<_> = ended.lines.iter().map(|line| Line::parse(line)).collect();
    let ours = lines.iter().filter(|line| line.text("/process/binary").contains(workload.tag()));
    assert_eq!(ours.count(), 2 * done);
}

fn a_broken_file_changes_nothing() {
    let receiver = Receiver::open();
    let agent = Agent::new().config(&endpoint(&receiver)).start();
    until_received(&receiver, &agent);
    fs::write(agent.config(), "[otlp]\nendpoint = 7\n").expect("write");
    let stays = "the configuration of before stays in force";
    until_logged(&agent, stays);
    let status = json(&agent, &["status"]);
    assert_eq!(status["healthy"], false, "{status}");
    assert!(
        status["config"]["error"].as_str().is_some_and(|error| error.contains("config.toml")),
        "{status}"
    );
    assert_eq!(agent.metrics().sum("trigon_config_last_reload_successful", &[]), 0.0);
    until_received(&receiver, &agent);
    // A file that can be read, and names one that can't: what was sent where goes on.
    let lacking = format!("{}headers_file = \"/nonexistent/headers\"\n", endpoint(&receiver));
    fs::write(agent.config(), lacking).expect("write");
    until_logged(&agent, "some ways out stay as they were: otlp_logs");
    until_received(&receiver, &agent);
    // It is gone: nothing changes either.
    fs::remove_file(agent.config()).expect("remove");
    agent.reload();
    wait::until(
        "a second refusal",
        || (agent.log().matches(stays).count() >= 2).then_some(()),
        || agent.log(),
    );
    until_received(&receiver, &agent);
    fs::write(agent.config(), endpoint(&receiver)).expect("write");
    let well = || json(&agent, &["status"])["config"]["error"].is_null().then_some(());
    wait::until("a configuration that is in force", well, || agent.log());
    assert_eq!(agent.metrics().sum("trigon_config_last_reload_successful", &[]), 1.0);
    agent.stop();
}

fn what_needs_a_restart_is_named() {
    let agent = Agent::new().start();
    fs::write(agent.config(), "[node]\nname = \"other\"\n[limits]\nargs = 7\n").expect("write");
    until_logged(&agent, "in force only after a restart: node.name");
    let status = json(&agent, &["status"]);
    assert_eq!(status["config"]["needs_restart"], serde_json::json!(["node.name"]), "{status}");
    // The other key is in force.
    let workload = Workload::new();
    let told = || {
        workload.run_with(workload.command(["quiet", "0", "a", "b", "c", "d", "e", "f", "g", "h"]));
        let lines = agent.lines_of(workload.tag());
        lines.iter().any(|line| line.text("/process/flags").contains("truncArgs")).then_some(())
    };
    wait::until("arguments that are cut", told, || agent.log());
    fs::write(agent.config(), "").expect("write");
    let none = || json(&agent, &["status"])["config"]["needs_restart"].is_null().then_some(());
    wait::until("nothing that needs a restart", none, || agent.log());
    agent.stop();
}
