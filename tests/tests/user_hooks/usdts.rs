//! USDT probes.

use serde_json::json;
use trigon_tests::suite::Suite;

use crate::{KERNEL, Rig, args};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("arguments_of_a_probe", KERNEL, arguments);
    suite.test("types_that_a_policy_gives", KERNEL, types);
    suite.test("memory_by_two_registers", KERNEL, scaled);
    suite.test("a_probe_that_counts_who_looks", KERNEL, counted);
    suite.test("filters_on_a_probe", KERNEL, filters);
}

fn arguments() {
    let rig = Rig::new(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: plain
    message: "a probe"
    args: [{index: 0}, {index: 1}, {index: 2, type: auto}, {index: 3}, {index: 4, type: string}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["probe", "7", "-2"]);
    });
    assert_eq!(
        args(&lines),
        [
            json!([{"int_arg": 7}, {"size_arg": "8"}, {"long_arg": "7000"}, {"uint_arg": 5}, {"string_arg": "a text"}]),
            json!([
                {"int_arg": -2}, {"size_arg": u64::MAX.to_string()}, {"long_arg": "-2000"}, {"uint_arg": 5},
                {"string_arg": "a text"}
            ]),
        ]
    );
    let line = &lines[0];
    assert_eq!(line.kind, "process_usdt");
    assert_eq!((line.text("/path"), line.text("/message")), (rig.program().as_str(), "a probe"));
    assert_eq!((line.text("/provider"), line.text("/name")), ("trigon", "plain"));
}

fn types() {
    let rig = Rig::new(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: plain
    args: [{index: 0, type: int64}, {index: 2, type: int8}, {index: 3, type: uint64}]
    data: [{source: current_task, resolve: comm}, {index: 4, type: string}]
"#,
    )
    .of_trigon();
    let lines = rig.around(|hooked, _| {
        hooked.run(&["probe", "-1"]);
    });
    // -1000 has the low byte 0x18.
    assert_eq!(args(&lines), [json!([{"long_arg": "-1"}, {"int_arg": 24}, {"size_arg": "5"}])]);
    assert_eq!(lines[0].at("/data"), &json!([{"string_arg": "hooked"}, {"string_arg": "a text"}]));
}

fn scaled() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let rig = Rig::new(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: scaled
    args: [{index: 0}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["probe", "1"]);
    });
    assert_eq!(args(&lines), [json!([{"int_arg": -3}])]);
}

/// Its program passes it only while somebody looks.
fn counted() {
    let rig = Rig::new(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: counted
    args: [{index: 0}]
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["probe", "4", "5"]);
    });
    assert_eq!(args(&lines), [json!([{"int_arg": 8}]), json!([{"int_arg": 10}])]);
}

fn filters() {
    let rig = Rig::new(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: plain
    args: [{index: 2}, {index: 4, type: string}]
    selectors:
    - matchArgs:
      - {index: 2, operator: GreaterThan, values: ["5000"]}
      - {index: 4, operator: Equal, values: ["a text"]}
"#,
    );
    let lines = rig.around(|hooked, _| {
        hooked.run(&["probe", "5", "6", "-6"]);
    });
    assert_eq!(args(&lines), [json!([{"long_arg": "6000"}, {"string_arg": "a text"}])]);
}
