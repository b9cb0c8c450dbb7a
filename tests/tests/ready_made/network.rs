//! Policies on sockets: what they are for, and its harmless twin. No packet leaves the machine.

use trigon_tests::suite::Suite;

use super::{KERNEL, Scene, told_by};

const CONNECT: &str = include_str!("../../../deploy/policies/network-connect.yaml");
const LISTEN: &str = include_str!("../../../deploy/policies/network-listen.yaml");

const SHELL: &str = include_str!("../../../deploy/policies/reverse-shell.yaml");

/// The policies of this file, by their names.
pub const POLICIES: [(&str, &str); 3] =
    [("network-connect", CONNECT), ("network-listen", LISTEN), ("reverse-shell", SHELL)];

/// Addresses as `struct sockaddr_in` and `struct sockaddr_in6` have them, in words of 64 bits, and their sizes. Those for
/// documentation: RFC 5737, RFC 3849.
const OUTSIDE: &str = "[0x010200c0bb010002,0] 16";
const OUTSIDE_6: &str = "[0xbb01000a,0xb80d0120,0x0100000000000000,0] 28";
const PRIVATE: &str = "[0x0100000abb010002,0] 16";
const LOOPBACK: &str = "[0x0100007fbb010002,0] 16";
const ANY: &str = "[0xbb010002,0] 16";
const ANY_PORT: &str = "[0x00000002,0] 16";
const UNIX: &str = "[0x642f706d742f0001,0] 16";

pub fn tests(suite: &mut Suite) {
    suite.test("connections_out", KERNEL, connections_out);
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
