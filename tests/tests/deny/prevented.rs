//! What is denied is not done; what can't be denied here is refused by name; what is only observed is served.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use trigon_tests::suite::Suite;

use crate::{
    KERNEL,
    rig::{Rig, actions, denied, is_denied, is_known},
};

pub fn tests(suite: &mut Suite) {
    suite.test("a_security_module_denies", KERNEL, a_security_module_denies);
    suite.test("a_file_that_may_not_be_deleted_stays", KERNEL, a_file_that_may_not_be_deleted_stays);
    suite.test("a_program_that_may_not_run_does_not", KERNEL, a_program_that_may_not_run_does_not);
    suite.test("a_function_returns_at_once", KERNEL, a_function_returns_at_once);
    suite.test("a_policy_that_watches_shares_a_hook", KERNEL, a_policy_that_watches_shares_a_hook);
    suite.test(
        "what_can_not_be_denied_is_refused_by_name",
        KERNEL,
        what_can_not_be_denied_is_refused_by_name,
    );
    suite.test("a_hook_that_only_observes_is_served", KERNEL, a_hook_that_only_observes_is_served);
}

/// A policy that denies the opening of one file.
pub const OPEN: &str = "
  lsmhooks:
  - hook: file_open
    args: [{index: 0, type: file}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Override, argError: -1}]
";

/// Loads a policy that denies. Where this kernel can't, and need not, it has to be refused by name; none then.
fn load(rig: &Rig, spec: &str, mechanism: &str, hook: &str) -> Option<()> {
    if is_known() {
        assert_eq!(rig.load(spec, &[]), mechanism);
        return Some(());
    }
    let said = rig.refused(spec);
    assert!(said.contains(&format!("cannot prevent {hook} on this kernel")), "{said}");
    println!("not on this kernel: {}", said.chars().take(300).collect::<String>());
    None
}

fn a_security_module_denies() {
    let rig = Rig::new();
    if load(&rig, OPEN, "lsm", "file_open").is_none() {
        return;
    }
    assert!(is_denied(&rig.path("forbidden")));
    assert!(!is_denied(&rig.path("allowed")));
    let told = rig.told("forbidden", std::process::id());
    assert_eq!(actions(&told), ["KPROBE_ACTION_OVERRIDE"], "{told:?}");
    assert_eq!((&*told[0].kind, told[0].text("/function_name")), ("process_lsm", "file_open"));
    assert_eq!(told[0].text("/policy_name"), "p");
    assert_eq!(told[0].text("/args/0/file_arg/path"), rig.path("forbidden").to_str().expect("a plain path"));
    rig.done(&["disable", "p"]);
    assert!(!is_denied(&rig.path("forbidden")), "a policy that is disabled denies nothing");
    rig.done(&["enable", "p"]);
    assert!(is_denied(&rig.path("forbidden")));
    rig.done(&["delete", "p"]);
    assert!(!is_denied(&rig.path("forbidden")));
    rig.check_no_loss();
}

fn a_file_that_may_not_be_deleted_stays() {
    let rig = Rig::new();
    let spec = "
  lsmhooks:
  - hook: inode_unlink
    args: [{index: 1, type: dentry}]
    selectors:
    - matchArgs: [{index: 1, operator: Postfix, values: [/forbidden]}]
      matchActions: [{action: Override, argError: -1}]
";
    if load(&rig, spec, "lsm", "inode_unlink").is_none() {
        return;
    }
    assert!(denied(&fs::remove_file(rig.path("forbidden"))));
    assert_eq!(fs::read(rig.path("forbidden")).expect("it is still there"), b"0123456789");
    assert!(!denied(&fs::remove_file(rig.path("allowed"))));
    rig.check_no_loss();
}

fn a_program_that_may_not_run_does_not() {
    let rig = Rig::new();
    let busybox = fs::canonicalize("/bin/busybox").or_else(|_| fs::canonicalize("/bin/true"));
    for name in ["forbidden", "allowed"] {
        fs::copy(busybox.as_ref().expect("a program"), rig.path(name)).expect("copy a program");
        fs::set_permissions(rig.path(name), fs::Permissions::from_mode(0o755)).expect("make it a program");
    }
    if load(&rig, OPEN, "lsm", "file_open").is_none() {
        return;
    }
    let run = |name: &str| Command::new(rig.path(name)).arg("true").status();
    let refused = run("forbidden").expect_err("it may not run");
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "{refused}");
    assert!(run("allowed").is_ok());
    rig.done(&["delete", "p"]);
    assert!(run("forbidden").is_ok());
}

