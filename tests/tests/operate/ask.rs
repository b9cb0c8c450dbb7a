//! Commands that ask the agent, and what they say where there is none, or none that answers them.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    thread,
};

use serde_json::Value;
use trigon_tests::{
    agent::{Agent, Running},
    command::{Said, as_nobody, said},
    otlp::Receiver,
    place,
    suite::Suite,
    wait,
    workload::Workload,
};

use crate::KERNEL;

/// Each command that asks the agent.
const COMMANDS: [&[&str]; 5] = [&["status"], &["tree"], &["trace", "1"], &["events"], &["policy", "list"]];

pub fn tests(suite: &mut Suite) {
    suite.test("status_says_what_is_well_and_what_is_not", KERNEL, status_says_what_is_well);
    suite.test("a_tree_shows_who_started_whom", KERNEL, a_tree_shows_who_started_whom);
    suite.test("a_trace_outlives_its_processes", KERNEL, a_trace_outlives_its_processes);
    suite.test("nobody_may_ask", KERNEL, nobody_may_ask);
    suite.test("without_an_agent_every_command_says_so", &[], without_an_agent);
    suite.test("another_version_is_named_and_asked_all_the_same", &[], another_version);
    suite.test("an_answer_that_is_none_is_an_error", &[], an_answer_that_is_none);
}

/// The JSON that a command prints; its exit code is not looked at.
pub fn json(agent: &Running, arguments: &[&str]) -> Value {
    let said = said(&mut agent.command(&[arguments, &["-o", "json"]].concat()));
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"))
}

fn status_says_what_is_well() {
    let mut receiver = Receiver::open();
    let agent = Agent::new().argument("--otlp-endpoint").argument(receiver.endpoint()).start();
    wait::until(
        "exports that went well",
        || {
            let status = json(&agent, &["status"]);
            let exports = status["exports"].as_array().expect("a list").clone();
            let logs = exports.iter().find(|export| export["name"] == "otlp_logs")?.clone();
            (status["healthy"] == true && logs["last_success"].is_string()).then_some(())
        },
        || format!("{}; the agent's log:\n{}", json(&agent, &["status"]), agent.log()),
    );
    let text = said(&mut agent.command(&["status"]));
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains(": healthy\n") && text.out.contains("stdout: ok"), "{text:?}");
    // A way out that fails is what is wrong.
    receiver.close();
    let failing = || Some(said(&mut agent.command(&["status"]))).filter(|said| said.code == Some(1));
    let said = wait::until("an agent that is not healthy", failing, || agent.log());
    assert!(said.out.contains("NOT healthy") && said.out.contains("! otlp_"), "{said:?}");
    receiver.reopen();
    let well = || (json(&agent, &["status"])["healthy"] == true).then_some(());
    wait::until("an agent that is healthy again", well, || agent.log());
    agent.stop();
}

fn a_tree_shows_who_started_whom() {
    let agent = Agent::new().start();
    let workload = Workload::new();
    let alive = workload.live();
    let own = std::process::id();
    let pid = alive.fact.pid;
    let tree = said(&mut agent.command(&["tree", &own.to_string()]));
    assert_eq!(tree.code, Some(0), "{tree:?}");
    let line = |pid: u32| {
        let start = format!("{pid} ");
        tree.out.lines().find(|line| line.trim_start().starts_with(&start)).map(str::to_owned)
    };
    let child = line(pid).unwrap_or_else(|| panic!("no {pid} in {tree:?}"));
    assert!(child.contains("─ ") && child.contains(workload.tag()), "{child}");
    let list = json(&agent, &["tree", &pid.to_string()]);
    let processes = list["processes"].as_array().expect("a list");
    assert_eq!(processes[0]["pid"], pid, "{list}");
    let exec_id = processes[0]["exec_id"].as_str().expect("an id").to_owned();
    alive.finish();
    // It ended a moment ago, and is shown with how.
    let ended = || {
        let list = json(&agent, &["tree", &exec_id]);
        let end = list["processes"][0]["end"].clone();
        (!end.is_null()).then_some(end)
    };
    let end = wait::until("the end of a process", ended, || agent.log());
    assert!(end["how"]["exit_code"].is_number() || end["how"]["signal"].is_string(), "{end}");
    let unknown = said(&mut agent.command(&["tree", "4194999"]));
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(said(&mut agent.command(&["tree", "--all"])).out.lines().count() > 2);
    agent.stop();
}

