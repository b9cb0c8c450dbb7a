//! What is done where a selector matches.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command, thread};

use trigon_tests::policed::{matches, names, told};

use crate::{Case, files_of, opens, policy};

const ONE: &str = "openat -100 @FOLDER/one 0";
const TWO: &str = "openat -100 @FOLDER/two 0";

/// A policy on `openat` with the selectors that are given.
fn selectors(name: &str, selectors: &str) -> String {
    let hook = "call: sys_openat, syscall: true, args: [{index: 1, type: string}]";
    policy(name, &format!("{{{hook}, selectors: [{selectors}]}}"))
}

fn path(operator: &str, value: &str) -> String {
    format!("matchArgs: [{{index: 1, operator: {operator}, values: [{value}]}}]")
}

pub fn rates_by_scope() {
    let limited = |scope: &str| {
        opens(scope, &format!("matchActions: [{{action: Post, rateLimit: 1h, rateLimitScope: {scope}}}]"))
    };
    let case = Case::of(&[limited("thread"), limited("process"), limited("global")]);
    let agent = case.rig.agent().start();
    let thrice = |name: &str| {
        for _ in 0..3 {
            fs::read(case.rig.path(name)).expect("read a file");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| thrice("one"));
    });
    thread::scope(|scope| {
        scope.spawn(|| thrice("one"));
    });
    thrice("two");
    case.calls(&[ONE, ONE, ONE].join(" ; "));
    // What rates hold back is counted: 3 of 3 + 3 + 3 + 3 by threads, 9 of 12 by processes, 10 of 12 at all.
    let held = agent.until_metrics("what rates held back", |metrics| {
        let held = metrics.sum("trigon_lost_events_total", &[("reason", "rate_limit")]);
        (held > 0.0).then_some(held)
    });
    let ended = agent.stop();
    let lines = matches(&ended);
    let of = |policy: &str, name: &str| {
        let lines: Vec<_> =
            lines.iter().filter(|line| line.text("/policy_name") == policy).cloned().collect();
        names(&told(&lines, None), &case.rig.path(name)).len()
    };
    assert_eq!((of("thread", "one"), of("thread", "two")), (3, 1), "two threads and a process");
    assert_eq!((of("process", "one"), of("process", "two")), (2, 1), "two processes");
    assert_eq!((of("global", "one"), of("global", "two")), (1, 1));
    let expected = 3 * 12 - (3 + 1 + 2 + 1 + 1 + 1);
    assert_eq!(held as usize, expected, "what is held back is counted");
}

pub fn a_rate_is_over_after_its_interval() {
    let case = Case::of(&[opens("limited", "matchActions: [{action: Post, rateLimit: '1'}]")]);
    let told = case.told(|| case.calls(&format!("{ONE} ; {ONE} ; sleep 1500 ; {ONE} ; {TWO}")));
    assert_eq!(files_of(&told, "limited", 0), ["one", "one", "two"], "{told:?}");
}

pub fn a_signal_that_is_handled() {
    let case = Case::of(&[selectors(
        "signal",
        &format!("{{{}, matchActions: [{{action: Signal, argSig: 10}}]}}", path("Equal", "FOLDER/one")),
    )]);
    let script = format!(
        "trap 'exit 7' USR1; read line < {}; while :; do read line < {}; done",
        case.rig.path("two").display(),
        case.rig.path("one").display()
    );
    let mut status = None;
    let ended = case.rig.around(|| {
        status = Some(Command::new("sh").args(["-c", &script]).status().expect("run sh"));
    });
    assert_eq!(status.and_then(|status| status.code()), Some(7), "it got the signal and exits as it likes");
    let lines = matches(&ended);
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line.text("/action") == "KPROBE_ACTION_SIGNAL"),
        "{lines:?}"
    );
    // Without a handler, the signal ends it.
    let mut status = None;
    case.rig.around(|| {
        status = Some(case.workload.command(case.words(ONE)).status().expect("run the workload"));
    });
    assert_eq!(status.and_then(|status| status.signal()), Some(10));
}

