//! `resolve`: ways through the kernel's structs.

use std::fs;

use serde_json::json;

use super::rig::Rig;

pub(crate) fn from_the_task() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_umask
    args:
    - {index: 0, type: int}
    - {source: current_task, resolve: comm, label: name}
    - {source: current_task, resolve: tgid}
    - {source: current_task, resolve: "mm.exe_file"}
    - {source: current_task, resolve: "fs.pwd"}
    data:
    - {source: current_task, resolve: "signal.rlim[7].rlim_cur", type: uint64}
    - {source: current_task, resolve: "nsproxy.uts_ns.name.sysname"}
    - {source: current_task, resolve: "group_leader.comm[1]", type: int8}
    - {source: current_task, resolve: "fs.pwd.dentry", type: dentry}
    - {source: current_task, type: uint64}
    selectors:
    - matchArgs: [{args: [1], operator: Equal, values: ["workload"]}]
      OURS
"#,
    );
    // RLIMIT_NOFILE, of 123 and 456.
    let events = rig.calls("prlimit64 0 7 [123,456] 0 ; umask 18");
    assert_eq!(events.len(), 1, "{events:?}");
    let (args, data) = (&events[0]["args"], &events[0]["data"]);
    assert_eq!(args[1], json!({"string_arg": "workload", "label": "name"}));
    assert_eq!(args[2], json!({"int_arg": events[0]["process"]["pid"]}));
    assert_eq!(args[3]["file_arg"]["path"], rig.program());
    let folder = rig.program().trim_end_matches("/workload").to_owned();
    assert_eq!(args[4], json!({"path_arg": {"path": folder}}));
    assert_eq!(data[0], json!({"size_arg": "123"}));
    assert_eq!(data[1], json!({"string_arg": "Linux"}));
    assert_eq!(data[2], json!({"int_arg": i32::from(b'o')}));
    assert!(data[3]["path_arg"]["path"].as_str().is_some_and(|path| folder.ends_with(path)), "{data}");
    assert!(data[4]["size_arg"].as_str().and_then(|text| text.parse::<u64>().ok()) > Some(1 << 63));
}

/// A struct of the user's, too: the kernel says that `uname` takes a pointer to one.
pub(crate) fn from_an_argument() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_prlimit64
    args:
    - {index: 2, resolve: rlim_cur, btfType: "struct rlimit64"}
    - {index: 2, resolve: rlim_max, btfType: rlimit64, type: uint64}
    - {index: 3, resolve: rlim_max, btfType: rlimit64, type: uint64}
    selectors:
    - matchArgs: [{args: [0], operator: Equal, values: ["123"]}]
      OURS
"#,
    );
    let events = rig.calls("prlimit64 0 7 [124,456] 0 ; prlimit64 0 7 [123,456] 0");
    assert_eq!(events.len(), 1, "{events:?}");
    // There is nothing at NULL.
    assert_eq!(events[0]["args"], json!([{"size_arg": "123"}, {"size_arg": "456"}, {}]));
    assert_eq!(events[0]["trigon"]["args"], json!([{"index": 2, "unreadable": true}]));
}

pub(crate) fn that_lead_nowhere() {
    let refused = |item: &str, reasons: &[&str]| {
        let spec =
            format!("  kprobes:\n  - {{call: sys_umask, args: [{{index: 0, type: int}}], data: [{item}]}}\n");
        let log = Rig::new(&spec).refusal();
        for reason in reasons {
            assert!(log.contains(reason), "{reason}: {log}");
        }
    };
    let task = |rest: &str| format!("{{source: current_task, {rest}}}");
    refused(
        &task("resolve: 'mm.owner.real_parent.com'"),
        &[
            "6:",
            "spec.kprobes[0].data[0].resolve",
            "struct task_struct has no member com",
            "did you mean comm?",
        ],
    );
    refused(&task("resolve: pid.nr"), &["pid is `pid_t`, which has no members"]);
    refused(&task("resolve: comm, type: int"), &["can't be read as int"]);
    refused(&task("resolve: pid, type: file"), &["`pid_t` is there, which can't be read as file"]);
    refused(&task("resolve: 'comm[16]', type: uint8"), &["comm has 16 items"]);
    refused(&task("resolve: se"), &["auto: `struct sched_entity` is there"]);
    refused("{index: 0, resolve: x}", &["argument 0 is `int`", "btfType"]);
    refused("{index: 0, resolve: x, btfType: no_such_struct}", &["no struct no_such_struct"]);
    refused(
        "{index: 0, resolve: x, btfType: file, btfTypeModule: no_such_module}",
        &["read a module's types"],
    );
    refused("{source: pt_regs, resolve: rix}", &["struct pt_regs has no member rix"]);
    let spec = "  fentries:\n  - {call: sys_umask, data: [{source: pt_regs, resolve: rip}]}\n";
    assert!(Rig::new(spec).refusal().contains("only a kprobe sees registers"));
    assert!(fs::exists("/sys/kernel/btf/vmlinux").is_ok());
}
