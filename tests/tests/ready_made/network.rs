//! Policies on sockets: what they are for, and its harmless twin. No packet leaves the machine.

use trigon_tests::suite::Suite;

use super::{KERNEL, Scene, told_by};

const CONNECT: &str = include_str!("../../../deploy/policies/network-connect.yaml");
const DNSLESS: &str = include_str!("../../../deploy/policies/dnsless-egress.yaml");
const LISTEN: &str = include_str!("../../../deploy/policies/network-listen.yaml");

const SHELL: &str = include_str!("../../../deploy/policies/reverse-shell.yaml");

/// The policies of this file, by their names.
pub const POLICIES: [(&str, &str); 4] = [
    ("network-connect", CONNECT),
    ("dnsless-egress", DNSLESS),
    ("network-listen", LISTEN),
    ("reverse-shell", SHELL),
];

/// Addresses as `struct sockaddr_in` and `struct sockaddr_in6` have them, in words of 64 bits, and their sizes. Those for
/// documentation: RFC 5737, RFC 3849.
const OUTSIDE: &str = "[0x010200c0bb010002,0] 16";
const OUTSIDE_6: &str = "[0xbb01000a,0xb80d0120,0x0100000000000000,0] 28";
const OUTSIDE_TOO: &str = "[0x020200c0bb010002,0] 16";
const OUTSIDE_THEN: &str = "[0x030200c0bb010002,0] 16";
const MULTICAST: &str = "[0xfb0000e0e9140002,0] 16";
const PRIVATE: &str = "[0x0100000abb010002,0] 16";
const LOOPBACK: &str = "[0x0100007fbb010002,0] 16";
const ANY: &str = "[0xbb010002,0] 16";
const ANY_PORT: &str = "[0x00000002,0] 16";
const UNIX: &str = "[0x642f706d742f0001,0] 16";

/// Resolvers: the port of DNS, and that of DNS over TLS.
const STUB: &str = "[0x3500007f35000002,0] 16";
const OUTSIDE_DNS: &str = "[0x010200c035000002,0] 16";
const OUTSIDE_TLS: &str = "[0x010200c055030002,0] 16";

pub fn tests(suite: &mut Suite) {
    suite.test("connections_out", KERNEL, connections_out);
    suite.test("connections_without_a_name", KERNEL, connections_without_a_name);
    suite.test("ports_taken", KERNEL, ports_taken);
    suite.test("reverse_shells", KERNEL, reverse_shells);
}

/// What was told while calls were made in a container, and on the host: functions and addresses.
fn told(policy: &str, calls: &str) -> Vec<(String, String)> {
    let scene = Scene::new(policy);
    let ended = scene.rig.around(|| {
        scene.calls(scene.workload.program(), calls);
    });
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    told.into_iter().map(|told| (told.function, told.args[1].clone())).collect()
}

/// A datagram socket is connected without a packet.
fn connections_out() {
    let calls = format!(
        "socket 2 2 0 ; ?connect $0 {OUTSIDE} ; ?connect $0 {OUTSIDE} ; ?connect $0 {PRIVATE} ; connect $0 {LOOPBACK} ; \
         socket 10 2 0 ; ?connect $5 {OUTSIDE_6} ; socket 1 2 0 ; ?connect $7 {UNIX}"
    );
    let told = told(CONNECT, &calls);
    assert_eq!(told.len(), 2, "each address once: {told:?}");
    assert!(told[0].1.contains("192.0.2.1") && told[0].1.contains("443"), "{told:?}");
    assert!(told[1].1.contains("2001:db8::1"), "{told:?}");
}

/// An address of a socket of the machine, likewise.
fn unix(path: &str) -> String {
    let bytes = [&1_u16.to_le_bytes()[..], path.as_bytes(), b"\0"].concat();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words: Vec<_> = bytes.chunks(8).map(|bytes| format!("{:#x}", word(bytes))).collect();
    format!("[{}] {}", words.join(","), bytes.len())
}