pub fn first_selector_that_matches_wins() {
    let (one, all) = (path("Equal", "FOLDER/one"), path("Prefix", "FOLDER/"));
    let kill = "matchActions: [{action: Sigkill}]";
    let case = Case::of(&[
        selectors("hidden", &format!("{{{one}, matchActions: [{{action: NoPost}}]}}, {{{all}}}")),
        selectors("shown", &format!("{{{all}}}, {{{one}, matchActions: [{{action: NoPost}}]}}")),
        selectors("spared", &format!("{{{all}}}, {{{one}, {kill}}}")),
        selectors(
            "third",
            &format!("{{{}}}, {{{}}}, {{{all}}}", path("Equal", "FOLDER/x"), path("Equal", "FOLDER/y")),
        ),
    ]);
    let told = case.told(|| case.calls(&format!("{ONE} ; {TWO}")));
    assert_eq!(files_of(&told, "hidden", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "shown", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "spared", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "third", 0), ["one", "two"], "{told:?}");
    // An action beside NoPost is done all the same.
    case.write(&[selectors(
        "silent",
        &format!("{{{one}, matchActions: [{{action: NoPost}}, {{action: Sigkill}}]}}"),
    )]);
    let told = case.told(|| {
        let killed = case.workload.command(case.words(&format!("{TWO} ; {ONE}"))).status();
        assert_eq!(killed.expect("run the workload").signal(), Some(9));
    });
    assert_eq!(told, []);
}

pub fn each_policy_has_its_event() {
    let read = "call: sys_read, syscall: true, args: [{index: 0, type: fd}]";
    let one = "matchArgs: [{index: 0, operator: Postfix, values: [/one]}]";
    let case = Case::of(&[
        selectors("by-name", &format!("{{{}}}", path("Postfix", "/one"))),
        selectors("by-folder", &format!("{{{}}}", path("Prefix", "FOLDER/"))),
        selectors("hides", &format!("{{{}, matchActions: [{{action: NoPost}}]}}", path("Prefix", "FOLDER/"))),
        policy("elsewhere", &format!("{{{read}, selectors: [{{{one}}}]}}")),
    ]);
    let told = case.told(|| case.calls(&format!("{ONE} ; {TWO} ; read $0 #1 1 ; read $1 #1 1")));
    assert_eq!(files_of(&told, "by-name", 0), ["one"], "{told:?}");
    assert_eq!(files_of(&told, "by-folder", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "hides", 0), [""; 0], "{told:?}");
    assert_eq!(files_of(&told, "elsewhere", 0), ["one"], "{told:?}");
}

/// Opens, reads and closes in the folder through descriptors that were followed from their opening on.
fn follow() -> String {
    let open = "{call: fd_install, syscall: false, args: [{index: 0, type: int}, {index: 1, type: file}], \
         selectors: [{matchArgs: [{index: 1, operator: Postfix, values: [/wanted]}, \
         {index: 1, operator: Prefix, values: [FOLDER/]}], \
         matchActions: [{action: FollowFD, argFd: 0, argName: 1}]}]}";
    let close = "{call: sys_close, syscall: true, args: [{index: 0, type: int}], \
         selectors: [{matchActions: [{action: UnfollowFD, argFd: 0, argName: 0}]}]}";
    let read = "{call: sys_read, syscall: true, args: [{index: 0, type: fd}, {index: 2, type: size_t}]}";
    policy("follow", &format!("{open}, {close}, {read}"))
}

pub fn copies_of_followed_descriptors() {
    let case = Case::of(&[follow()]);
    let told = case.told(|| {
        // dup2 to 50, the first closed, a copy of the copy by fcntl (F_DUPFD from 60 on), a fork, an exec. Sizes tell
        // the reads apart.
        case.calls(
            "openat -100 @FOLDER/wanted 0 ; dup2 $0 50 ; close $0 ; read 50 #1 1 ; fcntl 50 0 60 ; read 60 #2 2 ; \
             openat -100 @FOLDER/one 0 ; read $6 #9 9 ; fork ; read 60 #3 3 ; \
             execve @WORK/workload [@workload,@calls,@read,@50,@#4,@4,0] [0]",
        );
    });
    let reads = told.iter().filter(|told| told.function == "read");
    let reads: Vec<_> = reads
        .map(|told| (told.args[0].rsplit('/').next().unwrap_or_default(), told.args[1].as_str()))
        .collect();
    assert_eq!(reads, [("wanted", "1"), ("wanted", "2"), ("wanted", "3"), ("wanted", "4")], "{told:?}");
    let first = told.first().map(|told| told.function.as_str());
    assert_eq!(first, Some("fd_install"), "{told:?}");
    assert!(
        told.iter().any(|told| told.function == "close" && told.args[0].ends_with("/wanted")),
        "{told:?}"
    );
}

pub fn what_is_not_followed_posts_nothing() {
    let case = Case::of(&[follow()]);
    let told = case.told(|| {
        // The number is used again by a file that nobody follows.
        case.calls(
            "openat -100 @FOLDER/wanted 0 ; close $0 ; openat -100 @FOLDER/one 0 ; read $2 #1 1 ; close $2 ; \
             ?read 99 #1 1 ; ?close 99",
        );
    });
    let functions: Vec<_> = told.iter().map(|told| told.function.as_str()).collect();
    assert_eq!(functions, ["fd_install", "close"], "{told:?}");
}
