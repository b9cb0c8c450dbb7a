//! `trigon events` on an agent that runs.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use trigon_tests::{
    agent::{Agent, Running},
    suite::Suite,
    wait,
    workload::Workload,
};

use crate::KERNEL;

pub fn tests(suite: &mut Suite) {
    suite.test("events_are_followed", KERNEL, events_are_followed);
    suite.test("events_begin_with_the_recent_past", KERNEL, events_begin_with_the_recent_past);
    suite.test("events_are_filtered_by_the_agent", KERNEL, events_are_filtered_by_the_agent);
    suite.test("a_slow_client_loses_its_own_events", KERNEL, a_slow_client_loses_its_own_events);
    suite.test("followers_are_bounded", KERNEL, followers_are_bounded);
}

/// `trigon events`, and its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Following {
    fn start(agent: &Running, arguments: &[&str]) -> Self {
        let mut command = agent.command(&[&["events"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("run trigon events");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in out.lines() {
                let _ = sender.send(line.expect("UTF-8"));
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for so many lines that contain a text.
    fn until(&mut self, text: &str, count: usize) -> Vec<String> {
        let (seen, lines) = (&mut self.seen, &self.lines);
        let enough = || {
            seen.extend(lines.try_iter());
            let found: Vec<_> = seen.iter().filter(|line| line.contains(text)).cloned().collect();
            (found.len() >= count).then_some(found)
        };
        wait::until(&format!("{count} lines with {text}"), enough, String::new)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs something again and again until a client that has just been started tells of it.
fn until_followed(following: &mut Following, workload: &Workload) {
    let told = || {
        workload.run("exit 0");
        following.seen.extend(following.lines.try_iter());
        following.seen.iter().any(|line| line.contains(workload.tag())).then_some(())
    };
    wait::until("the first line", told, String::new);
}

fn events_are_followed() {
    let agent = Agent::new().output("none").start();
    let (first, second) = (Workload::new(), Workload::new());
    let mut compact = Following::start(&agent, &[]);
    let mut json = Following::start(&agent, &["-o", "json"]);
    until_followed(&mut compact, &first);
    until_followed(&mut json, &first);
    second.run("tree 2 2");
    let lines = compact.until(second.tag(), 14);
    assert!(lines[0].starts_with("🚀 process "), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("💥 exit    ")).count(), 7, "{lines:?}");
    let lines = json.until(second.tag(), 14);
    assert!(lines.iter().all(|line| line.starts_with("{\"process_e")), "{lines:?}");
    // They go with the agent.
    agent.stop();
    for mut following in [compact, json] {
        let ended = || following.child.try_wait().expect("ask for its status");
        wait::until("the end of trigon events", ended, String::new);
    }
}

fn events_begin_with_the_recent_past() {
    let agent = Agent::new().start();
    let workload = Workload::new();
    workload.run("tree 2 2");
    agent.until_lines(workload.tag(), 14);
    let mut following = Following::start(&agent, &["--since-start", "-o", "json"]);
    assert_eq!(following.until(workload.tag(), 14).len(), 14);
    agent.stop();
}

fn events_are_filtered_by_the_agent() {
    let agent = Agent::new().output("none").start();
    let workload = Workload::new();
    let program = workload.program().display().to_string();
    let mut ends = Following::start(
        &agent,
        &["-o", "json", "--since-start", "--process", &program, "--event-type", "PROCESS_EXIT"],
    );
    workload.run("tree 2 2");
    let lines = ends.until(workload.tag(), 7);
    assert!(lines.iter().all(|line| line.starts_with("{\"process_exit\"")), "{lines:?}");
    assert!(ends.seen.iter().all(|line| line.contains(workload.tag())), "{:?}", ends.seen);
    agent.stop();
}

/// A client that takes nothing: the agent's other ways out have everything, and the client is told what it lost.
fn a_slow_client_loses_its_own_events() {
    let agent = Agent::new().start();
    let mut slow = UnixStream::connect(agent.socket()).expect("connect");
    slow.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("ask");
    let workload = Workload::new();
    let mut runs = 0;
    agent.until_metrics("a queue that is full", |metrics| {
        workload.run("burst 500");
        runs += 1;
        let lost = metrics.sum("trigon_lost_events_total", &[("exporter", "api")]);
        (lost > 0.0).then_some(())
    });
    let done = agent.until_lines(workload.tag(), runs * 1_000);
    assert!(done.len() >= runs * 1_000);
    let metrics = agent.metrics();
    let others = metrics.sum("trigon_lost_events_total", &[])
        - metrics.sum("trigon_lost_events_total", &[("exporter", "api")]);
    assert_eq!(others, 0.0, "{metrics}");
    // Now it takes what there is: among it is a line that tells what was lost.
    let mut taken = Vec::new();
    let mut piece = vec![0; 1 << 16];
    let told = b"\"trigon_lost\":{\"events\":";
    while !taken.windows(told.len()).any(|window| window == told) {
        let count = slow.read(&mut piece).expect("read");
        assert!(count > 0, "the stream ended before it told of the loss");
        // What was looked at already can't be the beginning of it any more, but for a rest.
        let rest = taken.len().saturating_sub(told.len());
        taken.drain(..rest);
        taken.extend_from_slice(&piece[..count]);
        workload.run("exit 0");
    }
    agent.stop();
}

fn followers_are_bounded() {
    let agent = Agent::new().output("none").start();
    let follow = || {
        let mut stream = UnixStream::connect(agent.socket()).expect("connect");
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("ask");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let mut all: Vec<_> = (0..16).map(|_| follow()).collect();
    assert!(all.iter().all(|(_, head)| head == "HTTP/1.1 200"), "{all:?}");
    assert_eq!(follow().1, "HTTP/1.1 503");
    // Others are answered, and a place is free again once one has gone.
    assert!(trigon_tests::command::said(&mut agent.command(&["status"])).code.is_some_and(|code| code < 2));
    all.pop();
    let again = || {
        // The agent notices at the next event.
        let _ = std::process::Command::new("true").status();
        (follow().1 == "HTTP/1.1 200").then_some(())
    };
    wait::until("a place", again, || agent.log());
    agent.stop();
}
