//! Marks: what one hook leaves on a process, and another one asks for.

use crate::{Case, files_of};

const MONITOR: &str = "  - {name: policy-mode, value: monitor}";

/// A policy whose selectors on `chdir` and on `openat` of files in the folder are these.
fn marking(name: &str, chdir: &str, openat: &str) -> String {
    let hook = |call: &str, index: u8, selectors: &str| {
        let args = format!("args: [{{index: {index}, type: string}}]");
        format!("  - {{call: sys_{call}, syscall: true, {args}, selectors: [{selectors}]}}\n")
    };
    format!(
        "apiVersion: trigon.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  options:\n\
         {MONITOR}\n  kprobes:\n{}{}",
        hook("chdir", 0, chdir),
        hook("openat", 1, openat)
    )
}

/// Who changes to this folder is marked.
fn at(folder: &str, actions: &str) -> String {
    format!("{{matchArgs: [{{index: 0, operator: Equal, values: [{folder}]}}], matchActions: [{actions}]}}")
}

fn opens(marks: &str) -> String {
    let files = "matchArgs: [{index: 1, operator: Prefix, values: [FOLDER/]}]";
    format!("{{{files}, matchMarks: [{marks}]}}")
}

pub fn marks() {
    let seen = at("FOLDER", "{action: Mark, mark: seen}, {action: NoPost}");
    let here = at("FOLDER", "{action: Mark, mark: here}, {action: NoPost}");
    let up = at("/", "{action: Unmark, mark: here}, {action: Mark, mark: up}, {action: NoPost}");
    let first = "{action: Mark, mark: first}";
    let first = format!(
        "{}, matchActions: [{first}]}}",
        opens("{operator: NotIn, values: [first]}").trim_end_matches('}')
    );
    let case = Case::of(&[
        marking("seen", &seen, &opens("{operator: In, values: [seen]}")),
        marking("unseen", &seen, &opens("{operator: NotIn, values: [seen]}")),
        // The same name, and given elsewhere: each policy has its own.
        marking("other", &seen.replace("FOLDER", "/"), &opens("{operator: In, values: [seen]}")),
        // Given by the call that asks for it: later calls see it.
        marking("first", "{matchActions: [{action: NoPost}]}", &first),
        marking("here", &format!("{here}, {up}"), &opens("{operator: In, values: [here]}")),
        marking(
            "up-alone",
            &format!("{here}, {up}"),
            &opens("{operator: In, values: [here, up]}, {operator: NotIn, values: [here]}"),
        ),
        // In the mode monitor nobody is killed, and marked all the same.
        marking(
            "monitor",
            &at("FOLDER", "{action: Mark, mark: seen}, {action: Sigkill}, {action: NoPost}"),
            &opens("{operator: In, values: [seen]}"),
        ),
    ]);
    let told = case.told(|| {
        // A child isn't marked; what another thread than the first executes is the same process still.
        case.calls(
            "?openat -100 @FOLDER/before 0 ; chdir @FOLDER ; ?openat -100 @FOLDER/after 0 ; fork ; \
             ?openat -100 @FOLDER/child 0 ; chdir @FOLDER ; thread execve @WORK/workload \
             [@workload,@calls,@?openat,@-100,@@FOLDER/executed,@0,0] [0]",
        );
        case.calls(
            "?openat -100 @FOLDER/stranger 0 ; chdir @/ ; ?openat -100 @FOLDER/root 0 ; chdir @FOLDER ; \
             ?openat -100 @FOLDER/both 0 ; chdir @/ ; ?openat -100 @FOLDER/again 0",
        );
    });
    assert_eq!(files_of(&told, "seen", 0), ["after", "executed", "both", "again"], "{told:?}");
    assert_eq!(files_of(&told, "unseen", 0), ["before", "child", "stranger", "root"], "{told:?}");
    assert_eq!(files_of(&told, "other", 0), ["root", "both", "again"], "{told:?}");
    assert_eq!(files_of(&told, "first", 0), ["before", "child", "stranger"], "{told:?}");
    assert_eq!(files_of(&told, "here", 0), ["after", "executed", "both"], "{told:?}");
    assert_eq!(files_of(&told, "up-alone", 0), ["root", "again"], "{told:?}");
    assert_eq!(files_of(&told, "monitor", 0), ["after", "executed", "both", "again"], "{told:?}");
}
