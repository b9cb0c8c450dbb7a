//! uprobes and uretprobes.

use std::{fs, os::unix::process::ExitStatusExt as _};

use serde_json::json;
use trigon_probes::elf::{Elf, Found};
use trigon_tests::{hooked::Hooked, suite::Suite};

use crate::{KERNEL, Rig, args};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("functions_by_their_names", KERNEL, by_name);
    suite.test("what_the_kernel_has_of_the_thread", KERNEL, data);
    suite.test("places_by_offset_and_address", KERNEL, by_offset_and_address);
    suite.test("text_in_a_program's_memory", KERNEL, text);
    suite.test("what_a_function_returns", KERNEL, returned);
    suite.test("filters_on_what_a_function_is_given", KERNEL, filters);
    suite.test("a_process_is_killed_at_a_function", KERNEL, killed);
    suite.test("a_hook_is_on_a_file_and_not_on_its_path", KERNEL, other_names);
    suite.test("without_uprobe_multi", KERNEL, without_multi);
}

const ADDED: &str = r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["added"]
    message: "sums are made"
    tags: ["numbers"]
    args: [{index: 0, type: int, label: first}, {index: 1, type: int64}]
"#;

fn offset_of(hooked: &Hooked, function: &str) -> u64 {
    let elf = Elf::open(&hooked.program()).expect("read the program");
    match elf.function(function).expect("read its symbols") {
        Found::At(offset) => offset,
        other => panic!("{function}: {other:?}"),
    }
}

fn by_name() {
    let rig = Rig::new(ADDED);
    let mut pid = 0;
    let lines = rig.around(|hooked, _| {
        hooked.run(&["say", "nothing"]);
        pid = hooked.run(&["add", "-3", "5000000000", "7", "-8"]).0;
    });
    assert_eq!(
        args(&lines),
        [
            json!([{"int_arg": -3, "label": "first"}, {"long_arg": "5000000000"}]),
            json!([{"int_arg": 7, "label": "first"}, {"long_arg": "-8"}]),
        ]
    );
    let line = &lines[0];
    assert_eq!((line.kind.as_str(), line.pid()), ("process_uprobe", pid));
    assert_eq!((line.text("/path"), line.text("/symbol")), (rig.program().as_str(), "added"));
    assert_eq!((line.text("/message"), line.text("/action")), ("sums are made", "KPROBE_ACTION_POST"));
    assert_eq!(line.at("/tags"), &json!(["numbers"]));
    assert_eq!(line.text("/process/binary"), rig.program());
}

/// Of the thread and its registers, as in hooks of the kernel; where the return is waited for they are the call's.
fn data() {
    let argument = if cfg!(target_arch = "x86_64") { "rdi" } else { "regs[0]" };
    let rig = Rig::new(&format!(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["said"]
    args: [{{source: current_task, resolve: mm.exe_file, label: program}}, {{index: 1, type: size_t}}]
    data:
    - {{source: current_task, resolve: tgid, label: pid}}
    - {{source: pt_regs, resolve: "{argument}", type: string}}
    - {{index: 1, type: int8}}
    selectors:
    - matchData: [{{args: [1], operator: Prefix, values: ["sec"]}}]
      matchArgs: [{{args: [1], operator: GT, values: ["3"]}}]
  - path: "PROGRAM"
    symbols: ["added"]
    data: [{{source: pt_regs, resolve: "{argument}"}}]
    return: true
    returnArg: {{index: 0, type: int64}}
"#
    ));
    let mut pid = 0;
    let lines = rig.around(|hooked, _| {
        pid = hooked.run(&["say", "something else", "secret word", "sec"]).0;
        hooked.run(&["add", "3", "4"]);
    });
    let [said, added] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(
        (said.at("/args/0/file_arg/path"), said.at("/args/0/label")),
        (&json!(rig.program()), &json!("program"))
    );
    assert_eq!(said.at("/args/1"), &json!({"size_arg": "11"}));
    let data = json!([{"int_arg": pid, "label": "pid"}, {"string_arg": "secret word"}, {"int_arg": 11}]);
    assert_eq!((said.at("/data"), said.pid()), (&data, pid));
    assert_eq!(
        (added.at("/return"), added.at("/data")),
        (&json!({"long_arg": "7"}), &json!([{"size_arg": "3"}]))
    );
}

fn by_offset_and_address() {
    let rig = Rig::new("");
    let offset = offset_of(&rig.hooked, "added");
    let address = Elf::open(&rig.hooked.program()).expect("read it").address_of(offset).expect("it is code");
    for (key, place) in [("offsets", offset), ("addrs", address)] {
        let spec = ADDED.replace("symbols: [\"added\"]", &format!("{key}: [{place:#x}]"));
        let rig = Rig::new(&spec);
        let lines = rig.around(|hooked, _| {
            hooked.run(&["add", "1", "2"]);
        });
        assert_eq!(lines.len(), 1, "{key}");
        assert_eq!((lines[0].text("/symbol"), lines[0].text("/offset")), ("", offset.to_string().as_str()));
    }
}

