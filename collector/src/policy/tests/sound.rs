//! What a policy becomes.

use std::time::Duration;

use super::{
    super::model::{
        Position,
        actions::{Action, Post, RateLimit, RateLimitScope},
        arguments::{ArgumentSlot, ArgumentType, Integer},
        conditions::{Comparison, Condition, FileType, Number, Operator, TextOperator},
        expressions::{Binary, Expression, Node, Type, Unary},
        hooks::{Abi, Function, FunctionSection, Functions, Point},
        selectors::{
            BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership, Namespace,
            NamespaceFilter, NamespaceId, PidFilter, Selector,
        },
    },
    super::{
        Rules, check_text,
        fault::{Class, Feature},
    },
    policy, selectors, sound,
};

fn selector(text: &str) -> Selector {
    sound(&selectors(text)).hooks.remove(0).selectors.remove(0)
}

fn conditions(matches: &str) -> Vec<Condition> {
    let selector = selector(&format!("    - matchArgs: [{matches}]\n"));
    selector.arguments.into_iter().map(|filter| filter.condition).collect()
}

fn syscall(name: &str, abi: Abi) -> Function {
    Function::Syscall { name: name.to_owned(), abi }
}

fn functions(text: &str) -> Vec<Functions> {
    let points = sound(&policy(text)).hooks.into_iter().map(|hook| match hook.point {
        Point::Functions(functions) => functions,
        other => panic!("{other} is no function"),
    });
    points.collect()
}

#[test]
fn system_calls_are_told_from_other_functions() {
    let found = functions(
        "  kprobes: [{call: sys_read}, {call: __x64_sys_read}, {call: __ia32_sys_read}, {call: __arm64_sys_read}, {call: __sys_setuid, syscall: false, ignore: {callNotFound: true}}]\n  fentries: [{call: vfs_read, syscall: false}]\n",
    );
    let names = found.iter().map(|functions| functions.functions[0].clone()).collect::<Vec<_>>();
    let symbol = |name: &str| Function::Symbol(name.to_owned());
    assert_eq!(
        names,
        [
            syscall("read", Abi::Native),
            syscall("read", Abi::X64),
            syscall("read", Abi::Ia32),
            syscall("read", Abi::Arm64),
            symbol("__sys_setuid"),
            symbol("vfs_read"),
        ]
    );
    assert_eq!(names[2].to_string(), "__ia32_sys_read");
    let missing = found.iter().map(|functions| functions.ignore_missing).collect::<Vec<_>>();
    assert_eq!(missing, [false, false, false, false, true, false]);
    assert_eq!(found[4].section, FunctionSection::Kprobes);
    assert_eq!(found[5].section, FunctionSection::Fentries);
}

#[test]
fn a_list_stands_for_its_functions() {
    let found = functions(
        "  lists: [{name: other, values: [do_exit, __x64_sys_exit]}, {name: calls, type: syscalls, values: [sys_dup, __ia32_sys_dup2]}]\n  kprobes: [{call: 'list:calls'}, {call: 'list:other'}]\n",
    );
    assert_eq!(found[0].list, Some(1));
    assert_eq!(*found[0].functions, [syscall("dup", Abi::Native), syscall("dup2", Abi::Ia32)]);
    let symbols = ["do_exit", "__x64_sys_exit"].map(|name| Function::Symbol(name.to_owned()));
    assert_eq!(*found[1].functions, symbols);
}

