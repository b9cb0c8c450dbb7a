//! Whose sockets are: what happens to a tracked one in an interrupt, or in another process that holds it, is told of its
//! owner; and of whoever runs once it is tracked no longer, or its memory is another socket's.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    json::Line,
    place, wait,
};

use crate::functions_can_be_hooked;

/// States of a TCP socket: include/net/tcp_states.h.
const ESTABLISHED: i64 = 1;
const SYN_SENT: i64 = 2;
const FIN_WAIT1: i64 = 4;
const CLOSE: i64 = 7;
const CLOSE_WAIT: i64 = 8;
const LISTEN: i64 = 10;

/// Connections that a process makes, one after the other, so that their memory is used again.
const MANY: usize = 100;

/// How sockets are tracked, and seen to change their state.
struct Way {
    /// A hook that can track, of processes with a filter on their ids (`PIDS`); to be followed by its actions.
    track: String,
    /// A hook on changes of the state, without its selectors.
    watch: String,
    /// The argument of that which is the next state.
    state: usize,
    /// What tracks: a selector's actions, and what the events of it have.
    action: (&'static str, &'static str),
}

const RAW: &str = "  tracepoints:\n  - subsystem: sock\n    event: inet_sock_set_state\n    raw: true\n    args: [{index: 0, type: sock}, {index: 1, type: int}, {index: 2, type: int}]\n";

pub fn by_raw_tracepoint() {
    check(&Way {
        track: format!(
            "{RAW}    selectors:\n    - matchPIDs: [PIDS]\n      matchArgs: [{{index: 2, operator: Equal, values: [\"{SYN_SENT}\", \"{LISTEN}\"]}}]\n"
        ),
        watch: RAW.to_owned(),
        state: 2,
        action: ("      matchActions: [{action: TrackSock, argSock: 0}]\n", "action"),
    });
}

pub fn by_function(section: &str) {
    if !functions_can_be_hooked() {
        return;
    }
    // What looks at registers is a kprobe, also where there is fentry.
    let registers = match section {
        "kprobes" => "    data: [{source: pt_regs, resolve: rdi, type: uint64}]\n",
        _ => "",
    };
    check(&Way {
        track: format!(
            "  {section}:\n  - call: sk_alloc\n    syscall: false\n    return: true\n    args: [{{index: 1, type: int}}]\n{registers}    returnArg: {{index: 0, type: sock}}\n    returnArgAction: TrackSock\n    selectors:\n    - matchPIDs: [PIDS]\n      matchArgs: [{{index: 1, operator: Equal, values: [\"2\"]}}]\n"
        ),
        watch: format!(
            "  {section}:\n  - call: tcp_set_state\n    syscall: false\n    args: [{{index: 0, type: sock}}, {{index: 1, type: int}}]\n{registers}"
        ),
        state: 1,
        action: ("", "return_action"),
    });
}

fn check(way: &Way) {
    others_are_told_of_the_owner(way);
    what_is_tracked_no_longer_is_told_of_who_runs(way);
    memory_that_is_anothers_by_now_is(way);
}

/// A policy for states that a socket changes to.
fn watching(name: &str, way: &Way, states: &[i64], actions: &str) -> String {
    let Way { watch, state, .. } = way;
    let selector = format!(
        "    selectors:\n    - matchArgs: [{{index: {state}, operator: Equal, values: {:?}}}]\n",
        texts(states)
    );
    policy(name, &format!("{watch}{selector}{actions}"))
}

fn texts(numbers: &[i64]) -> Vec<String> {
    numbers.iter().map(i64::to_string).collect()
}

/// A policy that tracks the sockets of processes.
fn tracking(way: &Way, operator: &str) -> String {
    let pids = format!("{{operator: {operator}, values: [{}]}}", std::process::id());
    policy("track", &format!("{}{}", way.track.replace("PIDS", &pids), way.action.0))
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

fn start(policies: &[String]) -> (TempDir, Running) {
    let folder = tempfile::Builder::new().prefix("trigon-owners-").tempdir().expect("make a folder");
    let file = folder.path().join("policies.yaml");
    fs::write(&file, policies.join("---\n")).expect("write the policies");
    let agent = Agent::new().argument("--policy").argument(file.to_str().expect("a plain path")).start();
    (folder, agent)
}

/// Has another process close a socket, as the last that holds it; its id.
fn close_elsewhere(socket: impl Into<OwnedFd>) -> u32 {
    let mut command = Command::new(place::workload());
    command.arg("live").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::from(socket.into()));
    let mut child = command.spawn().expect("start the workload");
    // Its copy of the socket.
    drop(command);
    drop(child.stdin.take());
    child.wait().expect("wait for the workload");
    child.id()
}

/// Waits for the event of a socket that changes to a state.
fn until_change(agent: &Running, way: &Way, state: i64, is: impl Fn(&Line) -> bool) -> Line {
    let state_of = format!("/args/{}/int_arg", way.state);
    let wanted = |line: &Line| {
        line.text("/policy_name") == "watch" && line.at(&state_of).as_i64() == Some(state) && is(line)
    };
    let seen = || agent.lines_with("\"watch\"").into_iter().find(wanted);
    wait::until(&format!("a socket in state {state}"), seen, || {
        format!("{:#?}\n{}", agent.lines_with("\"watch\""), agent.log())
    })
}

