//! Sockets in network namespaces of their own: connections between two that a cable joins, and the same addresses at the
//! same time in another and the host's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
};

use trigon_tests::{agent::Agent, json::Line, place};

/// Ends of the cable: a network that is nowhere else.
const ONE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PORT: u16 = 4711;

/// Changes of sockets' states, with a selector's filters on the socket, the state before and the state after.
const HOOK: &str = "  tracepoints:\n  - subsystem: sock\n    event: inet_sock_set_state\n    raw: true\n    args: [{index: 0, type: sock}, {index: 1, type: int}, {index: 2, type: int}]\n    selectors:\n";

/// A process in a network namespace of its own, which makes system calls.
struct Within {
    child: Child,
}

/// It says that it has come so far, and waits.
const WAIT: &str = "write 1 #1 1 ; read 0 #1 1";

/// Who something is told of: the process, and its network namespace.
type Who = (u32, u64);

/// A policy that tells of sockets: its name, its filter on the network namespace, and those on the socket.
fn policy(name: &str, namespace: &str, filters: &str) -> String {
    let namespace = match namespace {
        "" => String::new(),
        filter => format!("      matchNamespaces: [{{namespace: Net, {filter}}}]\n"),
    };
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{HOOK}    - matchArgs: [{filters}]\n{namespace}"
    )
}

/// Lets an agent watch a deed: who each policy tells of.
fn told(policies: &[String], deed: impl FnOnce()) -> BTreeMap<String, BTreeSet<Who>> {
    let folder = tempfile::Builder::new().prefix("trigon-sockets-").tempdir().expect("make a folder");
    let file = folder.path().join("policies.yaml");
    fs::write(&file, policies.join("---\n")).expect("write the policies");
    let agent = Agent::new().argument("--policy").argument(file.to_str().expect("a plain path")).start();
    deed();
    let ended = agent.stop();
    // This suite runs in the first one.
    let host = inode("self");
    let mut told: BTreeMap<String, BTreeSet<Who>> = BTreeMap::new();
    for line in ended.lines.iter().filter(|line| line.contains("\"policy_name\"")) {
        let line = Line::parse(line);
        let net = line.at("/process/ns/net");
        let inode = net["inum"].as_u64().expect("a network namespace");
        assert_eq!(net["is_host"] == true, inode == host, "{line:#?}");
        told.entry(line.text("/policy_name").to_owned()).or_default().insert((line.pid(), inode));
    }
    told
}

fn check(told: &BTreeMap<String, BTreeSet<Who>>, expected: &[(&str, &[Who])]) {
    let expected = expected.iter().filter(|(_, all)| !all.is_empty());
    let expected = expected.map(|(name, all)| ((*name).to_owned(), all.iter().copied().collect()));
    assert_eq!(*told, expected.collect());
}

fn inode(pid: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/net")).expect("a network namespace").ino()
}

/// `struct sockaddr_in`, and its length.
fn address(ip: Ipv4Addr, port: u16) -> String {
    format!("[{},0] 16", sockaddr(ip, port))
}

fn sockaddr(ip: Ipv4Addr, port: u16) -> i64 {
    let ([high, low], [a, b, c, d]) = (port.to_be_bytes(), ip.octets());
    i64::from_le_bytes([2, 0, high, low, a, b, c, d])
}

/// Why two namespaces can't be joined here, once they could not.
fn join(one: &Within, other: &Within) -> Result<(), String> {
    let [one, other] = [one, other].map(|within| within.child.id().to_string());
    let words =
        ["link", "add", "end0", "netns", &one, "type", "veth", "peer", "name", "end0", "netns", &other];
    match Command::new("ip").args(words).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("no program `ip`: {error}")),
    }
}

