//! Sockets, packets and addresses.

use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use super::rig::{Rig, ipv4, ipv6, words};

/// A tracepoint that the kernel passes where a connection changes its state.
const ESTABLISHED: &str = r#"
  tracepoints:
  - subsystem: sock
    event: inet_sock_set_state
    raw: true
    args: [{index: 0, label: socket}, {index: 1}, {index: 2}]
    selectors:
    - matchArgs: [{index: 2, operator: Equal, values: ["1"]}]
      OURS
"#;

pub(crate) fn of_a_connection() {
    let rig = Rig::new(ESTABLISHED);
    let (four, six) = (TcpListener::bind("127.0.0.1:0").expect("listen"), TcpListener::bind("[::1]:0"));
    let port = four.local_addr().expect("its address").port();
    let mut calls = format!("socket 2 1 0 ; setsockopt $0 1 12 [6] 4 ; connect $0 {} 16", ipv4(port));
    let six = six.ok().map(|six| (six.local_addr().expect("its address").port(), six));
    if let Some((port, _)) = &six {
        calls.push_str(&format!(" ; socket 10 1 0 ; connect $3 {} 28", ipv6(*port)));
    }
    let events = rig.calls(&calls);
    // The other end's socket is of the same process: the kernel answers itself.
    let to = |address: &str, port: u16| -> Value {
        let is = |event: &&Value| {
            let socket = &event["args"][0]["sock_arg"];
            socket["daddr"] == address && socket["dport"] == port
        };
        events.iter().find(is).unwrap_or_else(|| panic!("{address}:{port} in {events:?}"))["args"].clone()
    };
    let args = to("127.0.0.1", port);
    let socket = &args[0]["sock_arg"];
    assert_eq!(
        (&socket["family"], &socket["type"], &socket["protocol"], &socket["saddr"]),
        (&json!("AF_INET"), &json!("SOCK_STREAM"), &json!("IPPROTO_TCP"), &json!("127.0.0.1"))
    );
    assert_eq!(socket["priority"], 6);
    assert!(socket["sport"].as_u64().is_some_and(|port| port > 1023), "{socket}");
    assert_eq!(args[0]["label"], "socket");
    assert_eq!((&args[1], &args[2]), (&json!({"int_arg": 2}), &json!({"int_arg": 1})));
    if let Some((port, _)) = six {
        let socket = &to("::1", port)[0]["sock_arg"];
        assert_eq!((&socket["family"], &socket["saddr"]), (&json!("AF_INET6"), &json!("::1")));
    }
}

pub(crate) fn packets() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: net
    event: net_dev_queue
    raw: true
    args: [{index: 0}, {index: 0, resolve: dev}, {index: 0, resolve: "dev.ifindex", type: int}]
    selectors:
    - OURS
"#,
    );
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = receiver.local_addr().expect("its address").port();
    let events = rig.calls(&format!("socket 2 2 0 ; sendto $0 #11 11 0 {} 16", ipv4(port)));
    assert_eq!(events.len(), 1, "{events:?}");
    let args = &events[0]["args"];
    let packet = &args[0]["skb_arg"];
    assert_eq!(
        (&packet["saddr"], &packet["daddr"], &packet["dport"], &packet["proto"], &packet["protocol"]),
        (&json!("127.0.0.1"), &json!("127.0.0.1"), &json!(port), &json!(17), &json!("IPPROTO_UDP"))
    );
    // Headers of Ethernet, IP and UDP come before the eleven bytes.
    assert_eq!((&packet["len"], &packet["family"]), (&json!(14 + 20 + 8 + 11), &json!("AF_INET")));
    assert_eq!(args[1], json!({"net_dev_arg": {"name": "lo"}}));
    assert_eq!(args[2], json!({"int_arg": 1}));
}

const CONNECT: &str = r#"
  kprobes:
  - call: sys_connect
    args: [{index: 0, type: int}, {index: 1, type: TYPE}]
    selectors:
    - OURS
"#;

pub(crate) fn addresses() {
    let rig = Rig::new(&CONNECT.replace("TYPE", "sockaddr"));
    let calls =
        format!("socket 2 2 0 ; connect $0 {} 16 ; ?socket 10 2 0 ; ?connect $2 {} 28", ipv4(53), ipv6(5353));
    let events = rig.calls(&calls);
    assert_eq!(events.len(), 2, "{events:?}");
    let address = |event: &Value| event["args"][1]["sockaddr_arg"].clone();
    assert_eq!(address(&events[0]), json!({"family": "AF_INET", "addr": "127.0.0.1", "port": 53}));
    assert_eq!(address(&events[1]), json!({"family": "AF_INET6", "addr": "::1", "port": 5353}));
}

pub(crate) fn unix_addresses() {
    let rig = Rig::new(&CONNECT.replace("TYPE", "sockaddr_un, sizeArgIndex: 3"));
    // What comes after an address is no part of it.
    let address = |path: &[u8]| {
        let bytes = [&1_u16.to_le_bytes()[..], path, b"more"].concat();
        format!("[{}] {}", words(&bytes).join(","), bytes.len() - 4)
    };
    let calls = format!(
        "socket 1 1 0 ; ?connect $0 {} ; ?connect $0 {} ; ?connect $0 0x10 110",
        address(b"/no/such/socket"),
        address(b"\0abstract-name"),
    );
    let events = rig.calls(&calls);
    let found: Vec<_> = events.iter().map(|event| event["args"][1].clone()).collect();
    assert_eq!(
        found,
        [
            json!({"sockaddrun_arg": {"family": "AF_UNIX", "path": "/no/such/socket"}}),
            json!({"sockaddrun_arg": {"family": "AF_UNIX", "path": "@abstract-name"}}),
            // It could not be read, and says so.
            json!({}),
        ]
    );
    assert_eq!(events[2]["trigon"]["args"][0]["unreadable"], true, "{events:?}");
}