fn connections_without_a_name() {
    let nscd = unix("/var/run/nscd/socket");
    // In a network of its own nothing is sent anywhere.
    let alone = "unshare 0x40000000 ; socket 2 2 0";
    let deed = format!(
        "{alone} ; ?connect $1 {OUTSIDE} ; ?connect $1 {OUTSIDE} ; ?connect $1 {PRIVATE} ; ?connect $1 {MULTICAST} ; \
         socket 10 2 0 ; ?connect $6 {OUTSIDE_6} ; ?sendto $1 #1 1 0 {OUTSIDE_TOO} ; ?sendto $1 #1 1 0 {PRIVATE} ; \
         ?sendto $1 #1 1 0 0 0 ; socket 1 1 0 ; ?connect $11 {nscd} ; ?connect $1 {OUTSIDE_THEN}"
    );
    // Its harmless twins have asked somebody before; what they fork has not.
    let asks = [
        format!("?connect $1 {STUB}"),
        format!("?connect $1 {OUTSIDE_TLS}"),
        format!("?sendto $1 #1 1 0 {OUTSIDE_DNS}"),
        format!(
            "?mkdir @/var/run 0x1ed ; mkdir @/var/run/nscd 0x1ed ; socket 1 1 0 ; bind $4 {nscd} ; listen $4 1 ; \
             socket 1 1 0 ; connect $7 {nscd}"
        ),
    ];
    let twins =
        asks.map(|ask| format!("{alone} ; {ask} ; ?connect $1 {OUTSIDE} ; ?sendto $1 #1 1 0 {OUTSIDE}"));
    let child =
        format!("{alone} ; ?connect $1 {STUB} ; ?connect $1 {OUTSIDE} ; fork ; ?connect $1 {OUTSIDE_TOO}");
    let scene = Scene::new(DNSLESS);
    let ended = scene.rig.around(|| {
        let run = |calls: &str| scene.calls(scene.workload.program(), calls);
        run(&deed);
        twins.iter().for_each(|twin| run(twin));
        run(&child);
    });
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    let found: Vec<_> = told.iter().map(|told| (told.function.as_str(), told.args[1].as_str())).collect();
    let expected = [
        ("connect", "192.0.2.1"),
        ("connect", "2001:db8::1"),
        ("sendto", "192.0.2.2"),
        ("connect", "192.0.2.3"),
        ("connect", "192.0.2.2"),
    ];
    assert_eq!(found.len(), expected.len(), "{told:?}");
    let same = |((call, found), (name, address)): (&(&str, &str), (&str, &str))| {
        *call == name && found.contains(address)
    };
    assert!(found.iter().zip(expected).all(same), "{told:?}");
}

fn ports_taken() {
    let calls = format!(
        "socket 2 2 0 ; bind $0 {ANY} ; socket 2 2 0 ; ?bind $2 {LOOPBACK} ; socket 2 2 0 ; bind $4 {ANY_PORT} ; \
         socket 1 2 0 ; ?bind $6 {UNIX}"
    );
    let told = told(LISTEN, &calls);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == "bind" && told[0].1.contains("443"), "{told:?}");
}

fn reverse_shells() {
    let scene = Scene::new(SHELL);
    let shell = scene.workload.folder().join("sh");
    std::fs::hard_link(scene.workload.program(), &shell).expect("a name");
    let execute = format!("execve @{} [@sh,@quiet,@0,0] [0]", shell.display());
    let program = format!("execve @{} [@x,@quiet,@0,0] [0]", scene.workload.program().display());
    let ended = scene.rig.around(|| {
        let run = |calls: &str| scene.calls(scene.workload.program(), calls);
        run(&format!("socket 1 1 0 ; dup2 $0 0 ; {execute}"));
        run(&format!("socket 2 1 0 ; dup2 $0 1 ; {execute}"));
        // Its harmless twins: a shell on something else, with a socket elsewhere; and no shell on a socket.
        run(&execute);
        run(&format!("socket 2 1 0 ; dup2 $0 9 ; {execute}"));
        run(&format!("socket 2 1 0 ; dup2 $0 0 ; dup2 $0 1 ; {program}"));
    });
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    let told: Vec<_> = told.iter().map(|told| (told.function.as_str(), told.args[0].as_str())).collect();
    let shell = shell.to_str().expect("a plain path");
    assert_eq!(told, [("execve", shell), ("execve", shell)]);
}
