use trigon_probes::types::{CType, Parameter, Shape};

use super::{super::check_text, *};

const INT: Shape = Shape::Integer { bytes: 4, signed: true };
const UNSIGNED: Shape = Shape::Integer { bytes: 4, signed: false };
const LONG: Shape = Shape::Integer { bytes: 8, signed: true };
const SIZE: Shape = Shape::Integer { bytes: 8, signed: false };

fn prototype(returned: Option<(&str, Shape)>, parameters: &[(&str, &str, Shape)]) -> Prototype {
    let ctype = |text: &str, shape: &Shape| CType { text: text.to_owned(), shape: shape.clone() };
    Prototype {
        parameters: parameters
            .iter()
            .map(|(name, text, shape)| Parameter {
                name: (*name).to_owned(),
                ctype: ctype(text, shape),
                hidden: name.starts_with("common_"),
            })
            .collect(),
        returned: returned.map(|(text, shape)| ctype(text, &shape)),
    }
}

/// A kernel that knows these, and the structs of the running one.
struct Known;

impl Kernel for Known {
    fn prototype(&mut self, target: &Target) -> Result<Prototype, ProbeError> {
        kernel(target)
    }

    fn way(
        &mut self,
        start: &str,
        module: Option<&str>,
        path: &str,
    ) -> Result<Result<Way, WayError>, ProbeError> {
        Types::read()?.way(start, module, path)
    }
}

fn kernel(target: &Target) -> Result<Prototype, ProbeError> {
    let pointer = |name: &str| Shape::Pointer(name.to_owned());
    let long = Some(("long", LONG));
    Ok(match target.to_string().trim_start_matches("__x64_").trim_start_matches("__arm64_") {
        "sys_write" => prototype(
            long,
            &[
                ("fd", "unsigned int", UNSIGNED),
                ("buf", "const char *", Shape::Text),
                ("count", "size_t", SIZE),
            ],
        ),
        "sys_dup" => prototype(long, &[("fildes", "unsigned int", UNSIGNED)]),
        "sys_bpf" => prototype(long, &[("cmd", "int", INT), ("uattr", "union bpf_attr *", pointer(""))]),
        "fd_install" => prototype(
            Some(("void", Shape::Void)),
            &[("fd", "unsigned int", UNSIGNED), ("file", "struct file *", pointer("file"))],
        ),
        "chmod_common" => prototype(
            Some(("int", INT)),
            &[
                ("path", "const struct path *", pointer("path")),
                ("mode", "umode_t", Shape::Integer { bytes: 2, signed: false }),
            ],
        ),
        "sched/exec" => match target {
            Target::RawTracepoint { .. } => {
                prototype(None, &[("", "struct task_struct *", pointer("task_struct")), ("", "pid_t", INT)])
            }
            _ => prototype(
                None,
                &[
                    ("common_type", "unsigned short", Shape::Integer { bytes: 2, signed: false }),
                    ("filename", "char[]", Shape::Array { text: true }),
                    ("pid", "pid_t", INT),
                    ("args", "unsigned long", Shape::Array { text: false }),
                    ("path", "const char *", Shape::Text),
                ],
            ),
        },
        _ => return Err(ProbeError::NoPrototype(target.to_string())),
    })
}

fn policy(spec: &str) -> Policy {
    let text =
        format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: a}}\nspec:\n{spec}");
    let mut checked = check_text(&text);
    assert_eq!(checked.errors, 0, "{:?}", checked.faults);
    checked.policies.remove(0)
}

/// The types of the first hook's arguments and of its return value, once they are known.
fn kinds(spec: &str) -> Vec<&'static str> {
    let policy = resolve(policy(spec), &mut Known).unwrap();
    let hook = &policy.hooks[0];
    let arguments = hook.arguments.iter().map(|argument| argument.kind);
    arguments.chain(hook.return_value.as_ref().map(|value| value.kind)).map(ArgumentType::as_str).collect()
}

fn faults(spec: &str) -> String {
    resolve(policy(spec), &mut Known).unwrap_err().to_string()
}

#[test]
fn only_a_socket_can_be_tracked() {
    let argument = "  kprobes:\n  - call: fd_install\n    syscall: false\n    args: [{index: 1}]\n    selectors:\n    - matchActions: [{action: TrackSock, argSock: 1}]\n";
    let said = faults(argument);
    assert!(said.contains("10:22") && said.contains("the argument is of type file, and no socket"), "{said}");
    let returned = "  kprobes:\n  - call: sys_write\n    return: true\n    returnArg: {index: 0}\n    returnArgAction: TrackSock\n";
    let said = faults(returned);
    assert!(said.contains("8:16") && said.contains("is of type int64, and no socket"), "{said}");
}

