//! What arguments are read as, and what is asked of them.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use trigon_tests::policed::{Told, matches, told_of};

use crate::{Case, files_of, opens, policy};

/// An option of prctl(2) that there is none of: the call does nothing, and its other arguments may be anything.
const NO_OPTION: u32 = 77_001;

/// Name, type, operator and values; and which calls pass, the argument told as what.
type Comparison = (&'static str, &'static str, &'static str, &'static str, &'static [(usize, &'static str)]);

/// A policy on such a call: argument 1 is of a type and satisfies a condition, argument 2 tells the calls apart.
fn numbers(name: &str, kind: &str, operator: &str, values: &str) -> String {
    let args = format!("{{index: 0, type: int}}, {{index: 1, type: {kind}}}, {{index: 2, type: uint64}}");
    let mine = format!("{{index: 0, operator: Equal, values: [{NO_OPTION}]}}");
    let filter = format!("{{index: 1, operator: {operator}, values: [{values}]}}");
    let selectors = format!("selectors: [{{matchArgs: [{mine}, {filter}]}}]");
    policy(name, &format!("{{call: sys_prctl, syscall: true, args: [{args}], {selectors}}}"))
}

pub fn integers_of_each_type() {
    // Of these, which calls have an argument that satisfies the condition, and as what it is told.
    let passed = ["-1", "0", "5", "127", "128", "200", "65535", "0x80000000", "0xffffffff", "0x100000005"];
    let cases: [Comparison; 20] = [
        ("i8", "int8", "Equal", "'-1'", &[(0, "-1"), (6, "-1"), (8, "-1")]),
        ("i8-less", "sint8", "LT", "'-100'", &[(4, "-128")]),
        ("u8", "uint8", "Equal", "255", &[(0, "255"), (6, "255"), (8, "255")]),
        ("u8-more", "uint8", "GT", "127", &[(0, "255"), (4, "128"), (5, "200"), (6, "255"), (8, "255")]),
        ("i16", "int16", "LessThan", "0", &[(0, "-1"), (6, "-1"), (8, "-1")]),
        ("u16", "uint16", "Equal", "65535", &[(0, "65535"), (6, "65535"), (8, "65535")]),
        ("i32", "int", "LT", "0", &[(0, "-1"), (7, "-2147483648"), (8, "-1")]),
        (
            "i32-not",
            "int32",
            "NotEqual",
            "'-1', 5, 0",
            &[(3, "127"), (4, "128"), (5, "200"), (6, "65535"), (7, "-2147483648")],
        ),
        ("u32", "uint32", "GT", "65535", &[(0, "4294967295"), (7, "2147483648"), (8, "4294967295")]),
        ("u32-set", "uint32", "Equal", "5, 128", &[(2, "5"), (4, "128"), (9, "5")]),
        ("i64", "int64", "LT", "0", &[(0, "-1")]),
        (
            "i64-more",
            "long",
            "GreaterThan",
            "2147483647",
            &[(7, "2147483648"), (8, "4294967295"), (9, "4294967301")],
        ),
        ("u64", "uint64", "GT", "4294967295", &[(0, "18446744073709551615"), (9, "4294967301")]),
        ("size", "size_t", "Equal", "18446744073709551615", &[(0, "18446744073709551615")]),
        ("range", "int", "InRange", "'-5:5'", &[(0, "-1"), (1, "0"), (2, "5"), (8, "-1"), (9, "5")]),
        ("ranges", "uint64", "InRange", "'1:127', '65535:65536'", &[(2, "5"), (3, "127"), (6, "65535")]),
        (
            "no-range",
            "uint64",
            "NotInRange",
            "'0:4294967295'",
            &[(0, "18446744073709551615"), (9, "4294967301")],
        ),
        (
            "mask",
            "uint64",
            "Mask",
            "128",
            &[(0, "18446744073709551615"), (4, "128"), (5, "200"), (6, "65535"), (8, "4294967295")],
        ),
        (
            "mask-of-any",
            "uint64",
            "Mask",
            "0x100000000, 1",
            &[
                (0, "18446744073709551615"),
                (2, "5"),
                (3, "127"),
                (6, "65535"),
                (8, "4294967295"),
                (9, "4294967301"),
            ],
        ),
        ("not-in-map", "int16", "NotInMap", "'-1', 0, 5, 127, 128", &[(5, "200")]),
    ];
    let case =
        Case::of(&cases.map(|(name, kind, operator, values, _)| numbers(name, kind, operator, values)));
    let told = case.told(|| {
        let calls = passed.iter().enumerate();
        let calls = calls.map(|(number, value)| format!("?prctl {NO_OPTION} {value} {number} 0 0"));
        // Another option: argument 0 is asked for as well.
        let other = format!("?prctl {} 5 100 0 0", NO_OPTION + 1);
        case.calls(&calls.chain([other]).collect::<Vec<_>>().join(" ; "));
    });
    for (name, kind, operator, values, expected) in cases {
        let found = told.iter().filter(|told| told.policy == name);
        let found: Vec<_> = found.map(|told| (told.args[2].clone(), told.args[1].clone())).collect();
        let expected: Vec<_> =
            expected.iter().map(|(call, as_what)| (call.to_string(), (*as_what).to_owned())).collect();
        assert_eq!(found, expected, "{name}: {kind} {operator} {values}");
    }
}

