//! The agent under test: the real program, with a configuration and ports of its own.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{exposition::Exposition, http, json::Line, place, wait};

/// How an agent is started.
#[derive(Debug)]
pub struct Agent {
    output: &'static str,
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    etc: Option<PathBuf>,
}

/// An agent that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    folder: TempDir,
    metrics: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// What an agent that ended left.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, a line each.
    pub lines: Vec<String>,
    /// Its log.
    pub log: String,
}

/// Its socket, in its folder. Agents of one machine must not share one.
const SOCKET: &str = "trigon.sock";

// === impl Agent ===

impl Agent {
    /// An agent with JSON lines on its standard output and no OTLP endpoint.
    pub fn new() -> Self {
        Self {
            output: "json",
            config: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            etc: None,
        }
    }

    /// What it writes to standard output instead of JSON lines.
    pub fn output(mut self, output: &'static str) -> Self {
        self.output = output;
        self
    }

    /// Adds to its configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Adds an argument of its command line.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds to its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Has it see a folder in the place of `/etc`: another `resolv.conf`, for one.
    pub fn etc(mut self, folder: &Path) -> Self {
        self.etc = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until it sees every event.
    pub fn start(self) -> Running {
        let mut running = self.spawn();
        let ready = format!("http://{}/readyz", running.metrics);
        let answered = || {
            if let Some(status) = running.child.try_wait().expect("ask for the agent's status") {
                panic!("the agent ended before it was ready: {status}; its log:\n{}", log(&running.folder));
            }
            http::get(&ready, &[]).ok()
        };
        wait::until("the agent's /readyz", answered, || format!("its log:\n{}", log(&running.folder)));
        running
    }

    /// Starts it and waits for nothing: one that is expected to end by itself.
    pub fn spawn(self) -> Running {
        let folder = tempfile::Builder::new().prefix("trigon-agent-").tempdir().expect("make a folder");
        let metrics = place::free_address();
        let config = config_path(&folder);
        std::fs::write(&config, &self.config).expect("write the configuration");
        let mut command = match &self.etc {
            None => Command::new(place::agent()),
            // The shell becomes the agent: it has the process that is told to end.
            Some(etc) => {
                let mut command = Command::new("unshare");
                command.args(["-m", "sh", "-c", "mount -o bind \"$0\" /etc && exec \"$@\""]);
                command.arg(etc).arg(place::agent());
                command
            }
        };
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(&config)
            .args(["-o", self.output, "--metrics-addr", &metrics.to_string()])
            .args(&self.arguments)
            .env_clear()
            .env("TRIGON_SOCKET", folder.path().join(SOCKET))
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log_path(&folder)).expect("make the agent's log"))
            .spawn()
            .expect("start the agent");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let written = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.expect("the agent's output is UTF-8");
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Running { child, folder, metrics, lines, reader: Some(reader) }
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Running ===

impl Running {
    /// Where it serves `/metrics`.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Its local API's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// `trigon` with these arguments, for this agent.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(place::agent());
        command.args(arguments).env("TRIGON_SOCKET", self.socket());
        command
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        config_path(&self.folder)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Exposition {
        let url = format!("http://{}/metrics", self.metrics);
        let text = http::get(&url, &[]).unwrap_or_else(|error| panic!("{error}; {}", self.describe()));
        Exposition::parse(&text)
    }

    /// Waits until `/metrics` satisfies `probe`.
    pub fn until_metrics<T>(&self, what: &str, mut probe: impl FnMut(&Exposition) -> Option<T>) -> T {
        wait::until(what, || probe(&self.metrics()), || format!("{}\n{}", self.metrics(), self.describe()))
    }

    /// The JSON lines so far of processes whose program's path contains `tag`.
    pub fn lines_of(&self, tag: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Most lines are about others: they are not worth a parser's time.
        let parsed = lines.iter().filter(|line| line.contains(tag)).map(|line| Line::parse(line));
        parsed.filter(|line| line.text("/process/binary").contains(tag)).collect()
    }

    /// The JSON lines so far that contain a text.
    pub fn lines_with(&self, text: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(text)).map(|line| Line::parse(line)).collect()
    }

    /// Waits until there are `count` JSON lines of `tag`.
    pub fn until_lines(&self, tag: &str, count: usize) -> Vec<Line> {
        let enough = || Some(self.lines_of(tag)).filter(|lines| lines.len() >= count);
        let seen = || format!("{} lines; {}", self.lines_of(tag).len(), self.describe());
        wait::until(&format!("{count} lines of {tag}"), enough, seen)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    fn describe(&self) -> String {
        format!("the agent's log:\n{}", self.log())
    }

    /// Tells it to read its configuration again (SIGHUP).
    pub fn reload(&self) {
        kill(self.id(), Signal::SIGHUP).expect("send SIGHUP to the agent");
    }

    /// Tells it to end (SIGTERM) and waits for that.
    ///
    /// # Panics
    /// Where it doesn't exit with status 0.
    pub fn stop(self) -> Ended {
        kill(self.id(), Signal::SIGTERM).expect("send SIGTERM to the agent");
        let ended = self.wait();
        assert!(ended.status.success(), "the agent ended with {}; its log:\n{}", ended.status, ended.log);
        ended
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(self) -> Ended {
        kill(self.id(), Signal::SIGKILL).expect("send SIGKILL to the agent");
        let ended = self.wait();
        assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "its log:\n{}", ended.log);
        ended
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Ended {
        let ended = || self.child.try_wait().expect("ask for the agent's status");
        let status = wait::until("the end of the agent", ended, || log(&self.folder));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read the agent's output");
        }
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        Ended { status, lines, log: self.log() }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_path(folder: &TempDir) -> PathBuf {
    folder.path().join("config.toml")
}

fn log_path(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(log_path(folder)).unwrap_or_else(|error| format!("(no log: {error})"))
}
