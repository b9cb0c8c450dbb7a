//! Add, delete, enable, disable, list.

use std::fs;

use trigon_tests::suite::Suite;

use crate::{
    KERNEL,
    rig::{Rig, opens_of, policy},
};

pub fn tests(suite: &mut Suite) {
    suite.test("a_policy_is_added_and_deleted", KERNEL, a_policy_is_added_and_deleted);
    suite.test("a_policy_is_disabled_and_enabled", KERNEL, a_policy_is_disabled_and_enabled);
    suite.test(
        "an_option_of_a_policy_chooses_a_mechanism",
        KERNEL,
        an_option_of_a_policy_chooses_a_mechanism,
    );
    suite.test("a_broken_file_is_told_and_harms_nothing", KERNEL, a_broken_file_is_told_and_harms_nothing);
    suite.test("what_the_kernel_lacks_is_a_load_error", KERNEL, what_the_kernel_lacks_is_a_load_error);
    suite.test("a_hook_that_may_be_missing_is_left_out", KERNEL, a_hook_that_may_be_missing_is_left_out);
    suite.test("numbers_come_and_go_with_a_policy", KERNEL, numbers_come_and_go_with_a_policy);
}

/// Loaded programs that a process holds.
fn programs(pid: u32) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("list descriptors");
    let texts = infos.flatten().map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
    texts.filter(|text| text.contains("prog_id:") && !text.contains("link_type:")).count()
}

fn a_policy_is_added_and_deleted() {
    let rig = Rig::new();
    let bare = programs(rig.agent.pid());
    assert_eq!(rig.done(&["list"]), "no policies\n");
    assert_eq!(rig.opened("one"), 0);
    let file = rig.write("p.yaml", &opens_of("one", &rig.path("one")));
    assert_eq!(rig.done(&["add", &file]), format!("{file}: enabled one\n"));
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    let listed = rig.listed("one");
    assert_eq!(
        (listed["state"].as_str(), &listed["from"]["kind"]),
        (Some("enabled"), &"api".into()),
        "{listed}"
    );
    assert!(listed["hooks"][0]["name"].as_str().is_some_and(|name| name.ends_with("sys_openat")), "{listed}");
    let mechanism = listed["hooks"][0]["mechanism"].as_str().expect("a mechanism");
    let text = rig.done(&["list"]);
    assert!(text.contains("one ") && text.contains("enabled") && text.contains(mechanism), "{text}");
    assert!(programs(rig.agent.pid()) > bare);

    let again = rig.policy(&["add", &file]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("a policy named one is there"), "{again:?}");
    rig.done(&["delete", "one"]);
    assert_eq!(rig.opened("one"), 0);
    assert_eq!(rig.done(&["list"]), "no policies\n");
    assert_eq!(programs(rig.agent.pid()), bare, "without policies nothing of them is in the kernel");
    let gone = rig.policy(&["delete", "one"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("there is no policy named one"), "{gone:?}");
    // Once more, after all of it was gone.
    rig.done(&["add", &file]);
    assert_eq!(rig.opened("one"), 1);
    rig.agent.stop();
}

fn a_policy_is_disabled_and_enabled() {
    let rig = Rig::new();
    let (one, two) = (opens_of("one", &rig.path("one")), opens_of("two", &rig.path("two")));
    // Two policies of one file, and on one function.
    let file = rig.write("p.yaml", &format!("{one}---\n{two}"));
    rig.done(&["add", &file]);
    rig.done(&["disable", "one"]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 1));
    let listed = rig.listed("one");
    assert_eq!(
        (listed["state"].as_str(), listed["kernel_memory_bytes"].as_u64()),
        (Some("disabled"), Some(0))
    );
    assert_eq!(rig.state("two"), "enabled");
    rig.done(&["enable", "one"]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 1));
    rig.done(&["delete", "two", "one"]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 0));
    rig.agent.stop();
}

fn an_option_of_a_policy_chooses_a_mechanism() {
    let rig = Rig::new();
    let option = "spec:\n  options: [{name: disable-kprobe-multi, value: \"1\"}]\n";
    let file = rig.write("p.yaml", &opens_of("one", &rig.path("one")).replace("spec:\n", option));
    rig.done(&["add", &file]);
    assert_eq!(rig.state("one"), "enabled");
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    let listed = rig.listed("one");
    let mechanism = listed["hooks"][0]["mechanism"].as_str().expect("a mechanism");
    assert_ne!(mechanism, "kprobe.multi", "{listed}");
}