pub fn a_map_of_a_thousand_values() {
    let mut values = String::new();
    (0..1000).for_each(|value| write!(values, "{}, ", value * 1_000_003).expect("write"));
    let case =
        Case::of(&[numbers("in", "uint64", "InMap", &values), numbers("out", "uint64", "NotInMap", &values)]);
    let told = case.told(|| {
        let calls: Vec<_> = [0_u64, 1, 500 * 1_000_003, 999 * 1_000_003, 1000 * 1_000_003]
            .iter()
            .enumerate()
            .map(|(number, value)| format!("?prctl {NO_OPTION} {value} {number} 0 0"))
            .collect();
        case.calls(&calls.join(" ; "));
    });
    assert_eq!(files_of(&told, "in", 2), ["0", "2", "3"], "{told:?}");
    assert_eq!(files_of(&told, "out", 2), ["1", "4"], "{told:?}");
}

pub fn texts() {
    let filter = |operator: &str, values: &str| {
        let item = format!("{{index: 1, operator: {operator}, values: [{values}]}}");
        let folder = "{index: 1, operator: Prefix, values: [FOLDER/]}";
        let hook = "call: sys_openat, syscall: true, args: [{index: 1, type: string}]";
        let selectors = format!("selectors: [{{matchArgs: [{folder}, {item}]}}]");
        policy(&operator.to_lowercase(), &format!("{{{hook}, {selectors}}}"))
    };
    let case = Case::of(&[
        filter("Equal", "FOLDER/one, FOLDER/w"),
        filter("NotEqual", "FOLDER/one, FOLDER/w"),
        filter("Prefix", "FOLDER/one, FOLDER/w"),
        filter("NotPrefix", "FOLDER/one, FOLDER/w"),
        filter("Postfix", "/one, ted"),
        filter("NotPostfix", "/one, ted"),
    ]);
    let told = case.told(|| {
        let opens = ["one", "onerous", "two", "wanted"].map(|name| format!("?openat -100 @FOLDER/{name} 0"));
        case.calls(&opens.join(" ; "));
    });
    for (operator, expected, others) in [
        ("equal", vec!["one"], vec!["onerous", "two", "wanted"]),
        ("prefix", vec!["one", "onerous", "wanted"], vec!["two"]),
        ("postfix", vec!["one", "wanted"], vec!["onerous", "two"]),
    ] {
        assert_eq!(files_of(&told, operator, 0), expected, "{operator}: {told:?}");
        assert_eq!(files_of(&told, &format!("not{operator}"), 0), others, "not {operator}: {told:?}");
    }
}

