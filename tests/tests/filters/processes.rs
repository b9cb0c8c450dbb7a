//! Filters on who calls.

use std::{fs, process::Stdio};

use trigon_tests::{
    container::Container,
    policed::{Told, told_of},
    wait,
};

use crate::{Case, files_of, opens};

const ONE: &str = "openat -100 @FOLDER/one 0";
const TWO: &str = "openat -100 @FOLDER/two 0";

pub fn pids_of_the_host() {
    let case = Case::of(&[]);
    // It is there before the agent, and goes on when its standard input ends.
    let mut known = case.workload.command(case.words(&format!("read 0 #1 1 ; {ONE} ; fork ; {TWO}")));
    let mut known = known.stdin(Stdio::piped()).spawn().expect("run the workload");
    let filter = |operator: &str, follow: bool| {
        format!(
            "matchPIDs: [{{operator: {operator}, followForks: {follow}, values: [{}, 4000000]}}]",
            known.id()
        )
    };
    let policies = [
        opens("in", &filter("In", false)),
        opens("not-in", &filter("NotIn", false)),
        opens("from", &filter("In", true)),
        opens("not-from", &filter("NotIn", true)),
    ];
    case.write(&policies);
    let told = case.told(|| {
        case.calls("openat -100 @FOLDER/wanted 0");
        drop(known.stdin.take());
        assert!(known.wait().expect("wait for the workload").success());
    });
    assert_eq!(files_of(&told, "in", 0), ["one"], "{told:?}");
    assert_eq!(files_of(&told, "not-in", 0), ["wanted", "two"], "{told:?}");
    assert_eq!(files_of(&told, "from", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "not-from", 0), ["wanted"], "{told:?}");
}

pub fn pids_of_a_namespace() {
    let filter = |follow: bool| {
        format!("matchPIDs: [{{operator: In, isNamespacePID: true, followForks: {follow}, values: [1]}}]")
    };
    let case = Case::of(&[opens("first", &filter(false)), opens("from-first", &filter(true))]);
    let path = |name: &str| case.rig.path(name).display().to_string();
    let loops = format!("read line < {}; (read line < {})", path("one"), path("two"));
    let container = Container::start("", &loops);
    let agent = case.rig.agent().start();
    let enough = || {
        let lines = agent.lines_of("").into_iter().filter(|line| line.kind == "process_kprobe");
        let told: Vec<_> = lines.map(|line| Told::from(&line)).collect();
        (files_of(&told, "first", 0).len() > 1 && files_of(&told, "from-first", 0).len() > 4).then_some(told)
    };
    case.calls(ONE);
    let entered = container.enter(case.workload.program(), case.words(TWO)).status();
    assert!(entered.expect("run nsenter").success());
    let told = wait::until("events of the container", enough, || agent.log());
    drop(container);
    let ended = agent.stop();
    assert!(files_of(&told, "first", 0).iter().all(|name| name == "one"), "of its forks nothing: {told:?}");
    assert!(files_of(&told, "from-first", 0).iter().any(|name| name == "two"), "its forks as well: {told:?}");
    // Who isn't in the container descends from the first process of the host's namespace; who entered, from none.
    let others = told_of(&ended, case.workload.tag());
    assert_eq!(files_of(&others, "from-first", 0), ["one"], "{others:?}");
    assert_eq!(others.len(), 1, "{others:?}");
}

pub fn binaries() {
    let filter = |operator: &str, values: &str| {
        opens(
            &operator.to_lowercase(),
            &format!("matchBinaries: [{{operator: {operator}, values: [{values}]}}]"),
        )
    };
    let case = Case::of(&[
        filter("In", "WORK/alpha, /none/such"),
        filter("NotIn", "WORK/alpha, /none/such"),
        filter("Prefix", "WORK/al, /none"),
        filter("NotPrefix", "WORK/al, /none"),
        filter("Postfix", "/alpha, such"),
        filter("NotPostfix", "/alpha, such"),
    ]);
    case.alias("alpha");
    case.alias("beta");
    let told = case.told(|| {
        // What executes another program is that one from then on.
        case.calls("execve @WORK/alpha [@alpha,@calls,@openat,@-100,@@FOLDER/one,@0,0] [0]");
        case.calls("execve @WORK/beta [@beta,@calls,@openat,@-100,@@FOLDER/two,@0,0] [0]");
    });
    for operator in ["in", "prefix", "postfix"] {
        assert_eq!(files_of(&told, operator, 0), ["one"], "{operator}: {told:?}");
        assert_eq!(files_of(&told, &format!("not{operator}"), 0), ["two"], "not {operator}: {told:?}");
    }
}

