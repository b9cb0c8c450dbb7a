//! Kernel modules: what the kernel tells of one that is loaded, and hooks on its functions.

use std::fs;

use serde_json::{Value, json};
use trigon_tests::{
    agent::{Agent, Running},
    command::{Said, said},
    place, wait,
    workload::Workload,
};

use super::objects;

/// The kernel's own functions: what a module and an eBPF program are when they are loaded, and the former when it goes.
const LOADED: &str = r#"
  - {call: layout_symtab, syscall: false, args: [{index: 1}], selectors: [OURS]}
  - {call: do_init_module, syscall: false, args: [{index: 0}], selectors: [OURS]}
  - {call: free_module, syscall: false, args: [{index: 0, type: module}], selectors: [OURS]}
  - {call: security_bpf_prog, syscall: false, args: [{index: 0}], selectors: [OURS]}
"#;

/// Functions of the module. What `cpuid_smp_cpuid` is given the kernel calls `void *`.
const OF_MODULE: &str = r#"
  - {call: cpuid_read, syscall: false, args: [{index: 0}, {index: 2}], return: true, returnArg: {index: 0}, selectors: [OURS]}
  - call: cpuid_smp_cpuid
    syscall: false
    args: [{index: 0, btfType: cpuid_regs_done, btfTypeModule: cpuid, resolve: regs.eax}]
    selectors:
    - matchArgs: [{args: [0], operator: Equal, values: ["2"]}]
      OURS
"#;

/// The same by what sees registers, which is no trampoline.
const BY_REGISTERS: &str = r#"
  - call: cpuid_open
    syscall: false
    args: [{index: 1}]
    data: [{source: pt_regs, resolve: rsi, type: file}]
    selectors: [OURS]
"#;

/// The call that unloads the module, unless somebody uses it (`O_NONBLOCK`).
const UNLOAD: &str = "delete_module @cpuid 0x800";

/// An agent, a program that makes calls, and policies about it.
struct Rig {
    workload: Workload,
    agent: Running,
}

/// It outlives no test, whatever becomes of that.
struct Unloaded<'a>(&'a Rig);