#[test]
fn the_case_that_must_work_first() {
    let policy = sound(&policy(
        r#"  kprobes:
  - call: "fd_install"
    syscall: false
    return: false
    args:
    - index: 0
      type: int
    - index: 1
      type: "file"
    selectors:
    - matchPIDs:
      - operator: NotIn
        followForks: true
        isNamespacePID: true
        values:
        - 1
      matchArgs:
      - index: 1
        operator: "Prefix"
        values:
        - "/etc/"
      matchActions:
      - action: FollowFD
        argFd: 0
        argName: 1
  - call: "sys_close"
    args:
    - {index: 0, type: int}
    selectors:
    - matchActions:
      - {action: UnfollowFD, argFd: 0, argName: 0}
  - call: "sys_read"
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, returnCopy: true}
    - {index: 2, type: size_t}
  - call: "sys_write"
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, sizeArgIndex: 3}
    - {index: 2, type: size_t}
"#,
    ));
    assert!(policy.follows());
    assert_eq!((policy.name.as_str(), policy.at), ("test", Position { line: 4, column: 9 }));
    let [install, close, read, write] = policy.hooks.as_slice() else { panic!("four hooks") };
    let [selector] = install.selectors.as_slice() else { panic!("one selector") };
    assert_eq!(
        selector.pids,
        [PidFilter {
            at: Position { line: 17, column: 9 },
            operator: Membership::NotIn,
            pids: vec![1],
            in_namespace: true,
            follow_forks: true,
        }]
    );
    assert_eq!(selector.arguments[0].argument, ArgumentSlot(1));
    let prefix = Condition::Text(TextOperator::Prefix, vec![b"/etc/".as_slice().into()]);
    assert_eq!(selector.arguments[0].condition, prefix);
    let follow = Action::FollowFd { fd: ArgumentSlot(0), name: ArgumentSlot(1) };
    assert_eq!(selector.actions[0].value, follow);
    assert_eq!(close.selectors[0].actions[0].value, Action::UnfollowFd { fd: ArgumentSlot(0) });
    assert!(!install.at_return() && !close.at_return() && read.at_return() && !write.at_return());
    assert_eq!(read.arguments[1].size_from, None);
    assert_eq!(write.arguments[1].size_from, Some(2));
    assert_eq!(write.arguments[2].kind, ArgumentType::Integer(Integer::Size));
}

#[test]
fn an_index_is_the_functions_and_a_slot_the_hooks() {
    let policy = sound(&policy(
        "  kprobes:\n  - call: security_mmap_file\n    syscall: false\n    args: [{index: 2, type: uint32}, {index: 0, type: file}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [/x]}, {args: [0], operator: Mask, values: ['2']}]\n",
    ));
    let arguments = &policy.hooks[0].selectors[0].arguments;
    assert_eq!(arguments[0].argument, ArgumentSlot(1));
    assert_eq!(arguments[1].argument, ArgumentSlot(0));
}

#[test]
fn operators_have_lenient_spellings() {
    let number = |comparison| Condition::Compare(comparison, vec![Number(1)]);
    let expected = [
        ("eq", Comparison::Equal),
        ("EQUAL", Comparison::Equal),
        ("neq", Comparison::NotEqual),
        ("gt", Comparison::GreaterThan),
        ("GT", Comparison::GreaterThan),
        ("GreaterThan", Comparison::GreaterThan),
        ("lt", Comparison::LessThan),
        ("LessThan", Comparison::LessThan),
        ("mask", Comparison::Mask),
    ];
    for (spelling, comparison) in expected {
        let found = conditions(&format!("{{index: 0, operator: {spelling}, values: ['1']}}"));
        assert_eq!(found, [number(comparison)], "{spelling}");
    }
    let text = |operator| Condition::Text(operator, vec![b"a".as_slice().into()]);
    for (spelling, operator) in [
        ("prefix", TextOperator::Prefix),
        ("notprefix", TextOperator::NotPrefix),
        ("postfix", TextOperator::Postfix),
        ("NotPostfix", TextOperator::NotPostfix),
    ] {
        let found = conditions(&format!("{{index: 1, operator: {spelling}, values: [a]}}"));
        assert_eq!(found, [text(operator)], "{spelling}");
    }
    let types = vec![FileType::Regular, FileType::Directory];
    let found = conditions("{index: 1, operator: NotFileType, values: [regular, dir]}");
    assert_eq!(found, [Condition::FileType { negated: true, types }]);
}

#[test]
fn values_may_stand_without_quotes() {
    let found = conditions(
        "{index: 0, operator: Equal, values: [0x10, -1, '010']}, {index: 1, operator: Equal, values: [1, true]}",
    );
    let numbers = [16, -1, 8].map(Number).to_vec();
    assert_eq!(found[0], Condition::Compare(Comparison::Equal, numbers));
    let texts = vec![b"1".as_slice().into(), b"true".as_slice().into()];
    assert_eq!(found[1], Condition::Text(TextOperator::Equal, texts));
}

