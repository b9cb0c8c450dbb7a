//! Events that are told when a call returns tell of what it was given when it was made.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use trigon_tests::policies::FOLLOW;

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
    let overwritten = "x".repeat(path.len());
    fs::write(case.rig.path("text"), path).expect("write a file");
    fs::write(case.rig.path("over"), &overwritten).expect("write a file");
    let told = case.told(|| {
        // A thread opens the FIFO, by a text in memory that the others are read into, and waits for a writer.
        case.calls(
            "mknod @FOLDER/fifo 0x1180 0 ; mmap 0 4096 3 0x22 -1 0 ; openat -100 @FOLDER/text 0 ; read $2 $1 4000 ; \
             openat -100 @FOLDER/over 0 ; thread openat -100 $1 0 ; read $4 $1 4000 ; \
             openat -100 @FOLDER/fifo 1 ; join",
        );
    });
    let of = |policy: &str, path: &str| {
        told.iter().filter(|told| told.policy == policy && told.args[0] == path).count()
    };
    // Reader and writer.
    assert_eq!((of("open", path), of("any", path)), (2, 2), "{told:?}");
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

/// Read at the entry, as all but `returnCopy`, and of what is long its beginning.
pub fn a_buffer_that_is_written() {
    let args =
        "args: [{index: 0, type: fd}, {index: 1, type: char_buf, sizeArgIndex: 3}, {index: 2, type: size_t}]";
    let folder = "matchArgs: [{index: 0, operator: Prefix, values: [FOLDER/]}]";
    let case = Case::of(&[policy(
        "write",
        &format!("{{call: sys_write, {RETURNED}, {args}, selectors: [{{{folder}}}]}}"),
    )]);
    let told = case.told(|| {
        case.calls("openat -100 @FOLDER/one 1 ; write $0 @short 5 ; write $0 #9000 9000 ; ?write 99 @none 4");
    });
    let bytes = |text: &str| String::from_utf8(BASE64_STANDARD.decode(text).expect("base64")).expect("text");
    let found: Vec<_> = told.iter().map(|told| (bytes(&told.args[1]), told.args[2].as_str())).collect();
    assert_eq!(found, [("short".to_owned(), "5"), ("x".repeat(4095), "9000")]);
}

/// The read holds the file, whose descriptor is gone when it returns.
pub fn a_descriptor_that_is_closed_meanwhile() {
    let case = Case::of(&[FOLLOW.replace("    - PIDS\n      matchArgs", "    - matchArgs")]);
    let told = case.told(|| {
        case.calls(
            "mknod @FOLDER/fifo 0x1180 0 ; openat -100 @FOLDER/fifo 2 ; thread read $1 #5 5 ; close $1 ; \
             openat -100 @FOLDER/fifo 2 ; write $4 @hello 5 ; join",
        );
    });
    let of = |function: &str| -> Vec<_> {
        let of = told.iter().filter(|told| told.function == function);
        of.map(|told| (told.args[0].clone(), told.args.get(1).cloned().unwrap_or_default())).collect()
    };
    let (path, hello) = (case.placed("FOLDER/fifo"), BASE64_STANDARD.encode("hello"));
    assert_eq!(of("read"), [(path.clone(), hello.clone())], "{told:?}");
    assert_eq!(of("write"), [(path, hello)], "{told:?}");
}