pub(crate) fn loaded_hooked_and_unloaded() {
    let rig = Rig { workload: Workload::new(), agent: Agent::new().start() };
    let _unloaded = Unloaded(&rig);
    let loaded = rig.policy("loaded", LOADED);
    let hooked = rig.policy("hooked", OF_MODULE);
    let optional =
        OF_MODULE.replace("{call: cpuid_read,", "{call: cpuid_read, ignore: {callNotFound: true},");
    let optional = optional.replace("syscall: false\n", "syscall: false\n    ignore: {callNotFound: true}\n");
    let optional = rig.policy("optional", &optional);
    assert_eq!(rig.command(&["add", &loaded]).code, Some(0));

    // Of a module that isn't there nothing can be hooked, and nothing need be.
    let refused = rig.command(&["add", &hooked]);
    assert_eq!(refused.code, Some(7), "{refused:?}");
    assert!(refused.out.contains("nor a module that is loaded tells what cpuid_read takes"), "{refused:?}");
    let left_out = rig.command(&["add", &optional]);
    assert!(left_out.out.ends_with(": partially_enabled optional\n"), "{left_out:?}");

    let path = place::module();
    // `r0 = 0; exit`
    let code = rig.workload.folder().join("code");
    fs::write(&code, [183_u64, 149].map(u64::to_le_bytes).concat()).expect("write a program's instructions");
    let program = objects::program_of("@GPL", "$3", 2);
    let (path, code) = (path.display(), code.display());
    rig.calls(&format!(
        "openat -100 @{path} 0x80000 0 ; finit_module $0 @ 0 ; openat -100 @{code} 0 0 ; mmap 0 4096 1 2 $2 0 ; bpf 5 {program}"
    ));
    let module = [json!([{"module_arg": {"name": "cpuid", "signature_ok": true}}])];
    assert_eq!(rig.args_of("layout_symtab"), module);
    assert_eq!(rig.args_of("do_init_module"), module);
    let program = json!({"ProgType": "BPF_PROG_TYPE_SOCKET_FILTER", "InsnCnt": 2, "ProgName": "probe_me"});
    assert_eq!(rig.args_of("security_bpf_prog"), [json!([{"bpf_prog_arg": program}])]);

    let registers = rig.policy("registers", BY_REGISTERS);
    for file in [&hooked, &registers] {
        let added = rig.command(&["add", file]);
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    assert_eq!(rig.mechanisms("hooked"), ["fentry", "fentry"]);
    // What nobody could tell when it was loaded it isn't told later, and stands in nobody's way.
    assert_eq!(rig.mechanisms("optional"), ["", ""]);
    assert!(rig.mechanisms("registers")[0].starts_with("kprobe"), "{:?}", rig.mechanisms("registers"));
    // Two leaves of what the processor tells, of 16 bytes each, from the second; on that processor itself.
    rig.calls("sched_setaffinity 0 8 [1] ; openat -100 @/dev/cpu/0/cpuid 0 0 ; pread64 $1 #32 32 1");
    let device = "/dev/cpu/0/cpuid";
    let read = rig.events_of("cpuid_read");
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!(
        (&read[0]["args"][0]["file_arg"]["path"], &read[0]["args"][1]),
        (&json!(device), &json!({"size_arg": "32"}))
    );
    assert_eq!(read[0]["return"], json!({"long_arg": "32"}));
    assert_eq!(rig.args_of("cpuid_smp_cpuid"), [json!([{"uint_arg": 2}])]);
    let opened = rig.events_of("cpuid_open");
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(
        (&opened[0]["args"][0]["file_arg"]["path"], &opened[0]["data"][0]["file_arg"]["path"]),
        (&json!(device), &json!(device))
    );

    // A trampoline holds the module.
    let busy = rig.workload.command(["calls"].into_iter().chain(UNLOAD.split(' '))).status();
    assert_eq!(busy.expect("run the program").code(), Some(libc::EAGAIN));
    assert_eq!(rig.command(&["delete", "hooked", "registers"]).code, Some(0));
    rig.unload();
    assert_eq!(rig.args_of("free_module"), module);
    let retried = rig.command(&["add", &hooked]);
    assert_eq!(retried.code, Some(7), "{retried:?}");
}

// === impl Rig ===

impl Rig {
    /// Writes a policy on these functions.
    fn policy(&self, name: &str, kprobes: &str) -> String {
        let ours =
            format!("matchBinaries: [{{operator: In, values: [\"{}\"]}}]", self.workload.program().display());
        let kprobes = kprobes.replace("[OURS]", &format!("[{{{ours}}}]")).replace("OURS", &ours);
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  kprobes:{kprobes}"
        );
        let file = self.workload.folder().join(format!("{name}.yaml"));
        fs::write(&file, text).expect("write a policy");
        file.to_str().expect("a plain path").to_owned()
    }

    /// `trigon policy` with these arguments.
    fn command(&self, arguments: &[&str]) -> Said {
        said(&mut self.agent.command(&[&["policy"], arguments].concat()))
    }

    fn mechanisms(&self, name: &str) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.command(&["list", "-o", "json"]).out).expect("JSON");
        let policies = listed["policies"].as_array().expect("a list");
        let policy = policies.iter().find(|policy| policy["name"] == name).expect("the policy");
        let hooks = policy["hooks"].as_array().expect("hooks").iter();
        hooks.map(|hook| hook["mechanism"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn calls(&self, calls: &str) {
        let words = ["calls"].into_iter().chain(calls.split_whitespace());
        let status = self.workload.command(words).status().expect("run the program");
        assert!(status.success(), "{status:?}: {calls}");
    }

    /// What policies have told of a function: one event at least.
    fn events_of(&self, function: &str) -> Vec<Value> {
        let name = format!("\"function_name\":\"{function}\"");
        let found = || Some(self.agent.lines_with(&name)).filter(|lines| !lines.is_empty());
        let lines = wait::until(&format!("an event of {function}"), found, || self.agent.log());
        lines.iter().map(|line| line.at("").clone()).collect()
    }

    fn args_of(&self, function: &str) -> Vec<Value> {
        self.events_of(function).iter().map(|event| event["args"].clone()).collect()
    }

    /// The kernel lets go of programs some time after they were detached.
    fn unload(&self) {
        let unloaded = || {
            let words = ["calls"].into_iter().chain(UNLOAD.split(' '));
            self.workload.command(words).status().ok().filter(std::process::ExitStatus::success)
        };
        wait::until("the module to be unloaded", unloaded, || self.agent.log());
    }
}

// === impl Unloaded ===

impl Drop for Unloaded<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && fs::exists("/sys/module/cpuid").unwrap_or(false) {
            self.0.command(&["delete", "hooked", "registers", "optional"]);
            let _ = self.0.workload.command(["calls"].into_iter().chain(UNLOAD.split(' '))).status();
        }
    }
}
