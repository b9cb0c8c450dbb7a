//! Filters on sockets: connections told apart by their ends, protocol, family and state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{TcpListener, TcpStream},
};

use tempfile::TempDir;
use trigon_tests::{agent::Agent, json::Line};

use crate::functions_can_be_hooked;

/// Where somebody listens, each under a letter; the last port is one for root.
const PLACES: [(char, &str); 4] =
    [('a', "127.0.0.2:0"), ('b', "127.0.1.2:0"), ('c', "[::1]:0"), ('d', "127.0.2.2:1021")];

/// A policy for connections: its filter, and the places of which it is to tell. `PORT_B` is the port of that one.
const CONNECTING: [(&str, &str); 18] = [
    ("{operator: DAddr, values: [127.0.0.0/24]}", "a"),
    ("{operator: NotDAddr, values: [127.0.0.0/24]}", "bcd"),
    ("{operator: DAddr, values: [127.0.1.2, 127.0.2.0/30]}", "bd"),
    ("{operator: DAddr, values: [\"::1\"]}", "c"),
    ("{operator: DAddr, values: [\"::/0\"]}", "c"),
    ("{operator: DAddr, values: [0.0.0.0/0]}", "abd"),
    ("{operator: NotDAddr, values: [0.0.0.0/0, \"::1/128\"]}", ""),
    ("{operator: SAddr, values: [127.0.0.0/8]}", "abd"),
    ("{operator: DPort, values: [\"PORT_B\"]}", "b"),
    ("{operator: NotDPort, values: [\"PORT_B\"]}", "acd"),
    ("{operator: DPort, values: [\"1000:1023\", \"PORT_B:PORT_B\"]}", "bd"),
    ("{operator: DPortPriv}", "d"),
    ("{operator: NotDPortPriv}", "abc"),
    ("{operator: Family, values: [AF_INET6]}", "c"),
    ("{operator: Family, values: [\"2\"]}", "abd"),
    ("{operator: Protocol, values: [IPPROTO_TCP]}", "abcd"),
    ("{operator: Protocol, values: [IPPROTO_UDP, IPPROTO_SCTP]}", ""),
    ("{operator: Protocol, values: [tcp]}", "abcd"),
];

/// The same for a socket that begins to listen.
const LISTENING: [(&str, &str); 6] = [
    ("{operator: SAddr, values: [127.0.1.0/24]}", "b"),
    ("{operator: NotSAddr, values: [127.0.1.0/24]}", "acd"),
    ("{operator: SPort, values: [\"PORT_B\", \"1021\"]}", "bd"),
    ("{operator: NotSPort, values: [\"PORT_B\"]}", "acd"),
    ("{operator: SPortPriv}", "d"),
    ("{operator: NotSPortPriv}", "abc"),
];

/// The same of states: those that the socket leaves. It was closed, and is on the way to a connection.
const STATES: [(&str, &str); 3] = [
    ("{operator: State, values: [TCP_CLOSE]}", "abcd"),
    ("{operator: State, values: [TCP_LISTEN, TCP_ESTABLISHED]}", ""),
    ("{operator: State, values: [\"7\"]}", "abcd"),
];

/// Ports by their places.
type Ports = BTreeMap<char, u16>;

/// A folder with a file of policies, one for each filter.
fn policies(hook: &str, filters: &[(&str, &str)], more: &str, ports: &Ports) -> TempDir {
    let folder = tempfile::Builder::new().prefix("trigon-sockets-").tempdir().expect("make a folder");
    let documents: Vec<String> = filters
        .iter()
        .enumerate()
        .map(|(number, (filter, _))| {
            let filter = filter.replace("PORT_B", &ports[&'b'].to_string());
            let filter = filter.replacen('{', "{index: 0, ", 1);
            format!(
                "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: s{number}}}\nspec:\n{hook}    selectors:\n    - matchArgs:\n      - {filter}\n{more}"
            )
        })
        .collect();
    fs::write(folder.path().join("policies.yaml"), documents.join("---\n")).expect("write the policies");
    folder
}