pub fn binaries_and_what_they_start() {
    let filter = |operator: &str| {
        format!("matchBinaries: [{{operator: {operator}, followChildren: true, values: [WORK/alpha]}}]")
    };
    let case = Case::of(&[opens("in", &filter("In")), opens("not-in", &filter("NotIn"))]);
    case.alias("alpha");
    case.alias("beta");
    let beta = "execve @WORK/beta [@beta,@calls,@openat,@-100,@@FOLDER/FILE,@0,0] [0]";
    let told = case.told(|| {
        let words = case.words(&format!("{ONE} ; fork ; {}", beta.replace("FILE", "two")));
        let mut alpha = std::process::Command::new(case.workload.folder().join("alpha"));
        assert!(alpha.args(words).status().expect("run the workload").success());
        case.calls(&beta.replace("FILE", "wanted"));
    });
    assert_eq!(files_of(&told, "in", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "not-in", 0), ["wanted"], "{told:?}");
}

pub fn binaries_of_parents() {
    let filter =
        |operator: &str| format!("matchParentBinaries: [{{operator: {operator}, values: [WORK/alpha]}}]");
    let case = Case::of(&[opens("in", &filter("In")), opens("not-in", &filter("NotIn"))]);
    case.alias("alpha");
    case.alias("beta");
    let told = case.told(|| {
        let beta = "execve @WORK/beta [@beta,@calls,@openat,@-100,@@FOLDER/two,@0,0] [0]";
        let words = case.words(&format!("{ONE} ; fork ; {beta}"));
        let mut alpha = std::process::Command::new(case.workload.folder().join("alpha"));
        assert!(alpha.args(words).status().expect("run the workload").success());
    });
    assert_eq!(files_of(&told, "in", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "not-in", 0), ["one"], "{told:?}");
}

/// `alpha` starts what executes `gamma`, which forks.
pub fn binaries_of_parents_and_what_they_start() {
    let filter = |name: &str, operator: &str, follow: bool| {
        let item = format!("operator: {operator}, followChildren: {follow}, values: [WORK/alpha]");
        opens(name, &format!("matchParentBinaries: [{{{item}}}]"))
    };
    let case = Case::of(&[
        filter("in", "In", true),
        filter("not-in", "NotIn", true),
        filter("next-in", "In", false),
        filter("next-not-in", "NotIn", false),
    ]);
    ["alpha", "gamma"].iter().for_each(|name| drop(case.alias(name)));
    let told = case.told(|| {
        let gamma = "execve @WORK/gamma [@gamma,@calls,@openat,@-100,@@FOLDER/two,@0,@;,@fork,@;,\
                     @openat,@-100,@@FOLDER/wanted,@0,0] [0]";
        let words = case.words(&format!("{ONE} ; fork ; {gamma}"));
        let mut alpha = std::process::Command::new(case.workload.folder().join("alpha"));
        assert!(alpha.args(words).status().expect("run the workload").success());
        case.calls("openat -100 @FOLDER/forbidden 0");
    });
    assert_eq!(files_of(&told, "in", 0), ["two", "wanted"], "{told:?}");
    assert_eq!(files_of(&told, "not-in", 0), ["one", "forbidden"], "{told:?}");
    assert_eq!(files_of(&told, "next-in", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "next-not-in", 0), ["one", "wanted", "forbidden"], "{told:?}");
}

pub fn namespaces() {
    let container = Container::start("", "");
    let inode = |kind: &str| {
        let link = fs::read_link(format!("/proc/{}/ns/{kind}", container.init())).expect("read a namespace");
        let link = link.to_str().expect("plain").to_owned();
        link.rsplit_once('[').and_then(|(_, number)| number.strip_suffix(']')).expect("a number").to_owned()
    };
    let filter = |name: &str, namespace: &str, operator: &str, value: &str| {
        let item = format!("namespace: {namespace}, operator: {operator}, values: [{value}]");
        opens(name, &format!("matchNamespaces: [{{{item}}}]"))
    };
    let case = Case::of(&[
        filter("of-host", "Pid", "In", "host_ns"),
        filter("not-of-host", "Pid", "NotIn", "host_ns"),
        filter("of-it", "Mnt", "In", &format!("\"{}\", 1", inode("mnt"))),
        filter("not-of-it", "Mnt", "NotIn", &inode("mnt")),
        filter("uts", "Uts", "NotIn", "host_ns"),
        filter("net", "Net", "In", "host_ns"),
    ]);
    let told = case.told(|| {
        case.calls(ONE);
        let entered = container.enter(case.workload.program(), case.words(TWO)).status();
        assert!(entered.expect("run nsenter").success());
        // CLONE_NEWUTS
        case.calls("unshare 0x4000000 ; openat -100 @FOLDER/wanted 0");
    });
    assert_eq!(files_of(&told, "of-host", 0), ["one", "wanted"], "{told:?}");
    assert_eq!(files_of(&told, "not-of-host", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "of-it", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "not-of-it", 0), ["one", "wanted"], "{told:?}");
    assert_eq!(files_of(&told, "uts", 0), ["wanted"], "{told:?}");
    assert_eq!(files_of(&told, "net", 0), ["one", "two", "wanted"], "{told:?}");
}

