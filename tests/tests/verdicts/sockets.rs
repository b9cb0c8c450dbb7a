//! TCP sockets that listen and connect, all of a process in a network namespace of its own.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use trigon_probes::hooks::Target;
use trigon_tests::reference::{Endpoint, Event, Value};

use crate::{
    process::{Before, Script},
    random::{Filter, Random, policy},
    rig::{Game, Round},
};

/// Connections that a process makes.
const CONNECTIONS: usize = 40;

/// A network of which the process has all addresses, by its first 64 bits, beside ::1.
const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0);

/// Where a process listens: at its own addresses, at all that it has, and at an IPv4 address by a socket of IPv6.
const LISTENERS: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2)),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x10)),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V6(Ipv4Addr::new(127, 128, 0, 1).to_ipv6_mapped()),
];

/// Where something happens to ports, or close to it.
const PORTS: [u16; 9] = [2, 80, 255, 443, 1023, 4096, 8080, 32_768, 65_533];

/// Sockets that aren't of the Internet: family, type and protocol. Of these there are no addresses and no ports.
const OTHERS: [(u16, u16, u16); 4] = [(1, 1, 0), (1, 2, 0), (16, 3, 0), (16, 3, 15)];

const TCP: u16 = libc::IPPROTO_TCP as u16;
const UDP: u16 = libc::IPPROTO_UDP as u16;

// States of a socket, which are named after TCP's: include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;

/// Where the hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Where a socket changes its state. Of these changes, those that its own process makes.
    Tracepoint,
    /// Where it begins to connect.
    Function,
    /// At some system call, while a socket of any kind is open under a number.
    Hold,
}

struct Sockets {
    shape: Shape,
    listeners: Vec<SocketAddr>,
    connections: Vec<Connection>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    source: SocketAddr,
    destination: SocketAddr,
    /// Somebody listens there.
    answered: bool,
    /// IPPROTO_TCP or IPPROTO_UDP.
    protocol: u16,
}

pub fn changed() -> Game {
    let target = Target::RawTracepoint { subsystem: "sock".into(), event: "inet_sock_set_state".into() };
    Game::new(target, false, 3, |random| Sockets::draw(Shape::Tracepoint, random))
}

pub fn held() -> Game {
    let target = Target::Syscall("umask".into());
    Game::new(target, false, 3, |random| Sockets::draw(Shape::Hold, random))
}

pub fn connecting() -> Game {
    let target = Target::Function("tcp_connect".into());
    Game::new(target, false, 3, |random| Sockets::draw(Shape::Function, random))
}

fn port(random: &mut Random) -> u16 {
    let near = random.below(5) as u16;
    if random.one_in(3) { 1 + random.below(65_535) as u16 } else { random.of(&PORTS) - 2 + near }.max(1)
}

fn loopback(random: &mut Random) -> Ipv4Addr {
    let bits = if random.one_in(2) { random.below(8) } else { random.below(1 << 24) };
    // Neither the first nor the last: those are the network's.
    Ipv4Addr::from_bits(127 << 24 | (bits as u32).clamp(1, (1 << 24) - 2))
}

fn own(random: &mut Random) -> Ipv6Addr {
    match random.below(3) {
        0 => Ipv6Addr::LOCALHOST,
        1 => Ipv6Addr::from_bits(OWN.to_bits() | (1 + random.below(32) as u128)),
        _ => Ipv6Addr::from_bits(OWN.to_bits() | u128::from(random.next() | 1)),
    }
}

/// `struct sockaddr_in` or `struct sockaddr_in6` as words of 64 bits, and its length.
fn words(address: SocketAddr) -> String {
    let [high, low] = address.port().to_be_bytes();
    let word = |bytes: &[u8]| u64::from_le_bytes(std::array::from_fn(|at| bytes[at]));
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("[{},0] 16", word(&[2, 0, high, low, a, b, c, d]) as i64)
        }
        IpAddr::V6(ip) => {
            let first = word(&[10, 0, high, low, 0, 0, 0, 0]);
            let [upper, lower] = halves(ip);
            format!("[{},{upper},{lower},0] 28", first as i64)
        }
    }
}

