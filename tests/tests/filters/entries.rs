//! Events that are told when a call returns tell of what it was given when it was made.

use crate::{Case, policy};

const RETURNED: &str = "syscall: true, return: true, returnArg: {index: 0, type: int}";

pub fn a_path_that_is_overwritten_meanwhile() {
    let args = "args: [{index: 1, type: string}]";
    let fifo = "matchArgs: [{index: 1, operator: Equal, values: [FOLDER/fifo]}]";
    let opened = "matchReturnArgs: [{index: 0, operator: GT, values: ['-1']}]";
    let case = Case::of(&[
        policy("open", &format!("{{call: sys_openat, {RETURNED}, {args}, selectors: [{{{fifo}}}]}}")),
        // Nothing asks for the path at the entry.
        policy("any", &format!("{{call: sys_openat, {RETURNED}, {args}, selectors: [{{{opened}}}]}}")),
    ]);
    let fifo = case.rig.path("fifo");
    let path = fifo.to_str().expect("a plain path");
    let told = case.told(|| {
        case.calls("mknod @FOLDER/fifo 0x1180 0");
        let status = case.workload.command(["open-overwritten", path]).status();
        assert!(status.expect("run the workload").success());
    });
    let of = |policy: &str, path: &str| {
        told.iter().filter(|told| told.policy == policy && told.args[0] == path).count()
    };
    // Reader and writer.
    assert_eq!((of("open", path), of("any", path)), (2, 2), "{told:?}");
    let overwritten = "x".repeat(path.len());
    assert_eq!((of("open", &overwritten), of("any", &overwritten)), (0, 0), "{told:?}");
}

pub fn two_long_paths() {
    let args = "args: [{index: 0, type: string}, {index: 1, type: string}]";
    let from = "matchArgs: [{index: 0, operator: Postfix, values: [/one]}]";
    let case = Case::of(&[policy(
        "rename",
        &format!("{{call: sys_rename, {RETURNED}, {args}, selectors: [{{{from}}}]}}"),
    )]);
    let path = |name: &str| format!("{}/{}{name}", case.rig.folder.path().display(), "./".repeat(1500));
    let (one, two) = (path("one"), path("new"));
    let told = case.told(|| case.calls(&format!("rename @{one} @{two}")));
    let texts: Vec<_> = told.iter().map(|told| told.args.clone()).collect();
    assert_eq!(texts, [[one, two]]);
}