#[test]
fn types_of_functions_and_system_calls() {
    assert_eq!(
        kinds(
            "  kprobes:\n  - {call: fd_install, syscall: false, args: [{index: 0}, {index: 1, type: auto}]}\n"
        ),
        ["uint32", "file"]
    );
    let spec = "  kprobes:\n  - {call: sys_write, args: [{index: 0}, {index: 1}, {index: 2}], return: true, returnArg: {index: 0}}\n";
    assert_eq!(kinds(spec), ["fd", "string", "size_t", "int64"]);
    assert_eq!(
        kinds(
            "  kprobes:\n  - {call: chmod_common, syscall: false, args: [{index: 0}, {index: 1}, {index: 1, type: int}]}\n"
        ),
        ["path", "uint16", "int"]
    );
}

#[test]
fn types_of_tracepoints() {
    let of = |args: &str, raw: &str| {
        format!("  tracepoints:\n  - {{subsystem: sched, event: exec{raw}, args: [{args}]}}\n")
    };
    let all = "{index: 1}, {index: 2}, {index: 3}, {index: 4}";
    assert_eq!(kinds(&of(all, "")), ["string", "int", "const_buf", "string"]);
    assert_eq!(kinds(&of("{index: 1}, {index: 0, type: uint64}", ", raw: true")), ["int", "uint64"]);
    let told = [
        faults(&of("{index: 0}", "")),
        faults(&of("{index: 5, type: int}", "")),
        faults(&of("{index: 1, type: int}, {index: 2, type: string}, {index: 3, type: uint64}", "")),
        faults(&of("{index: 4, type: const_buf}", "")),
        faults(&of("{index: 0}", ", raw: true")),
        faults(&of("{index: 2, type: int}", ", raw: true")),
    ]
    .join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn what_has_no_type_is_refused_with_its_place() {
    let install = |rest: &str| {
        format!(
            "  kprobes:\n  - call: fd_install\n    syscall: false\n    args: [{{index: 0}}, {{index: 1}}]\n{rest}"
        )
    };
    let told = [
            faults("  kprobes:\n  - {call: sys_close}\n  - {call: sys_bpf, args: [{index: 0}, {index: 1}]}\n"),
            faults("  fentries:\n  - {call: nowhere, syscall: false, args: [{index: 0, type: int}, {index: 1}]}\n"),
            faults("  kprobes:\n  - {call: fd_install, syscall: false, args: [{index: 2}]}\n"),
            faults(&install("    return: true\n    returnArg: {index: 0}\n")),
            faults("  lists: [{name: l, type: syscalls, values: [sys_write, sys_dup]}]\n  kprobes: [{call: 'list:l', args: [{index: 0}]}]\n"),
            faults(&install("    selectors:\n    - matchArgs:\n      - {index: 0, operator: Prefix, values: [a]}\n      - {index: 0, operator: Equal, values: [1, -1]}\n")),
            faults(&install("    selectors:\n    - matchActions:\n      - {action: FollowFD, argFd: 1, argName: 0}\n")),
        ].join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn filters_get_the_type() {
    let policy = resolve(
        policy("  kprobes:\n  - call: fd_install\n    syscall: false\n    args: [{index: 1}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Prefix, values: [/etc/]}]\n"),
        &mut Known,
    )
    .unwrap();
    let condition = &policy.hooks[0].selectors[0].arguments[0].condition;
    assert!(matches!(condition, Condition::Text(_, texts) if *texts[0] == *b"/etc/"), "{condition:?}");
}

/// `ignore.callNotFound`: what isn't there has no type either.
#[test]
fn what_may_be_missing_needs_no_type() {
    let text =
        "  kprobes:\n  - {call: nowhere, syscall: false, ignore: {callNotFound: true}, args: [{index: 0}]}\n";
    assert_eq!(kinds(text), ["auto"]);
    let way = "{index: 0, btfType: cpuid_regs_done, btfTypeModule: no_such_module, resolve: regs.eax}";
    assert_eq!(kinds(&text.replace("{index: 0}", way)), ["auto"]);
}