/// A message for rtnetlink(7): a new route by which all that begins as `OWN` is local.
fn route() -> String {
    let mut message: Vec<u8> = Vec::new();
    // struct nlmsghdr: 56 bytes, RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL.
    message.extend([56, 0, 0, 0, 24, 0, 0x01, 0x06, 0, 0, 0, 0, 0, 0, 0, 0]);
    // struct rtmsg: AF_INET6, 64 bits of the destination, RT_TABLE_LOCAL, RTPROT_STATIC, RTN_LOCAL.
    message.extend([10, 64, 0, 0, 255, 4, 0, 2, 0, 0, 0, 0]);
    // RTA_DST, and RTA_OIF: the first interface.
    message.extend([20, 0, 1, 0].into_iter().chain(OWN.octets()));
    message.extend([8, 0, 4, 0, 1, 0, 0, 0]);
    let words: Vec<String> =
        message.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word).to_string()).collect();
    format!("[{}]", words.join(","))
}

fn halves(ip: Ipv6Addr) -> [i64; 2] {
    let octets = ip.octets();
    [0, 8].map(|from| i64::from_le_bytes(std::array::from_fn(|at| octets[from + at])))
}

/// Makes a socket that has an address.
fn bound(script: &mut Script, protocol: u16, address: SocketAddr) -> String {
    let kind = if protocol == TCP { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    let socket = script.call(&format!("socket {} {kind} 0", family(address)));
    // SO_REUSEADDR
    script.call(&format!("setsockopt {socket} 1 2 [1] 4"));
    if address.is_ipv6() {
        // IPV6_FREEBIND: an address is one of its own by a route alone.
        script.call(&format!("setsockopt {socket} 41 78 [1] 4"));
    }
    script.call(&format!("bind {socket} {}", words(address)));
    socket
}

fn family(address: SocketAddr) -> u16 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u16
}

