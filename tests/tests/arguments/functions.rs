//! Functions of the kernel, where they can be hooked.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::{
    objects,
    rig::{Rig, ipv4},
};

/// The first event of a function, by the name of it.
fn of<'a>(events: &'a [Value], function: &str) -> &'a Value {
    let found = events.iter().find(|event| event["function_name"] == function);
    found.unwrap_or_else(|| panic!("{function} in {events:?}"))
}

pub(crate) fn of_sockets() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: security_socket_connect
    syscall: false
    args: [{index: 0}, {index: 1}]
    selectors:
    - OURS
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
    selectors:
    - OURS
  - call: dev_hard_start_xmit
    syscall: false
    args: [{index: 0}, {index: 1}]
    selectors:
    - OURS
"#,
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("its address").port();
    let events = rig.calls(&format!("socket 2 1 0 ; connect $0 {} 16", ipv4(port)));
    let args = &of(&events, "security_socket_connect")["args"];
    assert_eq!(args[0]["sock_arg"]["type"], "SOCK_STREAM");
    assert_eq!(args[1], json!({"sockaddr_arg": {"family": "AF_INET", "addr": "127.0.0.1", "port": port}}));
    let socket = &of(&events, "tcp_connect")["args"][0]["sock_arg"];
    assert_eq!((&socket["daddr"], &socket["dport"]), (&json!("127.0.0.1"), &json!(port)));
    assert_eq!(socket["state"], "TCP_SYN_SENT");
    let args = &of(&events, "dev_hard_start_xmit")["args"];
    assert_eq!(
        (&args[0]["skb_arg"]["protocol"], &args[1]),
        (&json!("IPPROTO_TCP"), &json!({"net_dev_arg": {"name": "lo"}}))
    );
}

pub(crate) fn of_credentials() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: commit_creds
    syscall: false
    args: [{index: 0}]
    selectors:
    - OURS
  - call: cap_capable
    syscall: false
    args: [{index: 0, type: nop}, {index: 1}, {index: 2, type: capability}]
    selectors:
    - matchArgs: [{index: 2, operator: Equal, values: ["7"]}]
      OURS
  - call: security_capset
    syscall: false
    args:
    - {index: 2, type: cap_effective}
    - {index: 3, type: cap_inheritable}
    - {index: 4, type: cap_permitted}
    selectors:
    - OURS
"#,
    );
    // _LINUX_CAPABILITY_VERSION_3 of this process; CAP_CHOWN and CAP_KILL.
    let header = i64::from(0x2008_0522_u32);
    let set = (1_u64 | 1 << 5) | (1 | 1 << 5) << 32;
    let events = rig.calls(&format!("setuid 77 ; ?capset [{header}] [{set},0,0]"));
    let credentials = &of(&events, "commit_creds")["args"][0]["process_credentials_arg"];
    assert_eq!((&credentials["uid"], &credentials["euid"]), (&json!(77), &json!(77)));
    let args = &of(&events, "cap_capable")["args"];
    assert_eq!(args[0]["user_ns_arg"]["ns"]["is_host"], true, "{args}");
    assert_eq!(args[1], json!({"capability_arg": {"value": 7, "name": "CAP_SETUID"}}));
    let args = &of(&events, "security_capset")["args"];
    assert_eq!(
        *args,
        json!([
            {"cap_effective_arg": "0000000000000021"},
            {"cap_inheritable_arg": "0000000000000000"},
            {"cap_permitted_arg": "0000000000000021"},
        ])
    );
}

