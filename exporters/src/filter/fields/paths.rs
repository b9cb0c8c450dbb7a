//! The paths that there are in an event's own object of JSON: Tetragon's (`tetragon.proto`), and those below `trigon`.

use crate::filter::FilterError;

/// Where a process stands.
const PROCESSES: [&str; 3] = ["process", "parent", "ancestors"];

/// Paths below a process.
const OF_PROCESS: [&str; 75] = [
    "exec_id",
    "pid",
    "uid",
    "cwd",
    "binary",
    "arguments",
    "flags",
    "start_time",
    "auid",
    "pod",
    "pod.namespace",
    "pod.name",
    "pod.uid",
    "pod.container",
    "pod.container.id",
    "pod.container.name",
    "pod.container.image",
    "pod.container.image.id",
    "pod.container.image.name",
    "pod.container.start_time",
    "pod.container.pid",
    "pod.container.maybe_exec_probe",
    "pod.container.security_context",
    "pod.container.security_context.privileged",
    "pod.pod_labels",
    "pod.pod_annotations",
    "pod.workload",
    "pod.workload_kind",
    "docker",
    "parent_exec_id",
    "refcnt",
    "cap",
    "cap.permitted",
    "cap.effective",
    "cap.inheritable",
    "ns",
    "ns.uts",
    "ns.ipc",
    "ns.mnt",
    "ns.pid",
    "ns.pid_for_children",
    "ns.net",
    "ns.time",
    "ns.time_for_children",
    "ns.cgroup",
    "ns.user",
    "tid",
    "process_credentials",
    "process_credentials.uid",
    "process_credentials.gid",
    "process_credentials.euid",
    "process_credentials.egid",
    "process_credentials.suid",
    "process_credentials.sgid",
    "process_credentials.fsuid",
    "process_credentials.fsgid",
    "process_credentials.securebits",
    "process_credentials.caps",
    "process_credentials.caps.permitted",
    "process_credentials.caps.effective",
    "process_credentials.caps.inheritable",
    "process_credentials.user_ns",
    "binary_properties",
    "binary_properties.setuid",
    "binary_properties.setgid",
    "binary_properties.privileges_changed",
    "binary_properties.file",
    "binary_properties.file.inode",
    "binary_properties.file.inode.number",
    "binary_properties.file.inode.links",
    "binary_properties.file.path",
    "user",
    "user.name",
    "in_init_tree",
    "environment_variables",
];

/// Paths beside processes.
const OF_EVENT: [&str; 59] = [
    "signal",
    "status",
    "time",
    "function_name",
    "args",
    "return",
    "action",
    "kernel_stack_trace",
    "user_stack_trace",
    "policy_name",
    "return_action",
    "message",
    "tags",
    "data",
    "subsys",
    "event",
    "path",
    "symbol",
    "offset",
    "ref_ctr_offset",
    "ima_hash",
    "provider",
    "name",
    "buildid",
    "type",
    "cgroup",
    "flags",
    "number_of_dropped_process_events",
    "trigon",
    "trigon.trace_id",
    "trigon.span_id",
    "trigon.parent_span_id",
    "trigon.link",
    "trigon.script",
    "trigon.first_seen",
    "trigon.flags",
    "trigon.vpid",
    "trigon.session",
    "trigon.group",
    "trigon.tty",
    "trigon.cgroup",
    "trigon.container",
    "trigon.container.id",
    "trigon.container.runtime",
    "trigon.core_dumped",
    "trigon.user_time",
    "trigon.system_time",
    "trigon.policy_namespace",
    "trigon.policy_mode",
    "trigon.socket_owner",
    "trigon.ima_hash_missing",
    "trigon.selector",
    "trigon.severity",
    "trigon.message_of_event",
    "trigon.request",
    "trigon.request.trace_id",
    "trigon.request.span_id",
    "trigon.descriptor_span_id",
    "trigon.args",
];

/// Checks that there are such paths.
pub(super) fn check(key: &str, paths: &[String]) -> Result<(), FilterError> {
    let what = "a path in an event's own object is allowed, such as process.arguments";
    if paths.is_empty() {
        return Err(FilterError::Value {
            key: key.to_owned(),
            value: String::new(),
            allowed: what.to_owned(),
        });
    }
    let unknown = paths.iter().enumerate().find(|(_, path)| !is_known(path));
    let Some((place, path)) = unknown else { return Ok(()) };
    let below = |process| OF_PROCESS.iter().map(move |path| format!("{process}.{path}"));
    let known: Vec<String> = PROCESSES.into_iter().flat_map(below).collect();
    let known = known.iter().map(String::as_str).chain(OF_EVENT).chain(PROCESSES);
    Err(FilterError::no_such(format!("{key}[{place}]"), path, what, known))
}

fn is_known(path: &str) -> bool {
    let below = path.split_once('.').filter(|(process, _)| PROCESSES.contains(process));
    PROCESSES.contains(&path)
        || OF_EVENT.contains(&path)
        || below.is_some_and(|(_, below)| {
            // Each namespace has the same two.
            let namespace = below.strip_suffix(".inum").or(below.strip_suffix(".is_host"));
            let namespace = namespace.filter(|namespace| namespace.starts_with("ns."));
            OF_PROCESS.contains(&namespace.unwrap_or(below))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        json::JsonWriter,
        samples::{self, HOST, NODE},
    };

    /// Within these are arguments, lists and ids that have no paths.
    const ENDS: [&str; 9] = [
        "args",
        "data",
        "process.pod.pod_annotations",
        "process.pod.pod_labels",
        "return",
        "tags",
        "trigon.args",
        "trigon.flags",
        "trigon.link",
    ];

    fn walk(path: &str, value: &Value) {
        let Value::Object(members) = value else { return };
        for (key, value) in members {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            assert!(is_known(&path), "{path}");
            if !ENDS.contains(&path.as_str()) {
                walk(&path, value);
            }
        }
    }

    #[test]
    fn every_field_that_is_written_has_a_path() {
        for (_, event) in samples::table() {
            let mut line = Vec::new();
            JsonWriter::new(NODE, HOST).write(&event, &mut line);
            let line: Value = serde_json::from_slice(&line).unwrap();
            let event = crate::filter::json::Line::new(&line).unwrap();
            walk("", event.event());
        }
        for path in ["process", "parent.ns.pid.is_host", "ancestors.binary", "process.ns.uts.inum"] {
            assert!(is_known(path), "{path}");
        }
        for path in ["", ".", "process.", "process.cap.inum", "processes", "args.0", "process.process"] {
            assert!(!is_known(path), "{path}");
        }
    }
}