fn a_function_returns_at_once() {
    for (function, hook) in [
        (
            "security_file_open",
            "    args: [{index: 0, type: file}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/forbidden]}]",
        ),
        (
            "security_path_unlink",
            "    args: [{index: 1, type: dentry}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Postfix, values: [/forbidden]}]",
        ),
        (
            "security_inode_unlink",
            "    args: [{index: 1, type: dentry}]\n    return: true\n    returnArg: {index: 0, type: int}\n    selectors:\n    - matchArgs: [{index: 1, operator: Postfix, values: [/forbidden]}]",
        ),
    ] {
        let rig = Rig::new();
        let spec = format!(
            "\n  options: [{{name: override-method, value: fmod-ret}}]\n  kprobes:\n  - call: {function}\n    syscall: false\n{hook}\n      matchActions: [{{action: Override, argError: -1}}]\n"
        );
        if load(&rig, &spec, "fmod_ret", function).is_none() {
            continue;
        }
        let deed = |name: &str| match function {
            "security_file_open" => fs::File::open(rig.path(name)).map(drop),
            _ => fs::remove_file(rig.path(name)),
        };
        assert!(denied(&deed("forbidden")), "{function}");
        assert!(!denied(&deed("allowed")), "{function}");
        let told = rig.told("forbidden", std::process::id());
        assert_eq!(actions(&told), ["KPROBE_ACTION_OVERRIDE"], "{function}: {told:?}");
        if function == "security_inode_unlink" {
            assert_eq!(told[0].at("/return/int_arg"), -1, "what it returns is known: {told:?}");
        }
        rig.done(&["delete", "p"]);
        assert_eq!(fs::read(rig.path("forbidden")).expect("it is still there"), b"0123456789");
        rig.check_no_loss();
    }
}

/// A hook that is attached to observe is attached to deny where another policy asks for that, and both are served.
fn a_policy_that_watches_shares_a_hook() {
    let rig = Rig::new();
    let watching =
        OPEN.replace("matchActions: [{action: Override, argError: -1}]", "matchActions: [{action: Post}]");
    let watching = rig.write(&watching).replace("policy.yaml", "watching.yaml");
    fs::rename(rig.path("policy.yaml"), &watching).expect("rename a policy");
    let text = fs::read_to_string(&watching).expect("read a policy").replace("{name: p}", "{name: watching}");
    fs::write(&watching, text).expect("write a policy");
    rig.done(&["add", &watching]);
    assert!(!is_denied(&rig.path("forbidden")));
    let told = |policy: &str| {
        let told = rig.told("forbidden", std::process::id());
        told.iter().filter(|line| line.text("/policy_name") == policy).count()
    };
    assert_eq!((told("watching"), told("p")), (1, 0));
    let file = rig.write(OPEN);
    let added = rig.policy(&["add", &file]);
    assert_eq!(added.code == Some(0), is_known(), "{added:?}");
    assert_eq!(is_denied(&rig.path("forbidden")), is_known());
    assert_eq!((told("watching"), told("p")), (2, usize::from(is_known())));
    rig.done(&["delete", "p"]);
    assert!(!is_denied(&rig.path("forbidden")));
    assert_eq!(told("watching"), 3);
}

/// System calls can be overridden where the kernel was built to have errors injected; these weren't. Nothing else may
/// stand in for it.
fn what_can_not_be_denied_is_refused_by_name() {
    let rig = Rig::new();
    let overriding = |hook: &str| {
        format!("{hook}\n    selectors:\n    - matchActions: [{{action: Override, argError: -1}}]\n")
    };
    for (hook, name) in [
        ("\n  kprobes:\n  - call: sys_linkat", "sys_linkat"),
        ("\n  kprobes:\n  - call: fd_install\n    syscall: false", "fd_install"),
        ("\n  lsmhooks:\n  - hook: no_such_hook", "no_such_hook"),
        (
            "\n  options: [{name: override-method, value: override-return}]\n  kprobes:\n  - call: security_file_open\n    syscall: false",
            "security_file_open",
        ),
    ] {
        let said = rig.refused(&overriding(hook));
        assert!(said.contains("cannot prevent") && said.contains(name), "{said}");
        assert!(said.contains("lsmhooks"), "it says what to do: {said}");
    }
    assert!(!is_denied(&rig.path("forbidden")), "nothing of them is in force");
}

fn a_hook_that_only_observes_is_served() {
    let rig = Rig::new();
    let spec = OPEN.replace("matchActions: [{action: Override, argError: -1}]", "label: seen");
    let mechanism = rig.load(&spec, &[]);
    println!("lsmhooks to observe: {mechanism}");
    assert_eq!(mechanism == "lsm", is_known());
    assert!(!is_denied(&rig.path("forbidden")));
    let told = rig.told("forbidden", std::process::id());
    assert_eq!(actions(&told), ["KPROBE_ACTION_POST"], "{told:?}");
    assert_eq!((&*told[0].kind, told[0].text("/function_name")), ("process_lsm", "file_open"));
    assert_eq!(rig.listed()["mode"], "monitor_only");
    let refused = rig.policy(&["set-mode", "p", "enforce"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("has no mode"), "{refused:?}");
    let metrics = rig.agent.metrics();
    let labels = [("hook", "lsm:file_open"), ("action", "Post")];
    assert_eq!(metrics.sum("trigon_policy_events_total", &labels), 1.0, "{metrics}");
}
