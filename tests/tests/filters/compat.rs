//! System calls that are made as 32-bit programs make them: they have numbers, layouts and functions of their own.

use std::os::unix::process::ExitStatusExt as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use trigon_tests::{
    otlp::{Attributes as _, Log, Protocol, Receiver},
    policed::{matches, told_of},
    rig,
};

use crate::{Case, files_of, opens, policy};

const OPEN: &str = "call: sys_open, syscall: true, args: [{index: 0, type: string}]";
const WANTED: &str = "matchArgs: [{index: 0, operator: Equal, values: [FOLDER/wanted]}]";

/// Their functions are named in full, as the kernel names them; what they do is what the machine's own do.
pub fn opens_by_32_bit_calls() {
    let case = Case::of(&[
        policy("open", &format!("{{{OPEN}, selectors: [{{{WANTED}}}]}}")),
        opens("openat", "matchPIDs: [{operator: NotIn, values: [1]}]"),
    ]);
    let receiver = Receiver::open();
    let agent = rig::Rig::agent(&receiver, Protocol::Grpc, "").argument("--policy");
    let agent = agent.argument(case.rig.policy.to_str().expect("a plain path")).start();
    case.calls(
        "32:open @FOLDER/wanted 0 ; 32:open @FOLDER/one 0 ; 32:openat -100 @FOLDER/two 0 ; open @FOLDER/wanted 0",
    );
    let expected = ["__ia32_sys_open wanted", "__ia32_sys_openat two", "__x64_sys_open wanted"];
    let logs = receiver.until("records of three opens", |received| {
        let logs = received.logs_of(case.workload.tag()).into_iter();
        let opens: Vec<_> = logs.filter(|log| log.record.event_name == "file.open").cloned().collect();
        (opens.len() >= expected.len()).then_some(opens)
    });
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let text = |log: &Log, key: &str| log.text(key).unwrap_or_default().to_owned();
    let of_logs = logs
        .iter()
        .map(|log| format!("{} {}", text(log, "trigon.hook.function"), name(&text(log, "file.path"))));
    let of_logs: Vec<_> = of_logs.collect();
    assert_eq!(of_logs, expected);
    let lines = matches(&agent.stop());
    let ours = lines.iter().filter(|line| line.text("/process/binary").contains(case.workload.tag()));
    let of_lines: Vec<_> = ours
        .map(|line| {
            let path = line.at("/args/0/string_arg").as_str().map(name).unwrap_or_default();
            format!("{} {path}", line.text("/function_name"))
        })
        .collect();
    assert_eq!(of_lines, expected);
}

/// The number of `creat` in 32 bits is that of `lseek` in 64, and neither's other number is the other's.
pub fn numbers_that_mean_something_else() {
    let hook = |name: &str, number: &str| {
        policy(name, &format!("{{call: sys_{name}, syscall: true, args: [{{index: 1, type: {number}}}]}}"))
    };
    let case = Case::of(&[hook("creat", "uint32"), hook("lseek", "uint64")]);
    let ended = case.rig.around(|| {
        case.calls(
            "creat @WORK/a 0x181 ; 32:creat @WORK/b 0x182 ; lseek $0 11 0 ; 32:lseek $0 12 0 ; \
             ?readv $0 [0] 0 ; ?32:readlink @WORK/a #9 9",
        );
    });
    let lines = matches(&ended);
    let ours = lines.iter().filter(|line| line.text("/process/binary").contains(case.workload.tag()));
    let told: Vec<_> = ours
        .map(|line| {
            let number = line.at("/args/0").as_object().and_then(|arg| arg.values().next().cloned());
            let number = number.map(|number| number.as_str().map_or(number.to_string(), str::to_owned));
            format!("{} {}", line.text("/function_name"), number.unwrap_or_default())
        })
        .collect();
    let expected =
        ["__x64_sys_creat 385", "__ia32_sys_creat 386", "__x64_sys_lseek 11", "__ia32_sys_lseek 12"];
    assert_eq!(told, expected);
}

/// What the kernel does on behalf of such calls is seen as ever.
pub fn files_that_32_bit_calls_open() {
    let hook = |call: &str, index: u8| {
        let item = format!("matchArgs: [{{index: {index}, operator: Prefix, values: [FOLDER/]}}]");
        let args = format!("args: [{{index: {index}, type: file}}]");
        policy(
            &call.replace('_', "-"),
            &format!("{{call: {call}, syscall: false, {args}, selectors: [{{{item}}}]}}"),
        )
    };
    let case = Case::of(&[hook("fd_install", 1), hook("security_file_open", 0)]);
    let told = case.told(|| {
        case.calls("32:open @FOLDER/one 0 ; 32:openat -100 @FOLDER/two 0 ; ?32:open @FOLDER/none 0")
    });
    assert_eq!(files_of(&told, "fd-install", 0), ["one", "two"], "{told:?}");
    assert_eq!(files_of(&told, "security-file-open", 0), ["one", "two"], "{told:?}");
}

/// Pointers and sizes in the process's memory have 32 bits.
pub fn vectors_of_32_bit_calls() {
    let args = "args: [{index: 0, type: fd}, {index: 1, type: char_iovec, sizeArgIndex: 3}]";
    let path = "matchArgs: [{index: 0, operator: Prefix, values: [FOLDER/]}]";
    let hook = |call: &str| {
        policy(call, &format!("{{call: sys_{call}, syscall: true, {args}, selectors: [{{{path}}}]}}"))
    };
    let read = "call: sys_readv, syscall: true, args: [{index: 0, type: fd}, {index: 1, type: char_iovec, returnCopy: true}]";
    let case = Case::of(&[hook("writev"), policy("readv", &format!("{{{read}, selectors: [{{{path}}}]}}"))]);
    let ended = case.rig.around(|| {
        case.calls(
            "32:open @FOLDER/one 2 ; 32:readv $0 [#4,4,#3,3] 2 ; 32:writev $0 [@first,5,@second,6] 2 ; \
             writev $0 [@third,5,@fourth,6] 2",
        );
    });
    let told = told_of(&ended, case.workload.tag());
    let told: Vec<_> = told
        .iter()
        .map(|told| {
            let bytes = BASE64_STANDARD.decode(&told.args[1]).expect("base64");
            (told.function.as_str(), String::from_utf8(bytes).expect("text"))
        })
        .collect();
    let expected = [("readv", "0123456"), ("writev", "firstsecond"), ("writev", "thirdfourth")];
    assert_eq!(told, expected.map(|(function, bytes)| (function, bytes.to_owned())));
}

pub fn a_32_bit_call_that_is_killed() {
    let case = Case::of(&[policy(
        "kill",
        &format!("{{{OPEN}, selectors: [{{{WANTED}, matchActions: [{{action: Sigkill}}]}}]}}"),
    )]);
    let told = case.told(|| {
        let words =
            case.words("32:open @FOLDER/one 0 ; 32:open @FOLDER/wanted 0 ; 32:creat @FOLDER/after 0x180");
        let status = case.workload.command(words).status().expect("run the workload");
        assert_eq!(status.signal(), Some(9));
    });
    assert_eq!(files_of(&told, "kill", 0), ["wanted"], "{told:?}");
    assert!(!case.rig.path("after").exists(), "what comes after is not done");
}
