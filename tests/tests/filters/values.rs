//! What arguments are read as, and what is asked of them.

use std::fmt::Write as _;

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
    let within = |folder: &str, name: &str, operator: &str, values: &str| {
        let item = format!("{{index: 1, operator: {operator}, values: [{values}]}}");
        let folder = format!("{{index: 1, operator: Prefix, values: [{folder}/]}}");
        let hook = "call: sys_openat, syscall: true, args: [{index: 1, type: string}]";
        let selectors = format!("selectors: [{{matchArgs: [{folder}, {item}]}}]");
        policy(name, &format!("{{{hook}, {selectors}}}"))
    };
    let filter = |operator: &str, values: &str| within("FOLDER", &operator.to_lowercase(), operator, values);
    let case = Case::of(&[]);
    // Around the longest that the kernel compares: paths of so many bytes, and ends of them.
    let folder = case.placed("WORK/").len();
    let path = |bytes: usize| format!("WORK/{}", "a".repeat(bytes - folder));
    let long = |name: &str, operator: &str, value: &str| within("WORK", name, operator, value);
    let end = |bytes: usize| "a".repeat(bytes);
    case.write(&[
        long("prefix-251", "Prefix", &path(251)),
        long("prefix-252", "Prefix", &path(252)),
        long("not-prefix-252", "NotPrefix", &path(252)),
        long("equal-251", "Equal", &path(251)),
        long("postfix-127", "Postfix", &end(127)),
        long("postfix-128", "Postfix", &end(128)),
        filter("Equal", "FOLDER/one, FOLDER/w"),
        filter("NotEqual", "FOLDER/one, FOLDER/w"),
        filter("Prefix", "FOLDER/one, FOLDER/w"),
        filter("NotPrefix", "FOLDER/one, FOLDER/w"),
        filter("Postfix", "/one, ted"),
        filter("NotPostfix", "/one, ted"),
    ]);
    let told = case.told(|| {
        let names = ["one", "onerous", "two", "wanted"].map(|name| format!("FOLDER/{name}"));
        let long = [250, 251, 252, 253].map(path).into_iter();
        let ends = [126, 127, 128].map(|bytes| path(folder + bytes));
        let opens = names.into_iter().chain(long).chain(ends).map(|path| format!("?openat -100 @{path} 0"));
        case.calls(&opens.collect::<Vec<_>>().join(" ; "));
    });
    for (name, expected) in [
        ("prefix-251", vec![251, 252, 253]),
        ("prefix-252", vec![252, 253]),
        ("not-prefix-252", vec![250, 251, folder + 126, folder + 127, folder + 128]),
        ("equal-251", vec![251]),
        ("postfix-127", vec![250, 251, 252, 253, folder + 127, folder + 128]),
        ("postfix-128", vec![250, 251, 252, 253, folder + 128]),
    ] {
        let of = told.iter().filter(|told| told.policy == name);
        assert_eq!(of.map(|told| told.args[0].len()).collect::<Vec<_>>(), expected, "{name}: {told:?}");
    }
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