pub fn capabilities() {
    let filter = |name: &str, set: &str, operator: &str, values: &str| {
        let item = format!("type: {set}, operator: {operator}, values: [{values}]");
        opens(name, &format!("matchCapabilities: [{{{item}}}]"))
    };
    let case = Case::of(&[
        filter("effective", "Effective", "In", "CAP_SYS_ADMIN"),
        filter("not-effective", "Effective", "NotIn", "CAP_SYS_ADMIN"),
        filter("permitted", "Permitted", "In", "CAP_SYS_ADMIN"),
        filter("not-permitted", "Permitted", "NotIn", "CAP_SYS_ADMIN"),
        filter("any", "Effective", "In", "CAP_SYS_ADMIN, CAP_CHOWN"),
        filter("inheritable", "Inheritable", "In", "CAP_SYS_ADMIN, CAP_CHOWN"),
    ]);
    let status = fs::read_to_string("/proc/self/status").expect("read what this process may");
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("a set");
    let permitted = u64::from_str_radix(permitted.trim(), 16).expect("a set in hexadecimal");
    // capset(2): version 3, of this process; the lower halves of three sets, then the upper ones.
    let capset = |effective: u64, permitted: u64| {
        let low = |set: u64| set & 0xffff_ffff;
        format!(
            "capset [0x20080522] [{:#x},{:#x},{:#x}]",
            low(effective) | low(permitted) << 32,
            low(effective >> 32) << 32,
            low(permitted >> 32)
        )
    };
    let less = permitted & !(1 << 21);
    let told = case.told(|| {
        let drop = capset(less, permitted);
        let drop_all = capset(less & !1, less);
        let wanted = "openat -100 @FOLDER/wanted 0";
        case.calls(&format!("{ONE} ; {drop} ; {TWO} ; {drop_all} ; {wanted}"));
    });
    assert_eq!(files_of(&told, "effective", 0), ["one"], "{told:?}");
    assert_eq!(files_of(&told, "not-effective", 0), ["two", "wanted"], "{told:?}");
    assert_eq!(files_of(&told, "permitted", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "not-permitted", 0), ["wanted"], "{told:?}");
    assert_eq!(files_of(&told, "any", 0), ["one", "two"], "one of them suffices: {told:?}");
    assert_eq!(files_of(&told, "inheritable", 0), [""; 0], "{told:?}");
}

/// In a user namespace of its own a process may everything, there.
pub fn capabilities_of_a_namespace() {
    let filter = |name: &str, operator: &str, flag: &str| {
        let item = format!("type: Effective, operator: {operator}, values: [CAP_SYS_ADMIN]{flag}");
        opens(name, &format!("matchCapabilities: [{{{item}}}]"))
    };
    let case = Case::of(&[
        filter("anywhere", "In", ""),
        filter("of-host-too", "In", ", isNamespaceCapability: false"),
        filter("of-namespace", "In", ", isNamespaceCapability: true"),
        filter("not-of-namespace", "NotIn", ", isNamespaceCapability: true"),
    ]);
    let told = case.told(|| {
        // CLONE_NEWUSER; and who executes there, as nobody, is without capabilities.
        let drop = "execve @WORK/workload [@workload,@calls,@openat,@-100,@@FOLDER/wanted,@0,0] [0]";
        case.calls(&format!("{ONE} ; unshare 0x10000000 ; {TWO} ; {drop}"));
    });
    assert_eq!(files_of(&told, "anywhere", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "of-host-too", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "of-namespace", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "not-of-namespace", 0), ["wanted"], "{told:?}");
}
