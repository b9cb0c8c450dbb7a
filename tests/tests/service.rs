//! The agent under a service manager: what it tells by sd_notify(3), and that it needs no more rights than its unit
//! gives it.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use tempfile::TempDir;
use trigon_tests::{
    agent::Agent,
    place,
    suite::{self, Need},
    wait,
};

const KERNEL: &[Need] = &[Need::Kernel];

/// Only against hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("readiness_life_and_end_are_told", KERNEL, readiness_life_and_end);
        suite.test("an_agent_that_stands_still_does_not_say_that_it_lives", KERNEL, stands_still);
        suite.test("the_rights_of_the_unit_suffice", KERNEL, the_rights_of_the_unit_suffice);
    })
}

/// The socket of a service manager.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
}

// === impl Manager ===

impl Manager {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-notify-").tempdir().expect("make a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bind a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        Self { folder, socket }
    }

    /// An agent that is watched: it is to tell each `WATCHDOG` that it lives.
    fn agent(&self) -> Agent {
        const WATCHDOG: &str = "600000";
        let path = self.folder.path().join("notify");
        Agent::new()
            .environment("NOTIFY_SOCKET", path.to_str().expect("a plain path"))
            .environment("WATCHDOG_USEC", WATCHDOG)
    }

    /// The next message, a line each.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("hear from the agent");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    /// All messages until one has a line.
    fn until(&self, line: &str) -> Vec<Vec<String>> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            if messages.last().is_some_and(|message| message.iter().any(|one| one == line)) {
                return messages;
            }
        }
    }

    /// Those that wait.
    fn rest(&self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).expect("stop waiting");
        let mut messages = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            messages.push(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect());
        }
        self.socket.set_nonblocking(false).expect("wait again");
        messages
    }
}

fn readiness_life_and_end() {
    let manager = Manager::new();
    let agent = manager.agent().start();
    let first = manager.until("READY=1");
    assert!(first.iter().flatten().any(|line| line.starts_with("STATUS=")), "{first:?}");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    agent.stop();
    let messages = manager.until("STOPPING=1");
    assert!(messages.iter().flatten().all(|line| line != "READY=1"), "{messages:?}");
}

/// One thread is held, the reader; the others go on.
fn stands_still() {
    let manager = Manager::new();
    let agent = manager.agent().start();
    manager.until("WATCHDOG=1");
    let reader = reader_of(agent.pid());
    ptrace::seize(reader, ptrace::Options::empty()).expect("seize the reader");
    ptrace::interrupt(reader).expect("interrupt the reader");
    waitpid(reader, Some(WaitPidFlag::__WALL)).expect("wait for the reader to stand still");
    let warned = || agent.log().contains("the reader has stopped turning").then_some(());
    wait::until("the agent's warning", warned, || agent.log());
    manager.rest();
    // One that lives would tell so ten times; for what the reader did before it was held there may be one more.
    thread::sleep(Duration::from_secs(2));
    let told = manager.rest();
    assert!(told.len() < 2, "{told:?}");
    ptrace::detach(reader, None).expect("let the reader go on");
    manager.until("WATCHDOG=1");
    agent.stop();
}

/// The thread of an agent that reads from the kernel.
fn reader_of(agent: u32) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{agent}/task")).expect("list the agent's threads");
    let mut tasks = tasks.map(|task| task.expect("a thread").path());
    let is_reader = |task: &Path| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == "trigon-reader")
    };
    let task = tasks.find(|task| is_reader(task)).expect("a reader");
    let id = task.file_name().and_then(|name| name.to_str()).expect("a number");
    Pid::from_raw(id.parse().expect("a number"))
}

/// The agent with the capabilities that deploy/systemd/trigon.service leaves it.
fn the_rights_of_the_unit_suffice() {
    let unit = include_str!("../../deploy/systemd/trigon.service");
    let set =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a bounding set");
    let names = set.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase());
    let bounding: String = names.map(|name| format!(",+{name}")).collect();
    let under = |program: &str| {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-all{bounding}")).args(["--no-new-privs", program]);
        command
    };
    let mut doctor = under(place::agent().to_str().expect("a plain path"));
    let output = doctor.args(["doctor", "-o", "json"]).output().expect("start trigon doctor");
    let restricted: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let output =
        Command::new(place::agent()).args(["doctor", "-o", "json"]).output().expect("start trigon doctor");
    let unrestricted: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(restricted["verdict"], "ok", "{restricted}");
    // Whoever has not mounted tracefs needs the right to mount it; the unit asks for the mount.
    let tracefs = Path::new("/sys/kernel/tracing/events").is_dir();
    let without = |report: &serde_json::Value| {
        let hooks = report["uses"]["hooks"].as_array().expect("hooks").clone();
        hooks.into_iter().filter(|hook| tracefs || hook["kind"] != "tracepoint").collect::<Vec<_>>()
    };
    assert_eq!(restricted["uses"]["lifecycle"], unrestricted["uses"]["lifecycle"]);
    assert_eq!(without(&restricted), without(&unrestricted));
}