pub(crate) fn of_programs() {
    let map_function = |name: &str| {
        format!(
            "  - call: {name}\n    syscall: false\n    ignore: {{callNotFound: true}}\n    args: [{{index: 0}}]\n    selectors:\n    - OURS\n"
        )
    };
    let rig = Rig::new(&format!(
        r#"
  kprobes:
  - call: bpf_check
    syscall: false
    args: [{{index: 1}}]
    selectors:
    - OURS
  - call: security_perf_event_alloc
    syscall: false
    args: [{{index: 0}}]
    selectors:
    - OURS
{}{}"#,
        map_function("security_bpf_map_alloc"),
        map_function("security_bpf_map_create")
    ));
    let event = format!("[{},1,0,0,0,0,0,0]", 1_u64 | 64 << 32);
    // Two instructions that are none: bpf_check is asked, and says so.
    let program = objects::program_of("@GPL", "#16", 2);
    let calls = format!("bpf 0 {} ; perf_event_open {event} 0 -1 -1 0 ; ?bpf 5 {program}", objects::map());
    let events = rig.calls(&calls);
    let attributes = &of(&events, "bpf_check")["args"][0]["bpf_attr_arg"];
    assert_eq!(
        *attributes,
        json!({"ProgType": "BPF_PROG_TYPE_SOCKET_FILTER", "InsnCnt": 2, "ProgName": "probe_me"})
    );
    let event = &of(&events, "security_perf_event_alloc")["args"][0]["perf_event_arg"];
    assert_eq!((&event["Type"], &event["Config"]), (&json!("PERF_TYPE_SOFTWARE"), &json!("1")));
    let map = events.iter().find_map(|event| event["args"][0].get("bpf_map_arg")).expect("a map");
    assert_eq!((&map["MapType"], &map["KeySize"]), (&json!("BPF_MAP_TYPE_HASH"), &json!(4)));
}

/// Writing to a file: by the file of its struct kiocb, and the bytes of its struct iov_iter.
pub(crate) fn of_files() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: generic_write_checks
    syscall: false
    args: [{index: 0}, {index: 1}]
    selectors:
    - matchArgs: [{index: 0, operator: Postfix, values: ["/written"]}]
      OURS
"#,
    );
    let path = rig.program().replace("/workload", "/written");
    let calls = format!("openat -100 @{path} 0x41 420 ; write $0 @five5 5 ; writev $0 [@ab,2,@cde,3] 2");
    let events = rig.calls(&calls);
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|event| event["args"][0]["file_arg"]["path"] == path.as_str()), "{events:?}");
    assert_eq!(events[0]["args"][1], json!({"bytes_arg": "Zml2ZTU="}));
    assert_eq!(events[1]["args"][1], json!({"bytes_arg": "YWJjZGU="}));
}

pub(crate) fn registers() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: fd_install
    syscall: false
    args:
    - {index: 0, type: int}
    data:
    - {source: pt_regs, resolve: rdi, type: int}
    - {source: pt_regs, resolve: rsp}
    - {source: pt_regs, resolve: rsi, type: file}
    selectors:
    - OURS
"#,
    );
    let events = rig.calls(&format!("openat -100 @{} 0 0", rig.program()));
    let event = events.last().expect("an event");
    assert_eq!(event["args"][0], event["data"][0]);
    assert!(event["data"][1]["size_arg"].as_str().and_then(|text| text.parse::<u64>().ok()) > Some(1 << 63));
    assert_eq!(event["data"][2]["file_arg"]["path"], rig.program());
}

/// What it was given is kept until it returns; what it returns may be an object.
pub(crate) fn at_the_return() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: inet_csk_accept
    syscall: false
    args: [{index: 0, type: sock, label: listener}]
    return: true
    returnArg: {index: 0, type: sock}
    selectors:
    - OURS
"#,
    );
    // Listening and connecting in one process: the kernel completes the connection by itself.
    let port = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("its address").port();
    let calls = format!(
        "socket 2 1 0 ; bind $0 {address} 16 ; listen $0 1 ; socket 2 1 0 ; connect $3 {address} 16 ; accept $0 0 0",
        address = ipv4(port)
    );
    let events = rig.calls(&calls);
    assert_eq!(events.len(), 1, "{events:?}");
    let listener = &events[0]["args"][0]["sock_arg"];
    assert_eq!((&listener["sport"], &listener["state"]), (&json!(port), &json!("TCP_LISTEN")));
    let accepted = &events[0]["return"]["sock_arg"];
    assert_eq!((&accepted["sport"], &accepted["state"]), (&json!(port), &json!("TCP_ESTABLISHED")));
    assert!(accepted["dport"].as_u64().is_some_and(|port| port > 1023), "{accepted}");
}
