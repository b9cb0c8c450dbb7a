//! Programs, maps, events, credentials, and what else the kernel has of objects.

use serde_json::{Value, json};

use super::rig::{Rig, words};

/// A program as bpf(2) takes it: BPF_PROG_TYPE_SOCKET_FILTER, its instructions, its licence and its name.
pub(crate) fn program_of(license: &str, instructions: &str, count: u64) -> String {
    let mut attributes = vec![(1 | count << 32).to_string(), instructions.to_owned(), license.to_owned()];
    attributes.extend(["0"; 3].map(str::to_owned));
    attributes.extend(words(b"probe_me\0"));
    attributes.extend(["0"; 8].map(str::to_owned));
    format!("[{}] 128", attributes.join(","))
}

/// A map of hashes with keys of 4 and values of 8 bytes, for 16 entries.
pub(crate) fn map() -> String {
    let mut attributes = vec![(1_u64 | 4 << 32).to_string(), (8_u64 | 16 << 32).to_string(), "0".into()];
    // Its name comes after the node, at the 28th byte.
    attributes.push((u64::from_le_bytes(*b"\0\0\0\0find")).to_string());
    attributes.push((u64::from_le_bytes(*b"_me\0\0\0\0\0")).to_string());
    attributes.extend(["0"; 11].map(str::to_owned));
    format!("[{}] 128", attributes.join(","))
}

pub(crate) fn programs_that_are_loaded() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_bpf
    args: [{index: 0, type: bpf_cmd}, {index: 1, type: bpf_attr}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: ["5"]}]
      OURS
"#,
    );
    // BPF_MAP_FREEZE is not asked for.
    let program = program_of("0", "0", 3);
    let events = rig.calls(&format!("?bpf 5 {program} ; ?bpf 22 {program}"));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        events[0]["args"],
        json!([
            {"bpf_cmd_arg": "BPF_PROG_LOAD"},
            {"bpf_attr_arg": {"ProgType": "BPF_PROG_TYPE_SOCKET_FILTER", "InsnCnt": 3, "ProgName": "probe_me"}},
        ])
    );
}

/// An open file knows what it stands for: a socket, a map, a perf event.
pub(crate) fn what_descriptors_stand_for() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_umask
    args: [{index: 0, type: int}]
    data:
    - {source: current_task, resolve: "files.fdt.fd[100].private_data", type: bpf_map}
    - {source: current_task, resolve: "files.fdt.fd[101].private_data", type: perf_event}
    - {source: current_task, resolve: "files.fdt.fd[102].private_data", type: socket}
    - {source: current_task, resolve: "files.fdt.fd[103].private_data", type: bpf_map, label: nothing}
    selectors:
    - OURS
"#,
    );
    // PERF_TYPE_SOFTWARE of PERF_ATTR_SIZE_VER0 and PERF_COUNT_SW_TASK_CLOCK.
    let event = format!("[{},1,0,0,0,0,0,0]", 1_u64 | 64 << 32);
    let calls = format!(
        "bpf 0 {} ; dup2 $0 100 ; perf_event_open {event} 0 -1 -1 0 ; dup2 $2 101 ; socket 2 2 0 ; dup2 $4 102 ; umask 18",
        map()
    );
    let events = rig.calls(&calls);
    assert_eq!(events.len(), 1, "{events:?}");
    let data = &events[0]["data"];
    assert_eq!(
        data[0],
        json!({"bpf_map_arg": {"MapType": "BPF_MAP_TYPE_HASH", "KeySize": 4, "ValueSize": 8, "MaxEntries": 16, "MapName": "find_me"}})
    );
    assert_eq!(data[1], json!({"perf_event_arg": {"Type": "PERF_TYPE_SOFTWARE", "Config": "1"}}));
    let socket = &data[2]["sock_arg"];
    assert_eq!(
        (&socket["family"], &socket["type"], &socket["protocol"], &socket["state"]),
        (&json!("AF_INET"), &json!("SOCK_DGRAM"), &json!("IPPROTO_UDP"), &json!("TCP_CLOSE"))
    );
    assert_eq!(data[3], json!({"label": "nothing"}));
    assert_eq!(events[0]["args"], json!([{"int_arg": 18}]));
}