#[test]
fn an_argument_without_a_type_waits_for_the_kernel() {
    let policy = sound(&policy(
        "  kprobes:\n  - call: sys_read\n    args: [{index: 0}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: ['1']}]\n",
    ));
    let hook = &policy.hooks[0];
    assert_eq!(hook.arguments[0].kind, ArgumentType::Auto);
    let condition = &hook.selectors[0].arguments[0].condition;
    let Condition::Deferred(Operator::Equal, values) = condition else { panic!("it didn't wait") };
    assert_eq!(values[0].value, "1");
}

#[test]
fn who_calls_is_filtered() {
    let selector = selector(
        r#"    - label: outside
      matchBinaries: [{operator: notin, values: [/bin/sh, /bin/vi], followChildren: yes}]
      matchParentBinaries: [{operator: Prefix, values: [/usr/]}]
      matchNamespaces:
      - {namespace: Pid, operator: NotIn, values: [host_ns, "0xeffffffc"]}
      - {namespace: pidforchildren, operator: In, values: [4026531836]}
      matchCapabilities:
      - {operator: In, values: [CAP_CHOWN, cap_bpf], isNamespaceCapability: true}
      - {type: Permitted, operator: NotIn, values: [CAP_SYS_ADMIN]}
"#,
    );
    assert_eq!(selector.label.as_deref(), Some("outside"));
    let at = |line, column| Position { line, column };
    let path = |path: &str| Box::from(path.as_bytes());
    assert_eq!(
        selector.binaries,
        Some(BinaryFilter {
            at: at(14, 23),
            operator: BinaryOperator::NotIn,
            paths: vec![path("/bin/sh"), path("/bin/vi")],
            follow_children: true,
        })
    );
    let parents = selector.parent_binaries.unwrap();
    assert_eq!((parents.operator, parents.paths), (BinaryOperator::Prefix, vec![path("/usr/")]));
    assert_eq!(
        selector.namespaces,
        [
            NamespaceFilter {
                at: at(17, 9),
                namespace: Namespace::Pid,
                operator: Membership::NotIn,
                values: vec![NamespaceId::Host, NamespaceId::Inode(0xeffffffc)],
            },
            NamespaceFilter {
                at: at(18, 9),
                namespace: Namespace::PidForChildren,
                operator: Membership::In,
                values: vec![NamespaceId::Inode(4_026_531_836)],
            },
        ]
    );
    assert_eq!(
        selector.capabilities,
        [
            CapabilityFilter {
                at: at(20, 9),
                set: CapabilitySet::Effective,
                operator: Membership::In,
                capabilities: 1 << 39 | 1,
                in_namespace: true,
            },
            CapabilityFilter {
                at: at(21, 9),
                set: CapabilitySet::Permitted,
                operator: Membership::NotIn,
                capabilities: 1 << 21,
                in_namespace: false,
            },
        ]
    );
}

#[test]
fn what_changed_is_filtered() {
    let selector = selector(
        r#"    - matchNamespaceChanges:
      - {operator: In, values: [Mnt, uts]}
      - {operator: NotIn, values: [Uts, Ipc, Pid, PidForChildren, Net, Time, TimeForChildren]}
      matchCapabilityChanges:
      - {operator: NotIn, values: [CAP_CHOWN], isNamespaceCapability: true}
"#,
    );
    let namespaces: Vec<_> = selector.namespace_changes.into_iter().map(|filter| filter.namespaces).collect();
    let others = vec![Namespace::Mnt, Namespace::Cgroup, Namespace::User];
    assert_eq!(namespaces, [vec![Namespace::Uts, Namespace::Mnt], others]);
    assert_eq!(
        selector.capability_changes,
        [CapabilityFilter {
            at: Position { line: 17, column: 9 },
            set: CapabilitySet::Effective,
            operator: Membership::NotIn,
            capabilities: 1,
            in_namespace: true,
        }]
    );
}

#[test]
fn text_may_stand_anywhere_and_numbers_be_computed_with() {
    let contains = |any_case| Condition::Contains { any_case, texts: vec![b"Ab".as_slice().into()] };
    let found = conditions(
        "{index: 1, operator: SubString, values: [Ab]}, {index: 1, operator: substringigncase, values: [Ab]}",
    );
    assert_eq!(found, [contains(false), contains(true)]);
    let found = conditions("{args: [0], operator: CelExpr, values: [\"arg0 < int32(3)\"]}");
    let less = Node::Binary(
        Binary::Less,
        Box::new(Node::Argument(ArgumentSlot(0), Type::I32)),
        Box::new(Node::Unary(Unary::ToI32, Box::new(Node::Constant(Type::I64, 3)))),
    );
    assert_eq!(found, [Condition::Holds(Expression { root: less })]);
}

