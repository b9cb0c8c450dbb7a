//! Every fault and what is said of it: one snapshot a part of the language.

use std::fmt::Write as _;

use super::{
    super::{Rules, check_text},
    policy, selectors, written,
};

/// The faults of each text, after what is particular in it.
fn table(texts: &[(String, &str)]) -> String {
    let mut table = String::new();
    for (text, shown) in texts {
        let checked = check_text(text);
        let faults = written(&checked);
        assert!(!faults.is_empty(), "nothing is wrong with:\n{text}");
        assert!(checked.errors == 0 || checked.policies.is_empty());
        writeln!(table, "{}\n{faults}", shown.trim_end()).unwrap();
    }
    table
}

fn table_of(wrap: fn(&str) -> String, parts: &[&'static str]) -> String {
    let texts = parts.iter().map(|part| (wrap(part), *part)).collect::<Vec<_>>();
    table(&texts)
}

fn whole(text: &str) -> String {
    text.to_owned()
}

#[test]
fn documents() {
    let table = table_of(
        whole,
        &[
            "",
            "- a\n",
            "just text\n",
            "a: [1\n",
            "a: 'x\n",
            "\tkind: x\n",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec: {}\n",
            "apiVersion: cilium.io/v1alpha2\nkind: TracingPolicie\nmetadata: {}\n",
            "apiVersion: trigon.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: x, namespace: y}\nspec: {kprobes: [{call: sys_read}]}\n",
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: Not_a_Name\n  lables: {}\nspec: {kprobe: []}\n",
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: a}\nspec: {kprobes: [{call: sys_a}]}\n---\napiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: a}\nspec: {kprobes: [{call: sys_a}]}\n",
            "a: [\n---\napiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: b}\nspec: {kprobes: [{call: b}]}\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn specs() {
    let table = table_of(
        policy,
        &[
            "",
            "  {}",
            "  options: [{name: disable-kprobe-multi, value: \"1\"}]\n",
            "  options: [{name: disable-kprobe-multi, value: maybe}, {name: policy-mode, value: monitor}, {name: mode}, {value: 1}]\n",
            "  lists: [{name: a, type: syscalls, values: [open, sys_read]}, {type: other}, {name: a, values: [x]}, {name: a, values: [y]}, {name: c}]\n",
            "  lists: [{name: calls, type: syscalls, values: [sys_read]}]\n  kprobes: [{call: 'list:call'}, {call: 'list:other'}]\n",
            "  lists: [{name: all, type: generated_syscalls, values: [sys_read]}, {name: f, type: generated_ftrace}, {name: g, type: generated_ftrace, pattern: '('}, {name: h, values: [a], pattern: b}]\n  kprobes: [{call: 'list:all'}]\n",
            "  lists: [{name: calls, type: syscalls, values: [sys_read, sys_no]}, {name: dups, type: syscalls, values: [sys_dup, __ia32_sys_dup]}, {name: all, type: generated_syscalls}, {name: f, values: [vfs_read]}]\n  tracepoints: [{subsystem: raw_syscalls, event: sys_enter, args: [{index: 4, type: syscall64}], selectors: [{matchArgs: [{index: 0, operator: InMap, values: ['list:calls', 'list:dups', 'list:dup', 'list:f', 3]}]}, {matchArgs: [{index: 4, operator: NotInMap, values: ['list:all', '1:2']}, {index: 1, operator: Equal, values: ['list:dups']}]}]}]\n",
            "  selectorsMacros: [a]\n",
            "  selectorsMacros: {a: {macros: [b], matchArg: []}, b: {}}\n  kprobes: [{call: sys_read, selectors: [{macros: [a]}]}]\n",
            "  selectorsMacros: {mine: {matchPIDs: [{operator: In, values: [1]}]}, same: {matchPIDs: [{operator: In, values: [2]}]}}\n  kprobes: [{call: sys_read, selectors: [{macros: [mine], matchPIDs: [{operator: In, values: [3]}]}, {macros: [mine, same]}, {macros: [mien]}]}]\n",
            "  selectorsMacros: {args: {matchArgs: [{index: 3, operator: Equal, values: [1]}]}}\n  kprobes: [{call: sys_read, selectors: [{macros: [args]}, {macros: [args]}]}]\n",
            "  kprobes: [{call: sys_read, severity: WARN, messageTemplate: a}]\n  process: {selectors: [{}]}\n",
            "  selectorsMacros: {m: {matchMarks: [{operator: In, values: [a]}]}}\n  kprobes: [{call: sys_read, selectors: [{macros: [m], matchActions: [{action: Mark, mark: a}]}, {matchReturnActions: [{action: unmark, mark: a}]}]}]\n",
            "  options: [{name: sleepable-preload-size, value: \"4096\"}, {name: sleepable-preload-size, value: big}]\n",
            "  lsmhooks: [{hook: file open}]\n",
            "  loader: maybe\n",
            "  loader: true\n  podSelector: {matchLabels: {app: a}}\n",
            "  uprobes: [{path: sh}, {path: /bin/sh, symbols: [a], addrs: [1]}, {path: /bin/sh, symbols: [a, b], refCtrOffsets: [1], btfPath: /x}]\n",
            "  uprobes: [{path: /bin/sh, offsets: [1], binaryDigests: [sha256:00, md5:00, build-id:0], args: [{index: 0}, {index: 1, type: file}]}]\n",
            "  uprobes: [{path: /bin/sh, symbols: [a], data: [{index: 0}, {index: 0, type: int, resolve: a}, {source: pt_regs}, {source: pt_regs, resolve: rsi, type: file}, {source: current_task, resolve: comm}]}]\n",
            "  usdts: [{path: /bin/sh, provider: a, name: b, data: [{source: current_task, resolve: comm}]}]\n",
            "  usdts: [{path: /bin/sh}, {path: /bin/sh, provider: a, name: b c, args: [{index: 0, type: sock}, {index: 12}]}]\n",
            "  enforcers: [{calls: []}]\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_of_trigon_alone() {
    let ours = |spec: &str| policy(spec).replace("cilium.io", "trigon.io");
    let table = table_of(
        ours,
        &[
            "  kprobes: [{call: sys_read, severity: warn}, {call: sys_read, message: a, messageTemplate: b}]\n",
            "  kprobes: [{call: sys_read, messageTemplate: \"{process.name} {\"}, {call: sys_read, messageTemplate: \"{args.0}\"}, {call: sys_read, messageTemplate: \"{return}\"}]\n",
            "  kprobes: [{call: sys_read, messageTemplate: \"a } b\", args: [{index: 0, type: nop, label: x}]}, {call: sys_read, messageTemplate: \"{args.x}\", args: [{index: 0, type: nop, label: x}]}]\n",
            "  kprobes: [{call: sys_read, selectors: [{matchMarks: [{operator: In, values: [sene]}, {operator: Equal, values: [a]}, {operator: In, values: []}, {values: [seen]}], matchActions: [{action: Mark, mark: seen}, {action: Mark, mark: idle}, {action: Unmark, mark: gone}]}]}]\n",
            "  kprobes: [{call: sys_read, selectors: [{matchMarks: [{operator: NotIn, values: [a, 7, a b, '']}], matchActions: [{action: Mark, mark: a}, {action: Mark}, {action: Unmark, mark: -x}, {action: Post, mark: a}, {action: Mark, mark: a, argSig: 1}]}]}]\n",
            "  selectorsMacros: {once: {matchMarks: [{operator: NotIn, values: [told]}], matchReturnActions: [{action: Mark, mark: other}]}}\n  kprobes: [{call: sys_read, return: true, returnArg: {index: 0, type: int}, selectors: [{macros: [once]}]}]\n",
            "  process: {selectors: [{matchMarks: [{operator: In, values: [a]}], matchActions: [{action: Mark, mark: a}]}]}\n",
            "  process: {}\n",
            "  process: {selectors: []}\n",
            "  process: {selectors: [{matchActions: [{action: Sigkill}]}, {matchArgs: [{index: 5, operator: Equal, values: [a]}]}, {matchReturnActions: [{action: NoPost}]}]}\n",
        ],
    );
    insta::assert_snapshot!(table);
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("m{number}")).collect();
        let given = |name: &String| format!("{{matchActions: [{{action: Mark, mark: {name}}}]}}");
        let hook = |names: &[String]| {
            let given: Vec<_> = names.iter().map(given).collect();
            let asked = format!("{{matchMarks: [{{operator: In, values: [{}]}}]}}", names.join(", "));
            format!("{{call: sys_read, selectors: [{}, {asked}]}}", given.join(", "))
        };
        let hooks: Vec<_> = names.chunks(60).map(hook).collect();
        check_text(&ours(&format!("  kprobes: [{}]\n", hooks.join(", "))))
    };
    assert_eq!(many(64).errors, 0);
    assert!(written(&many(65)).contains("it has 65 marks; allowed: at most 64"), "{}", written(&many(65)));
    let sound = ours(
        "  kprobes: [{call: sys_read, severity: WARN, messageTemplate: \"{args.x} {args.1}\", args: [{index: 0, type: nop}, {index: 1, type: int, label: x}]}]\n  process: {selectors: [{matchArgs: [{index: 4, operator: Prefix, values: [a]}], matchActions: [{action: NoPost}]}]}\n",
    );
    let checked = check_text(&sound);
    assert_eq!((checked.errors, checked.policies.len()), (0, 1), "{:?}", checked.faults);
}

#[test]
fn workloads() {
    let table = table_of(
        policy,
        &[
            "  podSelector: app\n  containerSelector: [name]\n  hostSelector: true\n  kprobes: [{call: sys_read}]\n",
            "  podSelector: {matchLabel: {a: b}, matchLabels: [a]}\n",
            "  podSelector: {matchLabels: {a b: c, a/: x, /a: x, a/b/c: x, -a: x, \"\": x, d: e f, g: ~, h: [], k8s:io.kubernetes.pod.namespace: ok}}\n",
            "  podSelector: {matchExpressions: [{key: a}, {key: a, operator: Equal, values: [b]}, {key: a, operator: In}, {key: a, operator: Exists, values: [b]}, {operator: Exists}, a]}\n",
            "  containerSelector: {matchLabels: {nam: a, image: b}}\n",
            "  hostSelector: {matchLabels: {a: b}}\n",
            "  nodeSelector: {matchLabels: {a: b c}}\n  kprobes: [{call: sys_read}]\n",
            "  nodeSelector: {}\n  kprobes: [{call: sys_read}]\n",
            "  kprobes: [{call: sys_read, selectors: [{matchWorkloads: {}}, {matchWorkloads: {podselector: {}}}, {matchWorkloads: []}]}]\n",
        ],
    );
    insta::assert_snapshot!(table);
    let namespaced = |text: &str| {
        format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {text}\n")
    };
    let texts = [
        "{name: a, namespace: b_c}\nspec: {kprobes: [{call: sys_read}]}",
        "{name: a}\nspec: {hostSelector: {}, kprobes: [{call: sys_read}]}",
    ];
    let faults = texts.map(|text| written(&check_text(&namespaced(text))));
    insta::assert_snapshot!(faults.concat());
}

#[test]
fn hooks() {
    let table = table_of(
        policy,
        &[
            "  kprobes: sys_read\n",
            "  kprobes: [sys_read, ~]\n",
            "  kprobes:\n  - syscall: false\n",
            "  kprobes:\n  - {call: fd_install}\n",
            "  kprobes:\n  - {call: \"a b\", syscall: false}\n",
            "  kprobes:\n  - {call: sys_read, syscall: \"true\"}\n",
            "  kprobes:\n  - {call: sys_read, return: true}\n",
            "  kprobes:\n  - {call: sys_read, returnArg: {index: 0, type: int}}\n",
            "  kprobes:\n  - {call: sys_read, return: true, returnArg: {index: 1, type: sock, returnCopy: true}, returnArgAction: TrackSock}\n",
            "  kprobes:\n  - {call: sys_read, return: true, returnArg: {index: 0, type: int}, returnArgAction: UntrackSock}\n",
            "  kprobes:\n  - {call: sys_read, returnArgAction: TrackSock}\n",
            "  kprobes:\n  - {call: sys_read, return: true, returnArg: {index: 0}, returnArgAction: Kill}\n",
            "  kprobes:\n  - {call: sys_read, calls: 1, data: [{index: 0}], ignore: {callNotfound: true}}\n",
            "  kprobes:\n  - {call: sys_read, tags: [a, [b], c], message: {}}\n",
            "  tracepoints:\n  - {subsystem: sched, return: true, raw: 1}\n",
            "  tracepoints:\n  - {subsystem: s, event: e, args: [{index: 64}, {index: 5, type: char_buf, returnCopy: true}]}\n",
            "  tracepoints:\n  - {subsystem: s, event: e, raw: true, args: [{index: 12}]}\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn messages_and_tags_have_limits() {
    let message = policy(&format!("  kprobes:\n  - {{call: sys_read, message: {}}}\n", "é".repeat(257)));
    let tags = policy(&format!("  kprobes:\n  - {{call: sys_read, tags: [{}]}}\n", "t, ".repeat(17)));
    let table = table(&[(message, "257 characters"), (tags, "17 tags")]);
    insta::assert_snapshot!(table);
    let message = policy(&format!("  kprobes:\n  - {{call: sys_read, message: {}}}\n", "é".repeat(256)));
    super::sound(&message);
}

#[test]
fn arguments() {
    let wrap = |args: &str| policy(&format!("  kprobes:\n  - call: sys_read\n    args:\n{args}"));
    let table = table_of(
        wrap,
        &[
            "    - {type: int}\n",
            "    - {index: 6, type: int}\n",
            "    - {index: -1, type: int}\n",
            "    - {index: \"0\", type: int}\n",
            "    - {index: 0, type: integer}\n",
            "    - {index: 0, type: strin}\n",
            "    - {index: 0, type: socks}\n    - {index: 1, type: cred, resolve: uid..val}\n",
            "    - {index: 0, source: current_task, btfType: task_struct, btfTypeModule: x}\n",
            "    - {index: 0, type: char_buf}\n",
            "    - {index: 0, type: int, sizeArgIndex: 2, maxData: true}\n",
            "    - {index: 0, type: char_buf, sizeArgIndex: 9}\n",
            "    - {index: 0}\n    - {index: 1}\n    - {index: 2}\n    - {index: 3}\n    - {index: 4}\n    - {index: 5}\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn filters() {
    let table = table_of(
        selectors,
        &[
            "    - [a]\n",
            "    - {matchPids: [], matchCmdArgs: [{}], matchData: [{}], matchNamespaceChanges: [{}], matchCapabilityChanges: [{}], matchWorkloads: {}, macros: [a]}\n",
            "    - matchPIDs: [{operator: Equal, values: [1]}]\n",
            "    - matchPIDs: [{operator: In, values: []}, {operator: In}, {values: [1]}]\n",
            "    - matchPIDs: [{operator: In, values: [a, -1, 4194305, 1.5], followForks: maybe}]\n",
            "    - matchBinaries: [{operator: In, values: [/a]}, {operator: In, values: [/b]}]\n",
            "    - matchBinaries: [{operator: Equal, values: [/a]}]\n",
            "    - matchBinaries: [{operator: Prefix, values: [/a, ''], followChildren: true}]\n",
            "    - matchParentBinaries: [{operator: Postfix, values: [sh], followChildren: true}]\n",
            "    - matchNamespaces: [{namespace: Pod, operator: In, values: [host_ns]}]\n",
            "    - matchNamespaces: [{namespace: Pid, operator: NotIn, values: [host, '4294967296', -1]}]\n",
            "    - matchCapabilities: [{operator: In, values: [SYS_ADMIN, CAP_SYS_ADMN]}]\n",
            "    - matchCapabilities: [{type: Bounding, operator: Has, isNamespaceCapability: 1, values: [CAP_BPF]}]\n",
            "    - matchNamespaceChanges: [{operator: In, values: [Mnts]}, {operator: Is, values: [Mnt]}, {operator: In}, {operator: NotIn, values: [Uts, Ipc, Mnt, Pid, PidForChildren, Net, Time, TimeForChildren, Cgroup, User]}]\n",
            "    - matchCapabilityChanges: [{operator: In, values: [SYS_ADMIN]}, {type: Ambient, operator: In, values: [CAP_BPF]}]\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn operators() {
    let table = table_of(
        selectors,
        &[
            "    - matchArgs: [{index: 0, operator: Prefix, values: ['1']}]\n",
            "    - matchArgs: [{index: 1, operator: GreaterThan, values: ['1']}]\n",
            "    - matchArgs: [{index: 1, operator: Equals, values: ['1']}]\n",
            "    - matchArgs: [{index: 1, operator: In, values: ['1']}]\n",
            "    - matchArgs: [{index: 1, operator: SubStringIgnoreCase, values: [a]}, {index: 1, operator: SubString, values: [a]}]\n",
            "    - matchArgs: [{index: 0, operator: NotSportPriv}, {index: 0, operator: saddr, values: [1.1.1.1]}]\n",
            "    - matchArgs: [{index: 1, operator: SubString, values: ['']}, {index: 0, operator: SubStringIgnCase, values: [a]}]\n",
            "    - matchArgs: [{index: 0, operator: CelExpr, values: ['arg0 == 1', 'arg0 == 2']}, {args: [], operator: CelExpr, values: ['arg0 == 1']}]\n",
            "    - matchArgs: [{args: [0, 1], operator: CelExpr, values: ['arg0 > 1 && arg1 == 2']}, {args: [0], operator: CelExpr, values: ['arg0 == 5u']}, {args: [0], operator: CelExpr}]\n",
            "    - matchArgs: [{args: [0, 5], operator: CapabilitiesGained}, {args: [0], operator: CapabilitiesGained}, {args: [0, 1], operator: CapabilitiesGained, values: [CAP_NO]}, {args: [0, 1], operator: Equal, values: ['1']}]\n",
            "    - matchArgs: [{index: 2, operator: Equal, values: ['1']}]\n",
            "    - matchArgs: [{args: [2], operator: Equal, values: ['1']}, {args: [0, 1], operator: CelExpr, values: ['1']}]\n",
            "    - matchArgs: [{index: 0, args: [0], operator: Equal, values: ['1']}, {operator: Equal, values: ['1']}]\n",
            "    - matchArgs: [{index: 0, operator: Equal, values: []}, {index: 0, operator: Equal}, {index: 0, values: [1]}]\n",
            "    - matchArgs: [{index: 0, operator: Equal, values: [1, x, 0x100000000, [3]]}]\n",
            "    - matchArgs: [{index: 0, operator: InRange, values: ['1', '2:1']}]\n",
            "    - matchArgs: [{index: 1, operator: FileType, values: [reg, directory]}]\n",
            "    - matchArgs: [{index: 1, operator: Equal, values: [\"a\\0b\"]}]\n",
            "    - matchReturnArgs: [{index: 0, operator: Equal, values: ['1']}]\n",
            "    - matchReturnArgs: [{index: 0, operator: CelExpr, values: ['arg0 == 1']}]\n",
            "    - matchReturnActions: [{action: Post}]\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn a_filter_on_what_could_not_be_read_gives_no_second_fault() {
    let hook = "  kprobes:\n  - call: tcp_connect\n    syscall: false\n    args: [{index: 0, type: sock}, {index: x, type: int}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [a]}, {index: 1, operator: Equal, values: [a]}, {args: [0], operator: Prefix, values: [a]}]\n";
    let table = table_of(policy, &[hook]);
    insta::assert_snapshot!(table);
}

#[test]
fn actions() {
    let table = table_of(
        selectors,
        &[
            "    - matchActions: [{}, {action: Kill}, {action: ~}]\n",
            "    - matchActions: [{action: Override, argError: -1}, {action: GetUrl, argUrl: x}, {action: DnsLookup, argFqdn: x}, {action: Set, argIndex: 0, argValue: 1}, {action: NotifyEnforcer}]\n",
            "    - matchActions: [{action: Post, kernelStackTrace: true, userStackTrace: true, imaHash: true}]\n",
            "    - matchActions: [{action: Post, rateLimit: 5x}, {action: Post, rateLimit: m}, {action: Post, rateLimit: 0}, {action: Post, rateLimit: 200h}, {action: Post, rateLimit: -5}]\n",
            "    - matchActions: [{action: Post, rateLimitScope: thread}, {action: Post, rateLimit: 5, rateLimitScope: pod}]\n",
            "    - matchActions: [{action: Post}, {action: NoPost}]\n",
            "    - matchActions: [{action: Signal}, {action: Signal, argSig: 0}, {action: Signal, argSig: 65}, {action: Signal, argSig: SIGTERM}]\n",
            "    - matchActions: [{action: Sigkill, argError: -1, rateLimit: 5}]\n",
            "    - matchActions: [{action: TrackSock, argSock: 0}, {action: UntrackSock}, {action: TrackSock, argSock: 7}, {action: TrackSock, argFd: 0}]\n",
            "    - matchActions: [{action: FollowFD, argFd: 1, argName: 0}, {action: UnfollowFD, argFd: 2}, {action: CopyFD, argFd: 0, argName: 1}]\n",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn changes_of_programs() {
    let usdt = |actions: &str| {
        policy(&format!(
            "  usdts:\n  - path: /bin/sh\n    provider: a\n    name: b\n    args: [{{index: 0}}, {{index: 2, type: string}}]\n    selectors:\n    - matchActions: [{actions}]\n"
        ))
    };
    let uprobe = |place: &str, actions: &str| {
        policy(&format!(
            "  uprobes:\n  - path: /bin/sh\n    {place}\n    args: [{{index: 0, type: int}}]\n    selectors:\n    - matchActions: [{actions}]\n"
        ))
    };
    let table: String = [
        usdt("{action: Set, argIndex: 0, argValue: 4294967295}, {action: set, argValue: -1}"),
        usdt("{action: Set}, {action: Set, argValue: 4294967296}, {action: Set, argIndex: 2, argValue: 1}, {action: Set, argIndex: 1, argValue: 1}"),
        usdt("{action: Override, argError: 1}, {action: Post, argValue: 1}"),
        uprobe("symbols: [f]", "{action: Override, argError: 0}"),
        uprobe("symbols: [f]", "{action: Override}, {action: Override, argError: 4096}, {action: Set, argValue: 1}"),
        uprobe("symbols: [f]", "{action: Override, argError: 1, argRegs: [rax=1], argNewSymbol: g}"),
        uprobe("offsets: [16]", "{action: Override, argError: 1}"),
        uprobe("addrs: [16]", "{action: Override, argError: 1}"),
    ]
    .iter()
    .map(|text| format!("{}\n{}\n", text.lines().last().unwrap_or_default().trim(), written(&check_text(text))))
    .collect();
    insta::assert_snapshot!(table);
}

#[test]
fn calls_out_where_they_are_allowed() {
    let texts = [
        "    - matchActions: [{action: GetUrl}, {action: DnsLookup}]\n",
        "    - matchActions: [{action: GetUrl, argUrl: canary}, {action: GetUrl, argUrl: 'http://me@host/'}, {action: GetUrl, argUrl: [a]}]\n",
        "    - matchActions: [{action: DnsLookup, argFqdn: 10.0.0.1}, {action: DnsLookup, argFqdn: 7}, {action: DnsLookup, argFqdn: a b}]\n",
        "    - matchActions: [{action: GetUrl, argUrl: 'http://host/', argFqdn: host, rateLimit: 5}]\n",
    ];
    let table: String = texts
        .iter()
        .map(|text| format!("{}\n{}\n", text.trim_end(), written(&Rules::ALL.check_text(&selectors(text)))))
        .collect();
    insta::assert_snapshot!(table);
}