pub fn joined() {
    // SIOCSIFADDR, SIOCSIFNETMASK and SIOCSIFFLAGS of a `struct ifreq`: a name of 16 bytes, then what is set.
    let name = u64::from_le_bytes(*b"end0\0\0\0\0");
    let set = |ip: Ipv4Addr| {
        let request = |number: &str, value: i64| format!(" ; ioctl $2 {number} [{name},0,{value},0,0]");
        let mask = Ipv4Addr::new(255, 255, 255, 252);
        format!(
            "{WAIT} ; socket 2 2 0{}{}{}",
            request("0x8916", sockaddr(ip, 0)),
            request("0x891c", sockaddr(mask, 0)),
            request("0x8914", 0x41)
        )
    };
    let address = address(OTHER, PORT);
    let connect = format!("socket 2 1 0 ; connect $8 {address} ; close $8 ; write 1 #1 1");
    let mut one = Within::start(&format!("{} ; {WAIT} ; {connect}", set(ONE)));
    let listen = format!("socket 2 1 0 ; bind $6 {address} ; listen $6 1");
    let mut other = Within::start(&format!("{} ; {listen} ; {WAIT}", set(OTHER)));
    if let Err(reason) = join(&one, &other) {
        println!("not tried: no cable (veth) between network namespaces here: {reason}");
        return;
    }
    let (who_one, who_other) = (one.who(), other.who());
    let [of_one, of_other] =
        [who_one, who_other].map(|(_, inode)| format!("operator: In, values: [\"{inode}\"]"));
    let ours = "{index: 0, operator: SAddr, values: [10.77.0.0/30]}";
    let begins = format!("{ours}, {{index: 2, operator: Equal, values: [\"2\", \"10\"]}}");
    let to_other = format!("{ours}, {{index: 0, operator: DAddr, values: [{OTHER}]}}");
    let policies = [
        policy("begins", "", &begins),
        policy("of-one", &of_one, &begins),
        policy("of-other", &of_other, &begins),
        policy("of-host", "operator: In, values: [host_ns]", &begins),
        policy("of-others", "operator: NotIn, values: [host_ns]", &begins),
        policy("connects", "", &format!("{to_other}, {{index: 2, operator: Equal, values: [\"2\"]}}")),
        policy("not-to-other", "", &format!("{begins}, {{index: 0, operator: NotDAddr, values: [{OTHER}]}}")),
        // It was established and is closed: the other end has answered.
        policy(
            "was-connected",
            "",
            &format!(
                "{to_other}, {{index: 1, operator: Equal, values: [\"1\"]}}, {{index: 2, operator: Equal, values: [\"4\"]}}"
            ),
        ),
    ];
    let told = told(&policies, || {
        one.go_on();
        one.wait();
        other.go_on();
        other.wait();
        one.go_on();
        one.wait();
    });
    let (one, other) = (who_one, who_other);
    check(
        &told,
        &[
            ("begins", &[one, other]),
            ("of-one", &[one]),
            ("of-other", &[other]),
            ("of-host", &[]),
            ("of-others", &[one, other]),
            ("connects", &[one]),
            ("not-to-other", &[other]),
            ("was-connected", &[one]),
        ],
    );
}

pub fn apart() {
    let ip = Ipv4Addr::new(127, 7, 0, 1);
    let listener = TcpListener::bind((ip, 0)).expect("listen");
    let here = listener.local_addr().expect("an address");
    let address = address(ip, here.port());
    // "lo" is up.
    let mut within = Within::start(&format!(
        "{WAIT} ; socket 2 2 0 ; ioctl $2 0x8914 [0x6f6c,0,0x41,0,0] ; socket 2 1 0 ; bind $4 {address} ; \
         listen $4 1 ; socket 2 1 0 ; connect $7 {address} ; {WAIT}"
    ));
    let to_it = format!(
        "{{index: 0, operator: DAddr, values: [{ip}]}}, {{index: 0, operator: DPort, values: [\"{}\"]}}, {{index: 2, operator: Equal, values: [\"2\"]}}",
        here.port()
    );
    let (me, other) = ((std::process::id(), inode("self")), within.who());
    let policies = [
        policy("all", "", &to_it),
        policy("of-host", "operator: In, values: [host_ns]", &to_it),
        policy("of-others", "operator: NotIn, values: [host_ns]", &to_it),
        policy("of-that", &format!("operator: In, values: [\"{}\"]", other.1), &to_it),
        policy("not-of-that", &format!("operator: NotIn, values: [\"{}\"]", other.1), &to_it),
    ];
    let told = told(&policies, || {
        TcpStream::connect(here).expect("connect");
        within.go_on();
        within.wait();
    });
    check(
        &told,
        &[
            ("all", &[me, other]),
            ("of-host", &[me]),
            ("of-others", &[other]),
            ("of-that", &[other]),
            ("not-of-that", &[me]),
        ],
    );
}

// === impl Within ===

impl Within {
    /// Starts it; the first that it does is to wait.
    fn start(calls: &str) -> Self {
        let mut command = Command::new("unshare");
        command.arg("-n").arg(place::workload()).arg("calls").args(calls.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut within = Self { child: command.spawn().expect("run unshare") };
        within.wait();
        within
    }

    /// Lets it go on.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"x").expect("let it go on");
    }

    /// Until it waits, or is done.
    fn wait(&mut self) {
        let mut byte = [0];
        self.child.stdout.as_mut().expect("a pipe").read_exact(&mut byte).expect("a process that goes on");
    }

    fn who(&self) -> Who {
        let pid = self.child.id();
        (pid, inode(&pid.to_string()))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        // It waits no longer.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
