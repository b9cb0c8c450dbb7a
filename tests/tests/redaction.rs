//! Secrets of real processes: nothing of them leaves the agent, by any way. And the variables that are collected.

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use trigon_tests::{
    json::Line,
    otlp::{Attributes as _, Protocol, Receiver},
    policed::Rig as Files,
    rig::Rig,
    suite::{self, Need},
    wait,
    workload::Workload,
};

/// A part of every secret here, and of nothing else on this machine.
const CANARY: &str = "Canary7Bird";

const OPENED: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: opened
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    args:
    - {index: 1, type: string}
    selectors:
    - matchArgs:
      - {index: 1, operator: Prefix, values: ["FOLDER/"]}
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("nothing_of_a_secret_leaves", &[Need::Kernel], nothing_of_a_secret_leaves);
        suite.test("without_redaction_it_does", &[Need::Kernel], without_redaction_it_does);
    })
}

/// A process of the workload with secrets in its arguments and in its environment.
fn leaky(workload: &Workload, deed: &[&str]) -> Command {
    let token = format!("{}p_{CANARY}{}", "gh", "0".repeat(36));
    let mut command = Command::new(workload.program());
    command
        .args(deed)
        .args([format!("--password={CANARY}"), "--token".to_owned(), CANARY.to_owned(), token])
        .arg(format!("https://bob:{CANARY}@example.com/"))
        .env("TRIGON_LANG", "C.UTF-8")
        .env("TRIGON_PASSWORD", CANARY)
        .env("TRIGON_OTHER", CANARY);
    command
}

fn nothing_of_a_secret_leaves() {
    let (workload, files, receiver) = (Workload::new(), Files::new(OPENED), Receiver::open());
    let state = files.path("state");
    // One that is there before the agent.
    let mut early = leaky(&workload, &["live"]);
    let mut early = early.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a process");
    let collect = "[env]\ncollect = [\"TRIGON_LANG\", \"TRIGON_PASSWORD\"]";
    let agent = Rig::agent(&receiver, Protocol::Grpc, "")
        .config(collect)
        .config(&format!("[process_table]\nstate_file = \"{}\"", state.display()))
        .argument("--policy")
        .argument(files.policy.to_str().expect("a plain path"))
        .start();
    leaky(&workload, &["quiet", "0"]).status().expect("run a process");
    let script = format!(
        "{} quiet 0 --secret {CANARY}; curl -u bob:{CANARY} file:///dev/null",
        workload.program().display()
    );
    // Whether there is a curl is of no interest.
    let shell = Command::new("sh").args(["-c", &script]).output().expect("run a shell");
    drop(shell);
    let path = files.path(&format!("{}p_{CANARY}{}", "gh", "0".repeat(36)));
    fs::File::open(path).expect_err("there is no such file");
    drop(early.stdin.take());
    early.wait().expect("wait for a process");

    let tag = workload.tag();
    // Three executions: the early one's exit, and exec and exit of the two others.
    let lines = agent.until_lines(tag, 5);
    receiver.until("log records and spans", |received| {
        (received.logs_of(tag).len() >= 5 && received.spans_of(tag).len() >= 3).then_some(())
    });
    let opened = || Some(agent.lines_with("\"policy_name\":\"opened\"")).filter(|lines| !lines.is_empty());
    let opened = wait::until("the policy's event", opened, || agent.log());
    assert!(opened.iter().any(|line| line.text("/args/0/string_arg").ends_with("/ghp_*****")), "{opened:?}");
    let metrics = agent.metrics();
    assert!(metrics.sum("trigon_redacted_values_total", &[]) >= 10.0, "{metrics}");
    let shells = agent.lines_with("curl -u");
    assert!(
        shells.iter().any(|line| line.text("/process/arguments").contains("curl -u bob:*****")),
        "{shells:?}"
    );

    // What is around the secrets is told, for the early one, too.
    let arguments = "--password=***** --token ***** ghp_***** https://bob:*****@example.com/";
    let told: Vec<_> =
        lines.iter().filter(|line| line.text("/process/arguments").ends_with(arguments)).collect();
    assert_eq!(told.len(), 3, "{lines:?}");
    for line in told {
        assert_eq!(variables(line), ["TRIGON_LANG=C.UTF-8", "TRIGON_PASSWORD=*****"], "{line:?}");
    }
    let received = receiver.received();
    let of = |name: &str| {
        let key = format!("process.environment_variable.{name}");
        received.logs_of(tag).iter().filter_map(|log| log.text(&key).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(of("TRIGON_LANG"), ["C.UTF-8"; 3]);
    assert_eq!(of("TRIGON_PASSWORD"), ["*****"; 3]);

    let metrics = metrics.to_string();
    let ended = agent.stop();
    let kept = fs::read_to_string(state).expect("read the state file");
    let received = format!("{:?}", receiver.received());
    for (way, text) in [
        ("standard output", ended.lines.join("\n")),
        ("OTLP", received),
        ("metrics", metrics),
        ("log", ended.log),
        ("state file", kept),
    ] {
        assert!(!text.contains(CANARY), "a secret left by {way}");
    }
}

/// That the test above looks at the right places.
fn without_redaction_it_does() {
    let (workload, receiver) = (Workload::new(), Receiver::open());
    let agent = Rig::agent(&receiver, Protocol::Http, "").config("[redaction]\nenabled = false").start();
    leaky(&workload, &["quiet", "0"]).status().expect("run a process");
    let lines = agent.until_lines(workload.tag(), 2);
    assert!(lines[0].text("/process/arguments").contains(&format!("--password={CANARY}")), "{lines:?}");
    assert!(variables(&lines[0]).is_empty());
    receiver.until("log records", |received| (received.logs_of(workload.tag()).len() >= 2).then_some(()));
    assert!(format!("{:?}", receiver.received()).contains(CANARY));
    agent.stop();
}

fn variables(line: &Line) -> Vec<String> {
    let list = line.at("/process/environment_variables").as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |pair: &serde_json::Value, key: &str| pair[key].as_str().unwrap_or_default().to_owned();
    list.iter().map(|pair| format!("{}={}", text(pair, "Key"), text(pair, "Value"))).collect()
}