#[test]
fn actions_are_taken_in_any_case_and_rates_in_three_units() {
    let actions = |text: &str| {
        let selector = selector(&format!("    - matchActions: [{text}]\n"));
        selector.actions.into_iter().map(|action| action.value).collect::<Vec<_>>()
    };
    let post = |seconds, scope| {
        let limit = Some(RateLimit { interval: Duration::from_secs(seconds), scope });
        Action::Post(Post { limit, ..Post::default() })
    };
    assert_eq!(
        actions("{action: post}, {action: SIGKILL}, {action: signal, argSig: 64}"),
        [Action::Post(Post::default()), Action::Sigkill, Action::Signal(64)]
    );
    assert_eq!(
        actions(
            "{action: Post, rateLimit: 5}, {action: Post, rateLimit: \"5s\", rateLimitScope: thread}, {action: Post, rateLimit: 5m, rateLimitScope: Process}, {action: Post, rateLimit: 1h, rateLimitScope: global}"
        ),
        [
            post(5, RateLimitScope::Thread),
            post(5, RateLimitScope::Thread),
            post(300, RateLimitScope::Process),
            post(3600, RateLimitScope::Global),
        ]
    );
    assert_eq!(
        actions("{action: nopost}, {action: copyfd, argFd: 0, argName: 0}"),
        [Action::NoPost, Action::CopyFd { from: ArgumentSlot(0), to: ArgumentSlot(0) },]
    );
}

#[test]
fn calls_out_are_read_where_they_are_allowed() {
    let text = selectors(
        "    - matchActions: [{action: geturl, argUrl: 'https://canary.example.com/t?a=b'}, {action: DnsLookup, argFqdn: canary.example.com.}]\n",
    );
    let checked = Rules::ALL.check_text(&text);
    assert_eq!(checked.faults, []);
    let selector = &checked.policies[0].hooks[0].selectors[0];
    let calls: Vec<_> =
        selector.all_actions().filter_map(Action::calls_out).map(ToString::to_string).collect();
    assert_eq!(calls, ["https://canary.example.com/t?a=b", "canary.example.com"]);
    assert!(!checked.policies[0].enforces());
    let refused = check_text(&text);
    assert_eq!((refused.errors, refused.policies.len()), (2, 0));
    let forbidden = |name| Class::Forbidden(Feature { of: "action", name });
    let classes: Vec<_> = refused.faults.iter().map(|fault| fault.class).collect();
    assert_eq!(classes, [forbidden("GetUrl"), forbidden("DnsLookup")]);
}

#[test]
fn filters_on_the_return_know_its_type() {
    let policy = sound(&policy(
        "  kprobes:\n  - call: sys_openat\n    return: true\n    returnArg: {index: 0, type: int, label: fd}\n    returnArgAction: Post\n    selectors:\n    - matchReturnArgs: [{index: 0, operator: GT, values: ['-1']}]\n      matchReturnActions: [{action: NoPost}]\n",
    ));
    let hook = &policy.hooks[0];
    let returned = hook.return_value.as_ref().unwrap();
    assert_eq!((returned.kind, returned.label.as_deref()), (ArgumentType::Integer(Integer::I32), Some("fd")));
    let filter = &hook.selectors[0].return_values[0];
    assert_eq!(filter.condition, Condition::Compare(Comparison::GreaterThan, vec![Number(-1)]));
    assert_eq!(hook.selectors[0].return_actions[0].value, Action::NoPost);
}

#[test]
fn what_a_cluster_adds_is_passed_over() {
    let policy = sound(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: a.b-c\n  uid: x\n  generation: 3\n  labels: {a: b}\n  managedFields: [{manager: kubectl}]\nspec:\n  hostSelector: ~\n  loader: false\n  options: [{name: disable-kprobe-multi, value: true}]\n  kprobes: [{call: sys_read, args: ~, data: []}]\nstatus: {conditions: []}\n",
    );
    assert_eq!(policy.name, "a.b-c");
    assert!(policy.options.disable_kprobe_multi && !policy.follows());
}
