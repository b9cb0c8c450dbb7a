use super::{
    super::tests::{policy, sound},
    cost::{Class, Cost, Frequency},
    *,
};

fn explained(spec: &str) -> Explanation {
    explain(&sound(&policy(spec)), &[])
}

fn cost(spec: &str) -> Cost {
    explained(spec).cost.unwrap()
}

#[test]
fn points_are_frequency_times_work() {
    let of_call = |call: &str, args: &str, selectors: &str| {
        cost(&format!(
            "  kprobes:\n  - call: sys_{call}\n    syscall: true\n    args: {args}\n    selectors: {selectors}\n"
        ))
    };
    let number = r#"[{matchArgs: [{index: 0, operator: Equal, values: ["1"]}]}]"#;
    let text = r#"[{matchArgs: [{index: 1, operator: Prefix, values: [/etc/]}]}]"#;
    // One lookup, no text.
    let mount = of_call("unshare", "[{index: 0, type: int}]", number);
    assert_eq!((mount.points, mount.class, mount.frequency), (2, Class::Negligible, Frequency::Rare));
    // One lookup and its text, for each open.
    let open = of_call("openat", "[{index: 1, type: string}]", text);
    assert_eq!((open.points, open.lookups, open.texts, open.class), (500, 1, 1, Class::Low));
    // For each read.
    assert_eq!(of_call("read", "[{index: 0, type: int}]", number).class, Class::Moderate);
    assert_eq!(of_call("read", "[{index: 1, type: string}]", text).class, Class::High);
    // Without a condition each call is posted, with what it carries.
    let all = of_call("openat", "[{index: 1, type: string}]", "[]");
    assert_eq!((all.points, all.class), (900, Class::Low));
}

#[test]
fn a_list_costs_what_its_functions_cost() {
    let list = "  lists:\n  - {name: some, type: syscalls, values: [sys_read, sys_write, sys_unshare]}\n  kprobes:\n  - call: list:some\n    syscall: true\n    args: [{index: 0, type: int}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [\"1\"]}]\n";
    let cost = cost(list);
    assert_eq!((cost.points, cost.frequency), (2 * 2_000 + 2, Frequency::Access));
}

#[test]
fn what_the_kernel_has_to_tell_first_has_no_cost_yet() {
    let spec = "  kprobes:\n  - call: fd_install\n    syscall: false\n    args: [{index: 1, type: auto}]\n";
    assert_eq!(explained(spec).cost, None);
}

/// No name is in two classes, where the first found would hide the other.
#[test]
fn names_have_one_frequency() {
    for (name, expected) in [
        ("raw_syscalls/sys_enter", Frequency::EveryCall),
        ("security_file_permission", Frequency::Access),
        ("syscalls/sys_enter_openat", Frequency::Open),
        ("sched/sched_process_exec", Frequency::Process),
        ("init_module", Frequency::Rare),
        ("some_function", Frequency::Unknown),
    ] {
        assert_eq!(Frequency::of(name), expected, "{name}");
    }
    let all: Vec<_> = cost::known().collect();
    for (index, (name, _)) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|(other, _)| other != name), "{name} is there twice");
    }
}

#[test]
fn tracked_sockets_are_explained() {
    let track = explained(
        "  kprobes:\n  - call: sk_alloc\n    syscall: false\n    return: true\n    returnArg: {index: 0, type: sock}\n    returnArgAction: TrackSock\n  - call: tcp_close\n    syscall: false\n    args: [{index: 0, type: sock}]\n    selectors:\n    - matchActions: [{action: UntrackSock, argSock: 0}]\n",
    );
    let [alloc, close] = track.hooks.as_slice() else { panic!("two hooks") };
    let returned = "track the socket that it returned as this process's from here on";
    assert_eq!(alloc.cases[0].then, ["post the event", returned]);
    assert_eq!(close.cases[0].then, ["track the socket no longer", "post the event"]);
    assert!(track.limits.iter().any(|limit| limit.contains("told of its owner")));
    assert!(track.limits.iter().any(|limit| limit.contains("It observes")));
}