pub(crate) fn credentials() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_prctl
    args: [{index: 0, type: int}, {index: 1, type: capability}]
    data:
    - {source: current_task, resolve: cred, type: cred}
    - {source: current_task, resolve: "cred.user_ns"}
    - {source: current_task, resolve: "cred.cap_effective", type: cap_effective}
    - {source: current_task, resolve: "cred.cap_inheritable"}
    - {source: current_task, resolve: "cred.uid", type: uint32}
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: ["21"]}]
      OURS
"#,
    );
    // PR_CAPBSET_READ of CAP_SYS_ADMIN, as user 4242.
    let events = rig.calls("setresgid 77 78 79 ; setresuid 4242 4242 4242 ; prctl 23 21 ; prctl 23 1");
    assert_eq!(events.len(), 1, "{events:?}");
    let (args, data) = (&events[0]["args"], &events[0]["data"]);
    assert_eq!(args[1], json!({"capability_arg": {"value": 21, "name": "CAP_SYS_ADMIN"}}));
    let cred = &data[0]["process_credentials_arg"];
    assert_eq!(
        (&cred["uid"], &cred["fsuid"], &cred["gid"], &cred["egid"], &cred["sgid"]),
        (&json!(4242), &json!(4242), &json!(77), &json!(78), &json!(79))
    );
    assert_eq!(cred["user_ns"]["ns"]["is_host"], true, "{cred}");
    assert_eq!(data[1]["user_ns_arg"], cred["user_ns"]);
    assert_eq!(data[1]["user_ns_arg"]["level"], 0);
    // Who leaves root leaves root's capabilities.
    assert_eq!(data[2], json!({"cap_effective_arg": "0000000000000000"}));
    assert!(data[3]["kernel_cap_t_arg"].as_str().is_some_and(|set| set.len() == 16), "{data}");
    assert_eq!(data[4], json!({"uint_arg": 4242}));
}

pub(crate) fn numbers_of_system_calls() {
    let rig = Rig::new(&format!(
        r#"
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    args: [{{index: 4, type: syscall64}}]
    selectors:
    - matchArgs: [{{index: 4, operator: Equal, values: ["{}"]}}]
      OURS
"#,
        syscall("umask")
    ));
    let events = rig.calls("umask 18");
    let abi = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    let args: Vec<_> = events.iter().map(|event| event["args"].clone()).collect();
    assert_eq!(args, [json!([{"syscall_id": {"id": syscall("umask"), "abi": abi}}])]);
}

fn syscall(name: &str) -> u64 {
    let numbers = if cfg!(target_arch = "x86_64") { [("umask", 95)] } else { [("umask", 166)] };
    numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, number)| *number)
}

pub(crate) fn what_is_executed() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: sched
    event: sched_process_exec
    raw: true
    args:
    - {index: 2, type: linux_binprm}
    - {index: 2, resolve: filename}
    - {index: 2, resolve: "file.f_inode.i_mode", type: uint16}
    - {index: 0, resolve: "real_parent.comm", type: string}
    selectors:
    - matchArgs: [{index: 2, operator: Postfix, values: ["/workload"]}]
"#,
    );
    let events = rig.calls("umask 18");
    assert_eq!(events.len(), 1, "{events:?}");
    let args = &events[0]["args"];
    assert_eq!(args[0]["linux_binprm_arg"]["path"], rig.program());
    assert_eq!(args[0]["linux_binprm_arg"]["permission"], "-rwxr-xr-x");
    assert_eq!(args[1], json!({"string_arg": rig.program()}));
    assert_eq!(args[2], json!({"uint_arg": 0o100_755}));
    // The kernel keeps 15 bytes of a thread's name; the tests run on threads of their own.
    assert!(args[3]["string_arg"].as_str().is_some_and(|name| !name.is_empty()), "{args}");
    assert_eq!(events[0]["args"].as_array().map(Vec::len), Some(4));
    let _: &Value = args;
}
