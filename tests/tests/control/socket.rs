//! The socket: who may use it, and what clients may do to it.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    process::Command,
};

use trigon_tests::{
    agent::Agent,
    command::{as_nobody, said},
    place,
    suite::Suite,
};

use crate::{
    KERNEL,
    rig::{Rig, opens_of},
};

pub fn tests(suite: &mut Suite) {
    suite.test("the_socket_is_the_agents_own", KERNEL, the_socket_is_the_agents_own);
    suite.test("a_client_says_that_no_agent_runs", KERNEL, a_client_says_that_no_agent_runs);
    suite.test("a_dead_agents_socket_is_replaced", KERNEL, a_dead_agents_socket_is_replaced);
    suite.test("a_living_agents_socket_is_not", KERNEL, a_living_agents_socket_is_not);
    suite.test("clients_are_bounded", KERNEL, clients_are_bounded);
    suite.test("an_agent_can_do_without", KERNEL, an_agent_can_do_without);
}

fn the_socket_is_the_agents_own() {
    let rig = Rig::new();
    let socket = rig.agent.socket();
    let found = fs::symlink_metadata(&socket).expect("the socket is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    // A copy that others can execute, and a way for them to the socket.
    let program = rig.path("trigon");
    fs::copy(place::agent(), &program).expect("copy the program");
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod")
    };
    open(rig.folder.path(), 0o755);
    open(&program, 0o755);
    open(socket.parent().expect("a folder"), 0o755);
    let of_nobody = || {
        let mut command = Command::new(&program);
        command.args(["policy", "list", "--socket"]).arg(&socket);
        said(as_nobody(&mut command))
    };
    let refused = of_nobody();
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.err.contains("not permitted") && refused.err.contains("as root"), "{refused:?}");
    // Where the file's mode lets them in, the agent doesn't.
    open(&socket, 0o666);
    let refused = of_nobody();
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.err.contains("only root and the agent's own user"), "{refused:?}");
    assert_eq!(rig.done(&["list"]), "no policies\n");
    rig.agent.stop();
    assert!(!socket.exists(), "it goes with the agent");
}

fn a_client_says_that_no_agent_runs() {
    let folder = tempfile::tempdir().expect("make a folder");
    let socket = folder.path().join("trigon.sock");
    let ask = || {
        let mut command = Command::new(place::agent());
        command.args(["policy", "list", "--socket"]).arg(&socket);
        said(&mut command)
    };
    for what in ["nothing is there", "nobody listens"] {
        let said = ask();
        assert_eq!(said.code, Some(8), "{what}: {said:?}");
        assert!(said.err.contains("no agent runs here") && said.err.contains("--socket"), "{said:?}");
        drop(UnixListener::bind(&socket));
    }
}

fn a_dead_agents_socket_is_replaced() {
    let folder = tempfile::tempdir().expect("make a folder");
    let socket = folder.path().join("made/trigon.sock");
    let path = socket.to_str().expect("a plain path");
    let start = || Agent::new().argument("--socket").argument(path);
    let list = || {
        let mut command = Command::new(place::agent());
        command.args(["policy", "list", "--socket", path]);
        said(&mut command)
    };
    let first = start().start();
    assert_eq!(list().code, Some(0));
    first.kill();
    assert!(socket.exists());
    assert_eq!(list().code, Some(8));
    let second = start().start();
    assert_eq!(list().code, Some(0));
    second.stop();
}

fn a_living_agents_socket_is_not() {
    let rig = Rig::new();
    let socket = rig.agent.socket();
    let path = socket.to_str().expect("a plain path");
    let second = Agent::new().argument("--socket").argument(path).spawn().wait();
    assert_eq!(second.status.code(), Some(6), "{}", second.log);
    let named = format!("another agent (pid {}) listens on {path}", rig.agent.pid());
    assert!(second.log.contains(&named) && second.log.contains("[api] socket"), "{}", second.log);
    let file = rig.write("file", "precious");
    let third = Agent::new().argument("--socket").argument(file.as_str()).spawn().wait();
    assert_eq!(third.status.code(), Some(6), "{}", third.log);
    let fourth = Agent::new().argument("--socket").argument("/proc/trigon/trigon.sock").spawn().wait();
    assert_eq!(fourth.status.code(), Some(6), "{}", fourth.log);
    assert!(fourth.log.contains("[api] socket"), "{}", fourth.log);
    assert_eq!(rig.done(&["list"]), "no policies\n", "the first one is as it was");
    rig.agent.stop();
}

/// What the agent answers to bytes.
fn answer(rig: &Rig, head: &str, body: &[u8]) -> String {
    let mut stream = UnixStream::connect(rig.agent.socket()).expect("connect");
    stream.write_all(head.as_bytes()).expect("send a head");
    // It may have answered, and closed, before it has all.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn clients_are_bounded() {
    let rig = Rig::new();
    // They say nothing, or half of something.
    let mut slow: Vec<_> =
        (0..16).map(|_| UnixStream::connect(rig.agent.socket()).expect("connect")).collect();
    slow[0]
        .write_all(b"POST /v1/policies HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nkind:")
        .expect("send");
    assert_eq!(rig.done(&["list"]), "no policies\n");
    let post =
        |length: usize| format!("POST /v1/policies HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let large = vec![b'#'; 2 << 20];
    let told = answer(&rig, &post(large.len()), &large);
    assert!(told.starts_with("HTTP/1.1 413") && told.contains("too long for a policy file"), "{told}");
    let told = answer(&rig, &post(4), &[0xff; 4]);
    assert!(told.starts_with("HTTP/1.1 422") && told.contains("this isn't UTF-8"), "{told}");
    let told = answer(&rig, "GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n", b"");
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"version\""), "{told}");
    assert!(answer(&rig, "GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n", b"").starts_with("HTTP/1.1 404"));
    assert!(answer(&rig, "PUT /v1/policies HTTP/1.1\r\nhost: x\r\n\r\n", b"").starts_with("HTTP/1.1 405"));
    let file = rig.write("large.yaml", &"#".repeat(2 << 20));
    let said = rig.policy(&["add", &file]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("large.yaml:1:1: error: this is too long"), "{said:?}");
    rig.agent.stop();
}

fn an_agent_can_do_without() {
    let rig = Rig::with(|folder| {
        let file = folder.join("p.yaml");
        fs::write(&file, opens_of("one", &folder.join("one"))).expect("write a policy");
        Agent::new()
            .argument("--socket")
            .argument("")
            .argument("--policy")
            .argument(file.to_str().expect("a plain path"))
    });
    assert!(!rig.agent.socket().exists());
    assert_eq!(rig.opened("one"), 1, "policies of the command line are there");
    rig.agent.stop();
}