/// Lets an agent watch a deed; for each policy the ports, by `of`, of what it told of this process.
fn told(folder: &TempDir, of: &str, deed: impl FnOnce()) -> BTreeMap<String, BTreeSet<u16>> {
    let file = folder.path().join("policies.yaml");
    let agent = Agent::new().argument("--policy").argument(file.to_str().expect("a plain path")).start();
    deed();
    let ended = agent.stop();
    let mut told: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in ended.lines.iter().filter(|line| line.contains("\"policy_name\"")) {
        let line = Line::parse(line);
        if line.pid() == std::process::id() {
            let port = line.at("/args/0/sock_arg").get(of).and_then(serde_json::Value::as_u64).unwrap_or(0);
            told.entry(line.text("/policy_name").to_owned()).or_default().insert(port as u16);
        }
    }
    told
}

fn check(filters: &[(&str, &str)], ports: &Ports, told: &BTreeMap<String, BTreeSet<u16>>) {
    for (number, (filter, places)) in filters.iter().enumerate() {
        let mut found = told.get(&format!("s{number}")).cloned().unwrap_or_default();
        // This process asks the agent for its metrics, too.
        found.retain(|port| ports.values().any(|known| known == port));
        let expected: BTreeSet<u16> = places.chars().map(|place| ports[&place]).collect();
        assert_eq!(found, expected, "{filter} of {ports:?}");
    }
}

fn listen() -> (Vec<TcpListener>, Ports) {
    let listeners: Vec<_> =
        PLACES.iter().map(|(_, address)| TcpListener::bind(address).expect("listen")).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let ports = PLACES.iter().zip(&listeners).map(|((place, _), listener)| (*place, port(listener)));
    let ports = ports.collect();
    (listeners, ports)
}

fn connect(listeners: &[TcpListener]) {
    for listener in listeners {
        TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    }
}

const RAW: &str = "  tracepoints:\n  - subsystem: sock\n    event: inet_sock_set_state\n    raw: true\n    args: [{index: 0, type: sock}, {index: 1, type: int}, {index: 2, type: int}]\n";

/// SYN_SENT comes next.
const TO_CONNECT: &str = "      - {index: 2, operator: Equal, values: [\"2\"]}\n";
/// LISTEN comes next.
const TO_LISTEN: &str = "      - {index: 2, operator: Equal, values: [\"10\"]}\n";

pub fn connections_by_raw_tracepoint() {
    let (listeners, ports) = listen();
    for filters in [CONNECTING.as_slice(), STATES.as_slice()] {
        let folder = policies(RAW, filters, TO_CONNECT, &ports);
        let told = told(&folder, "dport", || connect(&listeners));
        check(filters, &ports, &told);
    }
}

pub fn listeners_by_raw_tracepoint() {
    let (listeners, ports) = listen();
    let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().expect("an address")).collect();
    drop(listeners);
    let folder = policies(RAW, &LISTENING, TO_LISTEN, &ports);
    let told = told(&folder, "sport", || {
        // The same ports again, which were free a moment ago.
        let again: Vec<_> =
            addresses.iter().map(|address| TcpListener::bind(address).expect("listen")).collect();
        drop(again);
    });
    check(&LISTENING, &ports, &told);
}

pub fn connections_by_function(section: &str) {
    if !functions_can_be_hooked() {
        return;
    }
    let (listeners, ports) = listen();
    let hook = format!(
        "  {section}:\n  - call: tcp_connect\n    syscall: false\n    args: [{{index: 0, type: sock}}]\n"
    );
    let folder = policies(&hook, &CONNECTING, "", &ports);
    let told = told(&folder, "dport", || connect(&listeners));
    check(&CONNECTING, &ports, &told);
}