fn a_trace_outlives_its_processes() {
    // What ended is forgotten by the table at once: only the recent past has it.
    let agent = Agent::new().config("[process_table]\nlinger = \"0s\"").start();
    let workload = Workload::new();
    workload.run("tree 2 2");
    let lines = agent.until_lines(workload.tag(), 14);
    let root = lines[0].text("/process/exec_id").to_owned();
    let trace = wait::until(
        "the whole trace",
        || {
            let trace = json(&agent, &["trace", &root]);
            let spans = trace["spans"].as_array()?.clone();
            let ours = spans.iter().filter(|span| {
                let command = span["process"]["command"].as_str().unwrap_or_default();
                command.contains(workload.tag()) && !span["process"]["end"].is_null()
            });
            (ours.count() >= 7).then_some(trace)
        },
        || agent.log(),
    );
    let id = trace["trace_id"].as_str().expect("an id");
    let by_id = said(&mut agent.command(&["trace", id]));
    assert_eq!(by_id.code, Some(0), "{by_id:?}");
    assert!(by_id.out.starts_with(&format!("trace {id}: ")) && by_id.out.contains('█'), "{by_id:?}");
    let none = said(&mut agent.command(&["trace", &"0123456789abcdef".repeat(2)]));
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("nothing is known of that trace"), "{none:?}");
    agent.stop();
}

fn nobody_may_ask() {
    let agent = Agent::new().start();
    let folder = tempfile::Builder::new().prefix("trigon-operate-").tempdir().expect("make a folder");
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).expect("chmod");
    let program = folder.path().join("trigon");
    fs::copy(place::agent(), &program).expect("copy the program");
    let socket = agent.socket();
    [folder.path(), &program, socket.parent().expect("a folder")].into_iter().for_each(open);
    for arguments in COMMANDS {
        let mut command = Command::new(&program);
        command.args(arguments).arg("--socket").arg(&socket);
        let refused = said(as_nobody(&mut command));
        assert_eq!(refused.code, Some(4), "{arguments:?}: {refused:?}");
        assert!(refused.err.contains("not permitted") && refused.err.contains("as root"), "{refused:?}");
    }
    agent.stop();
}

/// What each command says of a socket.
fn each_on(socket: &Path) -> impl Iterator<Item = (&'static [&'static str], Said)> + '_ {
    COMMANDS.into_iter().map(move |arguments| {
        let mut command = Command::new(place::agent());
        command.args(arguments).arg("--socket").arg(socket);
        (arguments, said(&mut command))
    })
}

fn without_an_agent() {
    let folder = tempfile::tempdir().expect("make a folder");
    let socket = folder.path().join("trigon.sock");
    for what in ["nothing is there", "nobody listens"] {
        for (arguments, said) in each_on(&socket) {
            assert_eq!(said.code, Some(8), "{what}, {arguments:?}: {said:?}");
            assert!(said.err.contains("no agent runs here") && said.err.contains("--socket"), "{said:?}");
        }
        drop(UnixListener::bind(&socket));
    }
}

/// Answers every request on a socket with the same bytes.
fn answering(socket: &Path, answer: &'static str) {
    let listener = UnixListener::bind(socket).expect("listen");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: UnixStream = stream.expect("a connection");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

fn another_version() {
    let folder = tempfile::tempdir().expect("make a folder");
    let socket = folder.path().join("trigon.sock");
    answering(
        &socket,
        "HTTP/1.1 200 OK\r\nserver: trigon/9.9.9\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"policies\":[]}",
    );
    let mut command = Command::new(place::agent());
    let listed = said(command.args(["policy", "list", "--socket"]).arg(&socket));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.err.contains("the agent is of version 9.9.9"), "{listed:?}");
    // What it says means something else to this one.
    for arguments in [&["status"][..], &["tree"]] {
        let mut command = Command::new(place::agent());
        let said = said(command.args(arguments).arg("--socket").arg(&socket));
        assert_eq!(said.code, Some(8), "{arguments:?}: {said:?}");
        assert!(said.err.contains("9.9.9") && said.err.contains("gave no answer"), "{said:?}");
    }
}

fn an_answer_that_is_none() {
    let folder = tempfile::tempdir().expect("make a folder");
    let answers = ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{\"p"];
    for (index, answer) in answers.into_iter().enumerate() {
        let socket = folder.path().join(format!("{index}.sock"));
        answering(&socket, answer);
        for (arguments, said) in each_on(&socket).filter(|(arguments, _)| **arguments != ["events"]) {
            assert_eq!(said.code, Some(8), "{answer:?}, {arguments:?}: {said:?}");
            assert!(said.err.contains("gave no answer"), "{said:?}");
        }
    }
}
