//! Where things are: the programs under test and ports that are free.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

/// The agent: `TRIGON_BIN`, or the one that was built beside this test.
pub fn agent() -> PathBuf {
    program("TRIGON_BIN", "trigon")
}

/// The workload: `TRIGON_WORKLOAD`, or the one that was built beside this test.
pub fn workload() -> PathBuf {
    program("TRIGON_WORKLOAD", "trigon-workload")
}

/// The demo: `TRIGON_DEMO`, or the one that was built beside this test.
pub fn demo() -> PathBuf {
    program("TRIGON_DEMO", "trigon-demo")
}

/// A file or folder of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The workspace's folder for downloads, `.cache`.
pub fn cache() -> PathBuf {
    workspace(".cache")
}

/// Policies that people use, from outside of the project: `TRIGON_POLICIES`, else `shared/policies` beside the checkout.
pub fn policies() -> Option<PathBuf> {
    let given = std::env::var_os("TRIGON_POLICIES").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/policies");
    Some(given.unwrap_or_else(beside)).filter(|folder| folder.is_dir())
}

/// The kernel module that tests load, of the running kernel: `scripts/kernels` fetches it, the virtual machines have it.
pub fn module() -> PathBuf {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    ["/lib/modules", &release, "kernel/arch/x86/kernel/cpuid.ko"].iter().collect()
}

/// The files of a folder whose names end so, by path: one at least.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("list a folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|of| of == extension));
    files.sort();
    assert!(!files.is_empty(), "nothing is in {}", folder.display());
    files
}

/// An address of this machine's on which nobody listens now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port of 127.0.0.1");
    listener.local_addr().expect("read the address of a listener")
}

/// Test executables are in `target/<triple>/<profile>/deps`, programs one folder above.
fn program(variable: &str, name: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        let here = std::env::current_exe().expect("read the path of this test");
        let folder = here.parent().expect("a test lies in a folder");
        let profile =
            if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder };
        profile.join(name)
    });
    assert!(
        path.exists(),
        "{} is not there: build it first (cargo test --workspace --no-run)",
        path.display()
    );
    path
}