fn a_broken_file_is_told_and_harms_nothing() {
    let rig = Rig::new();
    let sound = rig.write("a.yaml", &opens_of("one", &rig.path("one")));
    let broken = rig.write("b.yaml", &opens_of("two", &rig.path("two")).replace("Equal", "Equals"));
    let said = rig.policy(&["add", &broken, &sound]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let told = format!("{broken}:10:40: error: spec.kprobes[0].selectors[0].matchArgs[0].operator");
    assert!(said.out.starts_with(&told), "{said:?}");
    assert!(said.out.ends_with(&format!("{sound}: enabled one\n")), "{said:?}");
    assert_eq!(rig.list().len(), 1);
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    rig.agent.stop();
}

fn what_the_kernel_lacks_is_a_load_error() {
    let rig = Rig::new();
    let sound = rig.write("a.yaml", &opens_of("one", &rig.path("one")));
    // Its first hook can be attached, and is not.
    let lacking = format!(
        "{}  - call: no_such_function_at_all\n    syscall: false\n",
        opens_of("lacking", &rig.path("one"))
    );
    let lacking = rig.write("b.yaml", &lacking);
    rig.done(&["add", &sound]);
    let said = rig.policy(&["add", &lacking]);
    assert_eq!(said.code, Some(7), "{said:?}");
    assert!(said.out.contains("load_error lacking: cannot hook no_such_function_at_all"), "{said:?}");
    assert_eq!((rig.state("one"), rig.state("lacking")), ("enabled".into(), "load_error".into()));
    assert!(rig.done(&["list"]).contains("error: cannot hook no_such_function_at_all"));
    assert_eq!(rig.opened("one"), 1, "of the one that is loaded");
    let retried = rig.policy(&["enable", "lacking"]);
    assert_eq!(retried.code, Some(7), "{retried:?}");
    // What was never loaded has no claim to its name.
    let mended = rig.write("c.yaml", &opens_of("lacking", &rig.path("two")));
    rig.done(&["add", &mended]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 1));
    rig.done(&["delete", "lacking"]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    rig.agent.stop();
}

fn a_hook_that_may_be_missing_is_left_out() {
    let rig = Rig::new();
    let text = format!(
        "{}  - call: no_such_function_at_all\n    syscall: false\n    ignore: {{callNotFound: true}}\n",
        opens_of("one", &rig.path("one"))
    );
    let file = rig.write("p.yaml", &text);
    assert_eq!(rig.done(&["add", &file]), format!("{file}: partially_enabled one\n"));
    let listed = rig.listed("one");
    let hooks = listed["hooks"].as_array().expect("hooks");
    assert!(hooks[0]["mechanism"].is_string(), "{listed}");
    let missing = hooks.iter().filter(|hook| hook["mechanism"].is_null());
    let missing: Vec<_> = missing.map(|hook| hook["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(missing, ["no_such_function_at_all"], "{listed}");
    assert_eq!(rig.opened("one"), 1);
    let nothing = policy("two", "  - call: no_such_function_at_all\n    syscall: false\n");
    let file = rig.write("q.yaml", &nothing);
    assert_eq!(rig.policy(&["add", &file]).code, Some(7));
    rig.agent.stop();
}

fn numbers_come_and_go_with_a_policy() {
    const MEMORY: &str = "trigon_policy_kernel_memory_bytes";
    let rig = Rig::new();
    let states = |state: &str| rig.agent.metrics().sum("trigon_policies", &[("state", state)]);
    let memory = |name: &str| rig.agent.metrics().sum(MEMORY, &[("policy", name)]);
    assert_eq!((states("enabled"), rig.agent.metrics().has(MEMORY)), (0.0, false));
    let one = rig.write("a.yaml", &opens_of("one", &rig.path("one")));
    let two = rig.write("b.yaml", &opens_of("two", &rig.path("two")));
    rig.done(&["add", &one]);
    let alone = memory("one");
    assert!(states("enabled") == 1.0 && alone > 0.0, "{}", rig.agent.metrics());
    rig.done(&["add", &two]);
    assert!(states("enabled") == 2.0 && memory("two") > 0.0 && memory("one") < alone, "they share a program");
    assert!(memory("two") <= 200.0 * 1024.0, "{}", memory("two"));
    let missed = [("stage", "kernel"), ("reason", "recursion"), ("type", "HOOK")];
    assert!(
        rig.agent.metrics().to_string().contains("reason=\"recursion\",stage=\"kernel\",type=\"HOOK\""),
        "{missed:?}"
    );
    rig.done(&["disable", "two"]);
    assert_eq!((states("enabled"), states("disabled"), memory("two")), (1.0, 1.0, 0.0));
    rig.done(&["delete", "one", "two"]);
    assert_eq!((states("enabled"), states("disabled"), rig.agent.metrics().has(MEMORY)), (0.0, 0.0, false));
    rig.agent.stop();
}
