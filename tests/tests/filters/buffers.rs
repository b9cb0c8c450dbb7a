//! What is written and read: as much of it as is told, and what is asked of it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use trigon_tests::policed::{Told, matches, told_of};

use crate::{Case, policy};

pub fn buffers() {
    let hook = |name: &str, call: &str, buffer: &str| {
        let args = format!("{{index: 0, type: fd}}, {{index: 1, {buffer}}}, {{index: 2, type: size_t}}");
        let path = "matchArgs: [{index: 0, operator: Prefix, values: [FOLDER/]}]";
        policy(name, &format!("{{call: {call}, syscall: true, args: [{args}], selectors: [{{{path}}}]}}"))
    };
    let case = Case::of(&[
        hook("sized", "sys_write", "type: char_buf, sizeArgIndex: 3"),
        hook("constant", "sys_write", "type: const_buf, sizeArgIndex: 3"),
        hook("most", "sys_write", "type: char_buf, sizeArgIndex: 3, maxData: true"),
        hook("returned", "sys_read", "type: char_buf, returnCopy: true"),
        hook("vector", "sys_writev", "type: char_iovec, sizeArgIndex: 3"),
    ]);
    let ended = case.rig.around(|| {
        case.calls(
            "openat -100 @FOLDER/one 2 ; read $0 #9000 9000 ; write $0 #5 5 ; write $0 #9000 9000 ; \
             writev $0 [@first,5,@second,6] 2 ; writev $0 [@alone,5] 1",
        );
    });
    let told = told_of(&ended, case.workload.tag());
    let bytes = |policy: &str| -> Vec<(String, usize)> {
        let of = told.iter().filter(|told| told.policy == policy);
        of.map(|told: &Told| {
            let bytes = BASE64_STANDARD.decode(&told.args[1]).expect("base64");
            assert!(bytes.iter().all(|byte| policy != "sized" || *byte == b'x'), "{told:?}");
            (String::from_utf8(bytes.get(..10).unwrap_or(&bytes).to_vec()).expect("text"), bytes.len())
        })
        .collect()
    };
    assert_eq!(bytes("sized"), [("xxxxx".to_owned(), 5), ("x".repeat(10), 4096)]);
    assert_eq!(bytes("constant"), bytes("sized"));
    assert_eq!(bytes("most"), [("xxxxx".to_owned(), 5), ("x".repeat(10), 9000)]);
    // Ten bytes were there to be read, and no more are told.
    assert_eq!(bytes("returned"), [("0123456789".to_owned(), 10)]);
    assert_eq!(bytes("vector"), [("firstsecon".to_owned(), 11), ("alone".to_owned(), 5)]);
    let cut: Vec<_> = matches(&ended)
        .iter()
        .filter(|line| line.text("/process/binary").contains(case.workload.tag()))
        .filter_map(|line| {
            let size = line.at("/args/1/truncated_bytes_arg/orig_size").clone();
            (!size.is_null()).then(|| {
                (line.text("/policy_name").to_owned(), size.as_str().map_or(size.to_string(), str::to_owned))
            })
        })
        .collect();
    let of = |policy: &str| {
        cut.iter().filter(|(of, _)| of == policy).map(|(_, size)| size.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("sized"), ["9000"], "what is cut says how much there was: {cut:?}");
    assert_eq!(of("most"), [""; 0], "{cut:?}");
    assert_eq!(of("vector"), [""; 0], "{cut:?}");
}

/// What is written is looked at when the call is made, what is read when it returns.
pub fn contents_of_buffers() {
    let hook = |name: &str, call: &str, buffer: &str, operator: &str, values: &str| {
        let args = format!("{{index: 0, type: fd}}, {{index: 1, type: {buffer}}}");
        let path = "{index: 0, operator: Prefix, values: [FOLDER/]}";
        let content = format!("{{index: 1, operator: {operator}, values: [{values}]}}");
        let selectors = format!("selectors: [{{matchArgs: [{path}, {content}]}}]");
        policy(name, &format!("{{call: {call}, syscall: true, args: [{args}], {selectors}}}"))
    };
    let sized = "char_buf, sizeArgIndex: 3";
    let returned = "char_buf, returnCopy: true";
    let vector = "char_iovec, sizeArgIndex: 3";
    let each =
        [("equal", "Equal", "abcd, wxyz"), ("prefix", "Prefix", "ab, wx"), ("postfix", "Postfix", "cd, yz")];
    let all =
        [("write", "sys_write", sized), ("read", "sys_pread64", returned), ("vector", "sys_writev", vector)];
    let policies: Vec<_> = all
        .iter()
        .flat_map(|(name, call, buffer)| {
            let not = |operator: &str| format!("Not{operator}");
            each.iter().flat_map(move |(what, operator, values)| {
                [
                    hook(&format!("{name}-{what}"), call, buffer, operator, values),
                    hook(&format!("{name}-not-{what}"), call, buffer, &not(operator), values),
                ]
            })
        })
        .collect();
    let case = Case::of(&policies);
    let texts = ["abcd", "abxx", "xxcd", "mn"];
    let told = case.told(|| {
        let write = |text: &&str| format!("write $0 @{text} {}", text.len());
        let read = |(index, text): (usize, &&str)| {
            let offset = texts[..index].iter().map(|text| text.len()).sum::<usize>();
            format!("pread64 $0 #{0} {0} {offset}", text.len())
        };
        let vector = |text: &&str| {
            let (first, second) = text.split_at(1);
            format!("writev $0 [@{first},{},@{second},{}] 2", first.len(), second.len())
        };
        let calls = texts.iter().map(write).chain(texts.iter().enumerate().map(read));
        let calls: Vec<_> = calls.chain(texts.iter().map(vector)).collect();
        case.calls(&format!("openat -100 @FOLDER/one 2 ; {}", calls.join(" ; ")));
    });
    for (call, _, _) in all {
        for (what, expected, others) in [
            ("equal", vec!["abcd"], vec!["abxx", "xxcd", "mn"]),
            ("prefix", vec!["abcd", "abxx"], vec!["xxcd", "mn"]),
            ("postfix", vec!["abcd", "xxcd"], vec!["abxx", "mn"]),
        ] {
            let of = |policy: String| -> Vec<String> {
                let of = told.iter().filter(|told| told.policy == policy);
                let bytes = of.map(|told| BASE64_STANDARD.decode(&told.args[1]).expect("base64"));
                bytes.map(|bytes| String::from_utf8(bytes).expect("text")).collect()
            };
            assert_eq!(of(format!("{call}-{what}")), expected, "{call} {what}: {told:?}");
            assert_eq!(of(format!("{call}-not-{what}")), others, "{call} not {what}: {told:?}");
        }
    }
}