/// Nobody, who has the family of an address.
fn nobody(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn endpoint(protocol: u16, state: u8, source: SocketAddr, destination: SocketAddr) -> Value {
    Value::Endpoint(Endpoint {
        family: family(source),
        protocol,
        state,
        source: Some((source.ip(), source.port())),
        destination: Some((destination.ip(), destination.port())),
    })
}

// === impl Sockets ===

impl Sockets {
    fn draw(shape: Shape, random: &mut Random) -> Self {
        let mut taken = HashSet::new();
        let listeners: Vec<SocketAddr> = LISTENERS
            .iter()
            .map(|address| {
                let port = loop {
                    let port = port(random);
                    if taken.insert(port) {
                        break port;
                    }
                };
                SocketAddr::new(*address, port)
            })
            .collect();
        let mut ends = HashSet::new();
        let mut connections = Vec::new();
        while connections.len() < CONNECTIONS {
            let protocol = if shape == Shape::Hold { *random.of(&[TCP, UDP]) } else { TCP };
            let connection = Connection::draw(&listeners, protocol, random);
            let Connection { source, destination, answered, .. } = connection;
            // Nobody else may be there, at either end.
            let is_free = !taken.contains(&source.port())
                && (answered || source != destination && !taken.contains(&destination.port()));
            if is_free && ends.insert((source.ip().to_canonical(), source.port())) {
                connections.push(connection);
            }
        }
        Self { shape, listeners, connections }
    }

    /// An address that something has.
    fn end(&self, random: &mut Random) -> SocketAddr {
        let connection = random.of(&self.connections);
        match random.below(5) {
            0 => *random.of(&self.listeners),
            1 | 2 => connection.source,
            _ => connection.destination,
        }
    }

    /// The networks that an address is in, and those that it is just not in.
    fn network(&self, random: &mut Random) -> String {
        let address = self.end(random).ip().to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let (bit, flip) = (random.below(width), random.one_in(2));
        let one = |first: u32| if flip { 1_u128 << (first - bit as u32) } else { 0 };
        let address = match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() ^ one(31) as u32)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() ^ one(127))),
        };
        let bits = match random.below(4) {
            0 => bit,
            1 => bit + 1,
            2 => random.below(width + 1),
            _ => return address.to_string(),
        };
        match address {
            IpAddr::V4(address) if random.one_in(4) => {
                format!("{}/{}", address.to_ipv6_mapped(), 96 + bits)
            }
            address => format!("{address}/{bits}"),
        }
    }

    fn ports(&self, random: &mut Random) -> String {
        let port = |random: &mut Random| {
            let port = self.end(random).port();
            let near = random.below(3) as u16;
            if random.one_in(2) { port.saturating_add(near).saturating_sub(1) } else { port }
        };
        let (one, other) = (port(random), port(random));
        if random.one_in(2) { one.to_string() } else { format!("{}:{}", one.min(other), one.max(other)) }
    }

    fn condition(&self, random: &mut Random) -> String {
        let named = |operator: &str, random: &mut Random, names: &[&str]| {
            let values = random.values(|random| (*random.of(names)).to_owned());
            format!("{{args: [0], operator: {operator}, values: {values}}}")
        };
        match random.below(12) {
            0..=3 => {
                let operator = *random.of(&["SAddr", "NotSAddr", "DAddr", "NotDAddr"]);
                let values = random.values(|random| self.network(random));
                format!("{{args: [0], operator: {operator}, values: {values}}}")
            }
            4..=7 => {
                let operator = *random.of(&["SPort", "NotSPort", "DPort", "NotDPort"]);
                let values = random.values(|random| self.ports(random));
                format!("{{args: [0], operator: {operator}, values: {values}}}")
            }
            8 => {
                let operator = random.of(&["SPortPriv", "NotSPortPriv", "DPortPriv", "NotDPortPriv"]);
                format!("{{args: [0], operator: {operator}}}")
            }
            9 => named("Protocol", random, &["IPPROTO_TCP", "udp", "6", "7", "IPPROTO_MPTCP"]),
            10 => named("Family", random, &["AF_INET", "inet6", "10", "AF_UNIX", "3"]),
            _ => {
                named("State", random, &["TCP_CLOSE", "LISTEN", "1", "2", "TCP_SYN_SENT", "established", "9"])
            }
        }
    }

    /// Of their states, as far as the process makes them.
    fn changes(&self) -> Vec<Event> {
        let change = |from: u8, to: u8, source: SocketAddr, destination: SocketAddr| {
            let state = |state: u8| Some(Value::Number(state.into()));
            let socket = endpoint(TCP, from, source, destination);
            Event { arguments: vec![Some(socket), state(from), state(to)], ..Event::default() }
        };
        let mut events = Vec::new();
        for listener in &self.listeners {
            events.push(change(CLOSE, LISTEN, *listener, nobody(*listener)));
            events.push(change(LISTEN, CLOSE, *listener, nobody(*listener)));
        }
        for Connection { source, destination, answered, .. } in &self.connections {
            events.push(change(CLOSE, SYN_SENT, *source, *destination));
            if *answered {
                events.push(change(ESTABLISHED, FIN_WAIT1, *source, *destination));
            }
        }
        events
    }
}

impl Round for Sockets {
    fn policy(&self, number: usize, random: &mut Random) -> String {
        let mut filters: Vec<Filter> = Vec::new();
        let hook = match self.shape {
            Shape::Tracepoint => {
                let (from, to) = *random.of(&[(CLOSE, "[2, 10]"), (LISTEN, "[7]"), (ESTABLISHED, "[4]")]);
                let next = format!("{{index: 2, operator: Equal, values: {to}}}");
                filters.push(("matchArgs", format!("{{index: 1, operator: Equal, values: [{from}]}}")));
                filters.push(("matchArgs", next));
                "  tracepoints:\n  - subsystem: sock\n    event: inet_sock_set_state\n    raw: true\n    args: [{index: 0, type: sock}, {index: 1, type: int}, {index: 2, type: int}]\n"
            }
            Shape::Hold => {
                "  kprobes:\n  - call: sys_umask\n    args: [{source: current_task, resolve: \"files.fdt.fd[100].private_data\", type: socket}]\n"
            }
            Shape::Function => {
                "  kprobes:\n  - call: tcp_connect\n    syscall: false\n    args: [{index: 0, type: sock}]\n"
            }
        };
        (0..=random.below(3)).for_each(|_| filters.push(("matchArgs", self.condition(random))));
        if random.one_in(4) {
            filters.push(random.on_process());
        }
        policy(number, hook, filters)
    }

