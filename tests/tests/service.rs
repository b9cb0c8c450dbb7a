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
        signal::{Signal, kill},
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
        suite.test("what_the_pod_sees_of_the_node_suffices", KERNEL, what_the_pod_sees_suffices);
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

/// The capabilities that deploy/systemd/trigon.service leaves the agent, and the chart as well, as setpriv(1) wants them.
fn bounding_set() -> String {
    let unit = include_str!("../../deploy/systemd/trigon.service");
    let set =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a bounding set");
    let names = set.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase());
    names.fold("--bounding-set=-all".to_owned(), |set, name| set + ",+" + &name)
}

/// The agent with these.
fn the_rights_of_the_unit_suffice() {
    let under = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args([&bounding_set(), "--no-new-privs", program]);
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

/// Namespaces and mounts as the chart's pod has them: everything is read-only but the folder `$1`, /sys is a container's,
/// with tracefs; the process ids are the host's. Then a program, with its rights.
const POD: &str = r#"
    folder=$1 rights=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$folder" "$folder"
    mount -o remount,bind,ro /
    mount -t sysfs -o ro none /sys
    mount -t cgroup2 -o ro none /sys/fs/cgroup
    mount -t tracefs none /sys/kernel/tracing
    mount -o remount,bind,ro /sys/kernel/tracing
    if touch "$(dirname "$0")/written" || touch /sys/kernel/tracing/trace; then exit 100; fi
    exec setpriv "$rights" --no-new-privs "$@"
"#;

/// A tracepoint takes tracefs, the others the kernel's types.
const POLICY: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: pod}
spec:
  kprobes: [{call: sys_chdir, syscall: true}]
  tracepoints: [{subsystem: task, event: task_rename}]
";

fn what_the_pod_sees_suffices() {
    let folder = tempfile::Builder::new().prefix("trigon-pod-").tempdir().expect("make a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let config = format!("[process_table]\nstate_file = {:?}\n", path("processes"));
    fs::write(path("config.toml"), config).expect("write the configuration");
    fs::write(path("policy.yaml"), POLICY).expect("write a policy");
    let agent = place::agent();
    let socket = path("trigon.sock");
    let log = fs::File::create(path("log")).expect("make a log");
    let mut pod = Command::new("unshare")
        .args(["--mount", "--net", "--uts", "--ipc", "--cgroup", "sh", "-ec", POD])
        .arg("/bin/sh")
        .args([path("."), bounding_set()])
        .arg(&agent)
        .args(["run", "--output", "none", "--metrics-addr", "0.0.0.0:2112", "--socket", &socket])
        .args(["--config", &path("config.toml"), "--policy", &path("policy.yaml")])
        .env("NODE_NAME", "node-1")
        .stderr(log)
        .spawn()
        .expect("start the agent");
    let said = || fs::read_to_string(path("log")).unwrap_or_default();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(&agent);
        let output = command.args(arguments).args(["--socket", &socket]).output().expect("ask the agent");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let healthy = || {
        let ended = pod.try_wait().expect("ask for the agent's status");
        assert!(ended.is_none(), "{ended:?}: {}", said());
        ask(&["status"])
    };
    let status = wait::until("an agent that is healthy", healthy, said);
    assert!(status.contains(" on node-1, ") && status.contains("tp_btf"), "{status}");
    // What ran before it is known by the ids of the host.
    let tree = ask(&["tree", &std::process::id().to_string()]);
    assert!(tree.is_some_and(|tree| tree.contains("service")), "{}", said());
    let id = Pid::from_raw(pod.id().try_into().expect("a process id"));
    kill(id, Signal::SIGTERM).expect("tell the agent to end");
    let status = pod.wait().expect("wait for the agent");
    assert!(status.success(), "{status}: {}", said());
    assert!(Path::new(&path("processes")).exists(), "what the next agent takes over");
}