/// It has this port at one of its ends, `sport` or `dport`.
fn has_port(end: &str, port: u16) -> impl Fn(&Line) -> bool {
    let end = format!("/args/0/sock_arg/{end}");
    move |line| line.at(&end).as_u64() == Some(u64::from(port))
}

/// Who it is told of, and whether as the owner.
fn told_of(line: &Line) -> (u32, bool) {
    (line.pid(), line.at("/trigon/socket_owner").as_bool().unwrap_or_default())
}

/// A listener, both ends of a connection to it, and its port.
fn connect() -> (TcpListener, TcpStream, TcpStream, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let client = TcpStream::connect(address).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (listener, client, server, address.port())
}

fn others_are_told_of_the_owner(way: &Way) {
    let me = std::process::id();
    let watch = watching("watch", way, &[FIN_WAIT1, CLOSE, CLOSE_WAIT], "");
    let (_folder, agent) = start(&[tracking(way, "In"), watch]);
    let (listener, client, server, port) = connect();
    let closing = close_elsewhere(server);
    // The end that is closed was made in an interrupt, and nobody tracked it.
    let closed = until_change(&agent, way, FIN_WAIT1, has_port("sport", port));
    assert_eq!(told_of(&closed), (closing, false), "{closed:#?}");
    // The other one learns of it while that process runs, or in an interrupt.
    let learns = until_change(&agent, way, CLOSE_WAIT, has_port("dport", port));
    assert_eq!(told_of(&learns), (me, true), "{learns:#?}");
    assert!(learns.text("/process/binary").contains("sockets"), "{learns:#?}");
    // It may have lost its port already.
    let closing = close_elsewhere(listener);
    let ends = until_change(&agent, way, CLOSE, |line| {
        line.text("/args/0/sock_arg/state") == "TCP_LISTEN" && [me, closing].contains(&line.pid())
    });
    assert_eq!(told_of(&ends), (me, true), "{ends:#?}");
    drop(client);
    let told = agent.lines_with("\"track\"");
    let mine = told.iter().filter(|line| line.pid() == me).collect::<Vec<_>>();
    assert!(!mine.is_empty());
    for line in mine {
        assert_eq!(line.text(&format!("/{}", way.action.1)), "KPROBE_ACTION_TRACKSOCK", "{line:#?}");
    }
    agent.stop();
}

fn what_is_tracked_no_longer_is_told_of_who_runs(way: &Way) {
    let watch = watching("watch", way, &[CLOSE_WAIT], "");
    let forget =
        watching("forget", way, &[ESTABLISHED], "      matchActions: [{action: UntrackSock, argSock: 0}]\n");
    let (_folder, agent) = start(&[tracking(way, "In"), forget, watch]);
    let (_listener, _client, server, port) = connect();
    let closing = close_elsewhere(server);
    let learns = until_change(&agent, way, CLOSE_WAIT, has_port("dport", port));
    assert!(!told_of(&learns).1, "{learns:#?}");
    // An interrupt is taken over by a thread of the kernel where there are many.
    assert_ne!(learns.pid(), std::process::id(), "{closing}: {learns:#?}");
    let forgotten = agent.lines_with("\"forget\"");
    assert!(forgotten.iter().all(|line| line.text("/action") == "KPROBE_ACTION_UNTRACKSOCK"));
    assert!(!forgotten.is_empty());
    agent.stop();
}

/// What a process that is gone tracked and closed is nobody's, whoever has its memory now.
fn memory_that_is_anothers_by_now_is(way: &Way) {
    let me = std::process::id();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let (_folder, agent) = start(&[tracking(way, "NotIn"), watching("watch", way, &[SYN_SENT], "")]);
    let accepting =
        std::thread::spawn(move || (0..2 * MANY).for_each(|_| drop(listener.accept().expect("accept"))));
    // struct sockaddr_in, as words of 64 bits.
    let words = u64::from(libc::AF_INET as u16)
        | u64::from(address.port().to_be()) << 16
        | u64::from(u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets())) << 32;
    let mut other = Command::new(place::workload());
    other.arg("calls");
    for number in 0..MANY {
        let socket = format!("${}", 3 * number);
        let calls = format!("socket 2 1 0 ; connect {socket} [{words},0] 16 ; close {socket} ;");
        other.args(calls.split(' '));
    }
    let mut other = other.spawn().expect("start the workload");
    assert!(other.wait().expect("wait for the workload").success());
    for _ in 0..MANY {
        TcpStream::connect(address).expect("connect");
    }
    accepting.join().expect("accept all");
    let ended = agent.stop();
    let lines: Vec<_> =
        ended.lines.iter().filter(|line| line.contains("\"watch\"")).map(|line| Line::parse(line)).collect();
    let begun = lines
        .iter()
        .filter(|line| line.at("/args/0/sock_arg/dport").as_u64() == Some(u64::from(address.port())));
    let (mine, others): (Vec<_>, Vec<_>) = begun.map(told_of).partition(|(pid, _)| *pid == me);
    assert_eq!(others, vec![(other.id(), false); MANY]);
    assert_eq!(mine, vec![(me, false); MANY]);
}
