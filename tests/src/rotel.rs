//! Rotel, an OTLP agent that this project didn't write, as a receiver. `scripts/setup test` installs it.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{place, wait};

/// A rotel that runs.
#[derive(Debug)]
pub struct Rotel {
    child: Child,
    folder: TempDir,
    grpc: SocketAddr,
    http: SocketAddr,
}

/// The program; none where it isn't installed.
pub fn find() -> Option<PathBuf> {
    let program = place::cache().join("rotel/rotel/rotel-agent");
    program.is_file().then_some(program)
}

// === impl Rotel ===

impl Rotel {
    /// Starts a receiver that writes all it gets to its log, and waits until it listens.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-rotel-").tempdir().expect("make a folder");
        let (grpc, http) = (place::free_address(), place::free_address());
        let log = || File::options().create(true).append(true).open(folder.path().join("log")).expect("make its log");
        let child = Command::new(find().expect("rotel is installed"))
            .args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "logs"])
            .args(["--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .current_dir(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("start rotel");
        let receiver = Self { child, folder, grpc, http };
        let listens = || [grpc, http].iter().all(|at| std::net::TcpStream::connect(at).is_ok()).then_some(());
        wait::until("rotel's ports", listens, || receiver.log());
        receiver
    }

    /// The endpoint for gRPC.
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The endpoint for HTTP.
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What it has received, as it writes it down.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Waits until its log satisfies `probe`.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut(&str) -> Option<T>) -> T {
        wait::until(what, || probe(&self.log()), || self.log())
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