fn text() {
    let rig = Rig::new(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["said"]
    args:
    - {index: 0, type: string}
    - {index: 1, type: size_t}
    - {index: 0, type: char_buf, sizeArgIndex: 2}
    selectors:
    - matchArgs: [{index: 0, operator: Prefix, values: ["sec"]}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["say", "something else", "secret word", "sec"]);
    });
    assert_eq!(
        args(&lines),
        [
            json!([{"string_arg": "secret word"}, {"size_arg": "11"}, {"bytes_arg": "c2VjcmV0IHdvcmQ="}]),
            json!([{"string_arg": "sec"}, {"size_arg": "3"}, {"bytes_arg": "c2Vj"}]),
        ]
    );
}

fn returned() {
    let rig = Rig::new(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["added", "said"]
    args: [{index: 1, type: int64}]
    return: true
    returnArg: {index: 0, type: int64}
    selectors:
    - matchReturnArgs: [{index: 0, operator: GreaterThan, values: ["10"]}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["add", "1", "2", "5", "6"]);
        hooked.run(&["say", "short", "a longer text"]);
    });
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.text("/symbol"), line.at("/return").clone(), line.at("/args").clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("added", json!({"long_arg": "11"}), json!([{"long_arg": "6"}])),
            ("said", json!({"long_arg": "13"}), json!([{"long_arg": "13"}])),
        ]
    );
}

fn filters() {
    let rig = Rig::new(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["added"]
    args: [{index: 0, type: int}, {index: 1, type: int64}]
    selectors:
    - matchBinaries: [{operator: In, values: ["/somewhere/else"]}]
    - matchBinaries: [{operator: In, values: ["PROGRAM"]}]
      matchArgs:
      - {index: 0, operator: LessThan, values: ["0"]}
      - {index: 1, operator: InRange, values: ["10:20"]}
    - matchArgs: [{index: 0, operator: Equal, values: ["99"]}]
      matchActions: [{action: NoPost}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["add", "-1", "9", "-1", "10", "-2", "20", "1", "15", "99", "15", "-1", "21"]);
    });
    assert_eq!(
        args(&lines),
        [json!([{"int_arg": -1}, {"long_arg": "10"}]), json!([{"int_arg": -2}, {"long_arg": "20"}])]
    );
    assert!(lines.iter().all(|line| line.at("/trigon/selector") == &json!(1)), "{lines:?}");
}

fn killed() {
    let rig = Rig::new(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["added"]
    args: [{index: 0, type: int}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: ["13"]}]
      matchActions: [{action: Sigkill}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        assert!(hooked.run(&["add", "12", "0"]).1.success());
        assert_eq!(hooked.run(&["add", "13", "0", "13", "1"]).1.signal(), Some(9));
    });
    assert_eq!(args(&lines), [json!([{"int_arg": 13}])], "it comes no further");
    assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_SIGKILL");
}

fn other_names() {
    let rig = Rig::new(ADDED);
    let (link, other) = (rig.hooked.folder().join("link"), rig.hooked.folder().join("other"));
    fs::hard_link(rig.hooked.program(), &link).expect("give it another name");
    let lines = rig.around(|hooked, _| {
        fs::copy(hooked.program(), &other).expect("copy it");
        for program in [&link, &other] {
            let status = std::process::Command::new(program).args(["add", "1", "2"]).status();
            assert!(status.expect("run it").success());
        }
        // Another file of the same path isn't the one that is hooked.
        fs::rename(&other, hooked.program()).expect("put another in its place");
        hooked.run(&["add", "3", "4"]);
    });
    let binaries: Vec<_> = lines.iter().map(|line| line.text("/process/binary").to_owned()).collect();
    assert_eq!(binaries, [link.to_str().expect("a plain path")]);
    assert_eq!(lines[0].text("/path"), rig.program(), "as the policy names it");
}

fn without_multi() {
    let rig = Rig::new(&format!("{ADDED}  options: [{{name: disable-uprobe-multi, value: \"1\"}}]\n"));
    let lines = rig.around(|hooked, agent| {
        hooked.run(&["add", "1", "2"]);
        let metrics = agent.metrics();
        let hook = format!("uprobe:{}:added", rig.program());
        let labels = metrics.labels("trigon_policy_hook_info", &[("hook", &hook)]);
        let mechanisms: Vec<_> = labels.iter().filter_map(|labels| labels.get("mechanism")).collect();
        assert_eq!(mechanisms, ["uprobe"], "{metrics}");
    });
    assert_eq!(lines.len(), 1);
}
