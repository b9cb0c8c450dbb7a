//! Rotel, an OTLP agent that this project didn't write, as a receiver. `scripts/setup test` installs it.

use std::{
    collections::BTreeMap,
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

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A log record.
    LogRecord,
    /// A span.
    Span,
}

/// A record's fields and attributes by name, as rotel writes them: `Name`, `Span ID`, `process.pid`.
pub type Record = BTreeMap<String, String>;

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
        let log = || {
            File::options().create(true).append(true).open(folder.path().join("log")).expect("make its log")
        };
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

    /// Waits until it has received `count` records of a kind that hold `text` somewhere.
    pub fn until(&self, kind: Kind, text: &str, count: usize) -> Vec<Record> {
        let enough = || Some(records(&self.log(), kind, text)).filter(|records| records.len() >= count);
        wait::until(&format!("{count} {kind:?} with {text}"), enough, || self.log())
    }

    /// What it has received, as it writes it down.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log"))
            .unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log is a list of lines: `Span #0`, then a `name: value` for each field.
fn records(log: &str, wanted: Kind, text: &str) -> Vec<Record> {
    let mut records: Vec<(Kind, Record)> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let begins = [(Kind::LogRecord, "LogRecord #"), (Kind::Span, "Span #")];
        if let Some((kind, _)) = begins.iter().find(|(_, heading)| line.starts_with(heading)) {
            records.push((*kind, Record::new()));
            inside = true;
        } else if line.starts_with("Resource") || line.starts_with("Scope") {
            inside = false;
        } else if let (true, Some((_, record)), Some((name, value))) =
            (inside, records.last_mut(), line.split_once(": "))
        {
            record.insert(name.trim_start_matches([' ', '-', '>']).trim_end().to_owned(), value.to_owned());
        }
    }
    let holds = |record: &Record| record.values().any(|value| value.contains(text));
    records
        .into_iter()
        .filter(|(kind, record)| *kind == wanted && holds(record))
        .map(|(_, record)| record)
        .collect()
}