    fn befores(&self) -> &'static [Before] {
        &[Before::NewNetwork]
    }

    fn act(&self, script: &mut Script) {
        // SIOCSIFFLAGS with a `struct ifreq` of "lo" that is up.
        let socket = script.call("socket 2 2 0");
        script.call(&format!("ioctl {socket} 0x8914 [0x6f6c,0,0x41,0,0]"));
        let socket = script.call("socket 16 3 0");
        script.call(&format!("sendto {socket} {} 56 0 0 0", route()));
        let listening: Vec<String> = self
            .listeners
            .iter()
            .map(|address| {
                let socket = bound(script, TCP, *address);
                script.call(&format!("listen {socket} 100"));
                socket
            })
            .collect();
        let hold = |script: &mut Script, socket: &str| {
            if self.shape == Shape::Hold {
                script.call(&format!("dup3 {socket} 100 0"));
                script.call("umask 18");
            }
        };
        for Connection { source, destination, answered, protocol } in &self.connections {
            let socket = bound(script, *protocol, *source);
            hold(script, &socket);
            let may_fail = if *answered || *protocol == UDP { "" } else { "?" };
            script.call(&format!("{may_fail}connect {socket} {}", words(*destination)));
            // One that was refused keeps some of what it had.
            if may_fail.is_empty() {
                hold(script, &socket);
            }
            script.call(&format!("close {socket}"));
        }
        if self.shape == Shape::Hold {
            for (family, kind, protocol) in OTHERS {
                let socket = script.call(&format!("socket {family} {kind} {protocol}"));
                hold(script, &socket);
                script.call(&format!("close {socket}"));
            }
        }
        listening.iter().for_each(|socket| drop(script.call(&format!("close {socket}"))));
    }

    fn events(&self) -> Vec<Event> {
        let sees = |socket| Event { arguments: vec![Some(socket)], ..Event::default() };
        match self.shape {
            Shape::Tracepoint => self.changes(),
            Shape::Function => {
                let connects = self.connections.iter();
                connects.map(|one| sees(endpoint(TCP, SYN_SENT, one.source, one.destination))).collect()
            }
            Shape::Hold => {
                let bound = |one: &Connection| endpoint(one.protocol, CLOSE, one.source, nobody(one.source));
                let connected =
                    |one: &Connection| endpoint(one.protocol, ESTABLISHED, one.source, one.destination);
                let is_connected = |one: &&Connection| one.answered || one.protocol == UDP;
                let others = OTHERS.iter().map(|(family, _, protocol)| {
                    let (family, protocol, state) = (*family, *protocol, CLOSE);
                    Value::Endpoint(Endpoint { family, protocol, state, ..Endpoint::default() })
                });
                let all = self.connections.iter();
                let held = all.clone().map(bound).chain(all.filter(is_connected).map(connected));
                held.chain(others).map(sees).collect()
            }
        }
    }
}

// === impl Connection ===

impl Connection {
    /// To one of those who listen, or to another port.
    fn draw(listeners: &[SocketAddr], protocol: u16, random: &mut Random) -> Self {
        let listener = *random.of(listeners);
        let port = if random.one_in(4) { port(random) } else { listener.port() };
        let answered = port == listener.port();
        // What listens at all addresses of IPv6 is reached by those of IPv4, too.
        let v4 = match listener.ip().to_canonical() {
            IpAddr::V4(address) if address.is_unspecified() => Some(loopback(random)),
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) if address.is_unspecified() => random.one_in(2).then(|| loopback(random)),
            IpAddr::V6(_) => None,
        };
        let (source, destination) = match v4 {
            Some(address) => {
                let as_v6 = random.one_in(3);
                let of = |address: Ipv4Addr| match as_v6 {
                    true => IpAddr::V6(address.to_ipv6_mapped()),
                    false => IpAddr::V4(address),
                };
                (of(loopback(random)), of(address))
            }
            None => {
                let to = match listener.ip() {
                    IpAddr::V6(address) if !address.is_unspecified() => address,
                    _ => own(random),
                };
                (own(random).into(), to.into())
            }
        };
        let source = SocketAddr::new(source, self::port(random));
        Self { source, destination: SocketAddr::new(destination, port), answered, protocol }
    }
}
