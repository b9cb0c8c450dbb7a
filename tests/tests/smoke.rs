//! What every other kernel test stands on.

use std::{path::Path, process::ExitCode};

use trigon_tests::{
    suite::{self, Need},
    workload::{End, Workload},
};

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("kernel_has_btf", &[Need::Kernel], kernel_has_btf);
        suite.test("cgroup2_is_mounted", &[Need::Kernel], cgroup2_is_mounted);
        suite.test("loopback_is_up", &[Need::Kernel], loopback_is_up);
        suite.test("workload_tells_what_it_did", &[], workload_tells_what_it_did);
    })
}

fn kernel_has_btf() {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("read the kernel's BTF");
    assert_eq!(btf.get(..2), Some(&0xeb9f_u16.to_ne_bytes()[..]), "BTF starts with its magic number");
}

fn cgroup2_is_mounted() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let mount =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 mount");
    let path = Path::new(mount.split(' ').nth(1).expect("a mount has a path"));
    assert!(path.join("cgroup.procs").exists(), "{} holds no cgroup", path.display());
}

fn loopback_is_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen on 127.0.0.1");
    std::net::TcpStream::connect(listener.local_addr().expect("its address")).expect("connect to it");
}

fn workload_tells_what_it_did() {
    let done = Workload::new().run("tree 2 2");
    assert_eq!(done.facts.len(), 7);
    let root = done.role("0");
    assert_eq!(root.parent, std::process::id());
    assert!(root.exec && root.start.is_some());
    assert_eq!((done.role("0.1").parent, done.role("0.1.0").parent), (root.pid, done.role("0.1").pid));
    assert!(done.facts.iter().all(|fact| matches!(fact.end, End::Exit(_))));
}