#[test]
fn marks_are_explained() {
    let spec = "  kprobes:\n  - call: sys_chdir\n    selectors:\n    - matchMarks: [{operator: NotIn, values: [seen, gone]}]\n      matchActions: [{action: Mark, mark: seen}, {action: Mark, mark: gone}]\n    - matchMarks: [{operator: In, values: [seen]}]\n      matchActions: [{action: Unmark, mark: seen}, {action: NoPost}]\n";
    let marked = explain(&sound(&policy(spec).replace("cilium.io", "trigon.io")), &[]);
    let [unseen, seen] = marked.hooks[0].cases.as_slice() else { panic!("two cases") };
    assert_eq!(unseen.when, ["the process does not have the mark seen or gone"]);
    assert_eq!(
        unseen.then,
        ["mark the process as seen from here on", "mark the process as gone from here on", "post the event"]
    );
    assert_eq!(seen.when, ["the process has the mark seen"]);
    assert_eq!(seen.then, ["take the mark seen from the process", "post nothing"]);
    assert!(marked.limits.iter().any(|limit| limit.contains("nor what its parent did")));
}

#[test]
fn changes_of_programs_are_explained() {
    let changed = explained(
        "  usdts:\n  - path: /bin/sh\n    provider: a\n    name: b\n    args: [{index: 3}]\n    selectors:\n    - matchActions: [{action: Set, argIndex: 3, argValue: -1}]\n  uprobes:\n  - path: /bin/sh\n    symbols: [f]\n    selectors:\n    - matchActions: [{action: Override, argError: 0}]\n",
    );
    let then: Vec<_> =
        changed.hooks.iter().flat_map(|hook| &hook.cases[0].then).map(String::as_str).collect();
    for told in ["set argument 3 of the probe to -1", "have the function return 0 at once, and do nothing"] {
        assert!(then.contains(&told), "{then:?}");
    }
    let limits = changed.limits.join("\n");
    assert!(limits.contains("goes around it") && limits.contains("reason not_set"), "{limits}");
    assert!(!limits.contains("What is denied") && !limits.contains("It observes"), "{limits}");
}

#[test]
fn limits_follow_from_what_a_policy_does() {
    let kill = explained(
        "  kprobes:\n  - call: sys_openat\n    syscall: true\n    args: [{index: 1, type: string}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Equal, values: [/etc/shadow]}]\n      matchActions: [{action: Sigkill}]\n",
    );
    let has =
        |explanation: &Explanation, words: &str| explanation.limits.iter().any(|limit| limit.contains(words));
    assert!(has(&kill, "the system call still completes"));
    assert!(has(&kill, "relative paths") && has(&kill, "io_uring"));
    assert!(!has(&kill, "It observes") && !has(&kill, "rate limit"));
    let watch = explained("  kprobes:\n  - call: fd_install\n    syscall: false\n");
    assert!(has(&watch, "It observes") && !has(&watch, "relative paths") && !has(&watch, "io_uring"));
}

#[test]
fn an_execution_is_told_of_or_not() {
    let selectors =
        "[{matchBinaries: [{operator: In, values: [/probe]}], matchActions: [{action: NoPost}]}, {}]";
    let text = policy(&format!("  process: {{selectors: {selectors}}}\n")).replace("cilium.io", "trigon.io");
    let explained = explain(&sound(&text), &[]);
    let [hook] = explained.hooks.as_slice() else { panic!("one hook") };
    assert!(hook.carries.is_empty(), "{:?}", hook.carries);
    let then: Vec<_> = hook.cases.iter().flat_map(|case| &case.then).collect();
    assert_eq!(then, ["tell nothing of it, from its exec to its exit", "tell of it"]);
}
