//! What an exec was given: arguments, scripts, the trace in its environment.

use std::{borrow::Cow, fmt::Write as _};

use trigon_tests::{
    otlp::{Attributes as _, Log},
    rig::{Rig, Said},
    suite::Suite,
    workload::{self, HOSTILE_ARGS, Workload},
};

use crate::{Shared, test};

/// The limits' defaults.
const MAX_ARGS: usize = 256;
const MAX_ARGS_BYTES: usize = 16 << 10;

pub fn tests(suite: &mut Suite, shared: &Shared) {
    test(suite, shared, "hostile_arguments_are_escaped", hostile_arguments_are_escaped);
    test(suite, shared, "long_argument_is_cut_and_marked", long_argument_is_cut_and_marked);
    test(suite, shared, "many_arguments_are_cut_and_marked", many_arguments_are_cut_and_marked);
    test(suite, shared, "script_and_its_interpreter", script_and_its_interpreter);
    test(suite, shared, "memfd_has_no_name_left", memfd_has_no_name_left);
    test(suite, shared, "traceparent_is_continued", traceparent_is_continued);
    test(suite, shared, "traceparent_that_is_wrong_is_ignored", traceparent_that_is_wrong_is_ignored);
}

/// The exec log record of the execution with this part.
fn exec_of<'a>(said: &'a Said, role: &str) -> &'a Log {
    let pid = i64::from(said.executions.role(role).id.pid);
    let of_it = |log: &&Log| log.record.event_name == "process.exec" && log.int("process.pid") == Some(pid);
    said.logs.iter().rfind(of_it).expect("an exec record")
}

/// Bytes that aren't UTF-8 as `\xNN`.
fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

fn hostile_arguments_are_escaped(rig: &Rig) {
    let workload = Workload::new();
    let said = rig.check(&workload, "hostile-args");
    let exec = exec_of(&said, "hostile");
    let program = workload.program().to_str().expect("a plain path");
    let own = [program, "quiet", "0"].into_iter().map(Cow::Borrowed);
    let wanted: Vec<_> = own.chain(HOSTILE_ARGS.iter().map(|bytes| escaped(bytes))).collect();
    assert_eq!(exec.texts("process.command_args").expect("arguments"), wanted);
    assert_eq!(exec.int("process.args_count"), Some(wanted.len() as i64));
    assert_eq!(workload::hostile_args().count(), HOSTILE_ARGS.len());
    // One line each on standard output, whatever is in them: the line parsed, or the check would have failed.
    let body = format!("{:?}", exec.record.body);
    assert!(!body.contains('\x1b'), "a body is for people: {body}");
}

fn long_argument_is_cut_and_marked(rig: &Rig) {
    let said = rig.check(&Workload::new(), "long-args");
    let exec = exec_of(&said, "long");
    let args = exec.texts("process.command_args").expect("arguments");
    let bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
    assert!(
        (MAX_ARGS_BYTES / 2..=MAX_ARGS_BYTES + 1).contains(&bytes),
        "{bytes} bytes of arguments are kept"
    );
    assert!(exec.texts("trigon.flags").is_some_and(|flags| flags.iter().any(|flag| flag == "trunc_args")));
    assert!(args[3].bytes().all(|byte| byte == b'x'));
}

fn many_arguments_are_cut_and_marked(rig: &Rig) {
    let said = rig.check(&Workload::new(), "many-args");
    let exec = exec_of(&said, "many");
    let args = exec.texts("process.command_args").expect("arguments");
    assert_eq!(args.len(), MAX_ARGS);
    assert!(args[3..].iter().enumerate().all(|(index, arg)| *arg == format!("a{index}")), "{args:?}");
    assert!(exec.texts("trigon.flags").is_some_and(|flags| flags.iter().any(|flag| flag == "trunc_args")));
}

fn script_and_its_interpreter(rig: &Rig) {
    let workload = Workload::new();
    let said = rig.check(&workload, "script");
    let exec = exec_of(&said, "scripted");
    assert_eq!(exec.text("process.executable.path"), workload.program().to_str());
    assert_eq!(exec.text("trigon.script.path"), workload.folder().join("script").to_str());
    assert_eq!(exec.text("process.working_directory"), workload.folder().to_str());
}

fn memfd_has_no_name_left(rig: &Rig) {
    let workload = Workload::new();
    let said = rig.check(&workload, "memfd");
    let exec = exec_of(&said, "from memory");
    let path = exec.text("process.executable.path").expect("a path");
    assert!(path.contains("memfd:"), "{path}");
    assert!(exec.attribute("trigon.binary.deleted").is_some(), "{exec:?}");
}

fn traceparent_is_continued(rig: &Rig) {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let workload = Workload::new();
    let mut command = workload.command(["tree", "1", "2"]);
    command.env("TRACEPARENT", format!("00-{trace}-{span}-01"));
    let said = rig.check_done(&workload, &workload.run_with(command));
    // The children inherit the variable and are nevertheless children of the root: the common check has seen to that.
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(said.spans.iter().all(|one| digits(&one.record.trace_id) == trace));
    let root = said.executions.role("0").id;
    let of_root = said.spans.iter().find(|one| one.int("process.pid") == Some(i64::from(root.pid)));
    assert_eq!(of_root.map(|one| digits(&one.record.parent_span_id)).as_deref(), Some(span));
}

fn traceparent_that_is_wrong_is_ignored(rig: &Rig) {
    for value in ["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-short", "\u{1b}[31m", ""] {
        let workload = Workload::new();
        let mut command = workload.command(["setsid", "exit", "0"]);
        command.env("TRACEPARENT", value);
        // A session leader is its own trace's root: the common check fails where it isn't.
        rig.check_done(&workload, &workload.run_with(command));
    }
}