pub fn types_of_files() {
    let filter = |name: &str, operator: &str, values: &str| {
        let items = format!(
            "{{index: 0, operator: Prefix, values: [FOLDER/]}}, {{index: 0, operator: {operator}, values: [{values}]}}"
        );
        let hook = "call: security_file_open, syscall: false, args: [{index: 0, type: file}]";
        policy(name, &format!("{{{hook}, selectors: [{{matchArgs: [{items}]}}]}}"))
    };
    let case = Case::of(&[
        filter("fifo", "FileType", "fifo"),
        filter("either", "FileType", "reg, dir"),
        filter("neither", "NotFileType", "reg, dir"),
        filter("character", "FileType", "chr"),
    ]);
    let told = case.told(|| {
        let (fifo, folder) = ("mknod @FOLDER/fifo 0x1180 0", "mkdir @FOLDER/folder 0x1c0");
        // Of the link, the file that it leads to is opened.
        let link = "symlink @FOLDER/fifo @FOLDER/link";
        let opens = ["one", "fifo", "folder", "link"].map(|name| format!("openat -100 @FOLDER/{name} 0x800"));
        case.calls(&format!("{fifo} ; {folder} ; {link} ; {}", opens.join(" ; ")));
    });
    assert_eq!(files_of(&told, "fifo", 0), ["fifo", "fifo"], "{told:?}");
    assert_eq!(files_of(&told, "either", 0), ["one", "folder"], "{told:?}");
    assert_eq!(files_of(&told, "neither", 0), ["fifo", "fifo"], "{told:?}");
    assert_eq!(files_of(&told, "character", 0), [""; 0], "{told:?}");
}

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

pub fn returned_values() {
    let filter = |name: &str, operator: &str, values: &str| {
        let hook = "call: sys_openat, syscall: true, return: true, returnArg: {index: 0, type: int}, \
             args: [{index: 1, type: string}]";
        let folder = "matchArgs: [{index: 1, operator: Prefix, values: [FOLDER/]}]";
        let item = format!("matchReturnArgs: [{{index: 0, operator: {operator}, values: [{values}]}}]");
        policy(name, &format!("{{{hook}, selectors: [{{{folder}, {item}}}]}}"))
    };
    let case = Case::of(&[
        filter("none", "Equal", "'-2'"),
        filter("failed", "LessThan", "0"),
        filter("opened", "GT", "'-1'"),
        filter("in", "InRange", "'-25:-15'"),
        filter("other", "NotEqual", "'-2', '-20'"),
    ]);
    let told = case.told(|| {
        // O_DIRECTORY of what is none
        case.calls(
            "?openat -100 @FOLDER/one 0 ; ?openat -100 @FOLDER/none 0 ; ?openat -100 @FOLDER/two 0x10000",
        );
    });
    assert_eq!(files_of(&told, "none", 0), ["none"], "{told:?}");
    assert_eq!(files_of(&told, "failed", 0), ["none", "two"], "{told:?}");
    assert_eq!(files_of(&told, "opened", 0), ["one"], "{told:?}");
    assert_eq!(files_of(&told, "in", 0), ["two"], "{told:?}");
    assert_eq!(files_of(&told, "other", 0), ["one"], "{told:?}");
}

/// In a policy that follows none, a descriptor's path is that of its file.
pub fn descriptors_of_who_follows_none() {
    let hook = "call: sys_read, syscall: true, args: [{index: 0, type: fd}]";
    let folder = "matchArgs: [{index: 0, operator: Prefix, values: [FOLDER/]}]";
    let case = Case::of(&[
        policy("reads", &format!("{{{hook}, selectors: [{{{folder}}}]}}")),
        opens("opens", "matchPIDs: [{operator: NotIn, values: [1]}]"),
    ]);
    let told = case.told(|| {
        // The second is renamed while it is open.
        case.calls(
            "openat -100 @FOLDER/one 0 ; openat -100 @FOLDER/two 0 ; dup $1 ; ?read 99 #1 1 ; ?read -1 #1 1 ; \
             read $0 #1 1 ; rename @FOLDER/two @FOLDER/three ; read $2 #1 1 ; \
             pipe2 [0] 0 ; openat -100 @/dev/zero 0 ; read $9 #1 1",
        );
    });
    assert_eq!(files_of(&told, "reads", 0), ["one", "three"], "{told:?}");
    assert_eq!(files_of(&told, "opens", 0), ["one", "two"], "{told:?}");
}
