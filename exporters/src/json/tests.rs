use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::JsonWriter;
use crate::{
    event::{Event, Value},
    samples::{
        self, HOST, NODE,
        hooks::{self, bytes, file, path, text},
    },
    text::is_printable,
};

fn write(event: &Event) -> String {
    let mut out = Vec::new();
    JsonWriter::new(NODE, HOST).write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn parse(event: &Event) -> serde_json::Value {
    serde_json::from_str(&write(event)).unwrap()
}

fn sample(name: &str) -> Event {
    samples::table().into_iter().find(|(sample, _)| *sample == name).unwrap().1
}

#[test]
fn every_event_is_one_line_in_tetragons_shape() {
    for (name, event) in samples::table() {
        insta::assert_snapshot!(name, write(&event));
    }
}

#[test]
fn every_line_parses_and_holds_nothing_that_a_terminal_obeys() {
    for (name, event) in samples::table() {
        let line = write(&event);
        let text = line.strip_suffix('\n').unwrap();
        assert!(text.chars().all(is_printable), "{name}: {line}");
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }
}

#[test]
fn a_parser_reads_back_the_text_that_was_escaped() {
    let event = sample("hostile");
    let process = &parse(&event)["process_exec"]["process"];
    let image = &event.process.image;
    assert_eq!(process["binary"], image.binary());
    assert_eq!(process["cwd"], image.cwd());
    let arguments = process["arguments"].as_str().unwrap();
    image.args().skip(1).for_each(|arg| assert!(arguments.contains(arg), "{arg:?}"));
}

#[test]
fn binary_properties_belong_to_exec_alone() {
    let properties = json!({
        "setuid": 0,
        "setgid": 0,
        "privileges_changed": [
            "PRIVILEGES_RAISED_EXEC_FILE_CAP",
            "PRIVILEGES_RAISED_EXEC_FILE_SETUID",
            "PRIVILEGES_RAISED_EXEC_FILE_SETGID",
        ],
    });
    assert_eq!(parse(&sample("setuid"))["process_exec"]["process"]["binary_properties"], properties);
    let exit = &parse(&sample("exit_status"))["process_exit"];
    assert_eq!(exit["process"]["binary_properties"], serde_json::Value::Null);
    assert_eq!(exit["status"], 1);
}

#[test]
fn lines_are_appended() {
    let mut writer = JsonWriter::new(NODE, HOST);
    let mut out = Vec::new();
    samples::table().iter().for_each(|(_, event)| writer.write(event, &mut out));
    let apart: String = samples::table().iter().map(|(_, event)| write(event)).collect();
    assert_eq!(String::from_utf8(out).unwrap(), apart);
}

#[test]
fn every_argument_has_the_field_of_its_type() {
    let args = vec![
        Value::Int(0),
        Value::UInt(u32::MAX),
        Value::Long(i64::MIN),
        Value::Size(u64::MAX),
        text(""),
        bytes(b"\xff\0", 2),
        bytes(b"ab", 5),
        bytes(b"", 0),
        file("/a"),
        path("/b"),
    ];
    let line = parse(&hooks::vi(hooks::hook(hooks::kprobe("f"), args)));
    let expected = json!([
        {"int_arg": 0},
        {"uint_arg": u32::MAX},
        {"long_arg": i64::MIN.to_string()},
        {"size_arg": u64::MAX.to_string()},
        {"string_arg": ""},
        {"bytes_arg": "/wA="},
        {"truncated_bytes_arg": {"bytes_arg": "YWI=", "orig_size": "5"}},
        {"bytes_arg": ""},
        {"file_arg": {"path": "/a", "permission": "-rw-r--r--"}},
        {"path_arg": {"path": "/b"}},
    ]);
    assert_eq!(line["process_kprobe"]["args"], expected);
    assert_eq!(line["process_kprobe"]["action"], "KPROBE_ACTION_POST");
    assert_eq!(line["process_kprobe"]["return_action"], serde_json::Value::Null);
}

#[test]
fn what_could_not_be_read_keeps_its_place() {
    let line = &parse(&sample("hook_unreadable"))["process_kprobe"];
    assert_eq!(line["args"], json!([{"label": "file"}, {}, {"size_arg": "12"}]));
    assert_eq!(
        line["trigon"]["args"],
        json!([{"index": 0, "unreadable": true}, {"index": 1, "unreadable": true}])
    );
    assert_eq!(line["return"], json!({"int_arg": -14}));
}

#[test]
fn a_large_buffer_and_a_long_path_come_out_whole() {
    let data = vec![0xa5; 1 << 20];
    let long = "/é".repeat(1365);
    let args = vec![file(&long), bytes(&data, 1 << 40)];
    let line = &parse(&hooks::vi(hooks::hook(hooks::kprobe("sys_write"), args)))["process_kprobe"];
    assert_eq!(line["args"][0]["file_arg"]["path"], long);
    let truncated = &line["args"][1]["truncated_bytes_arg"];
    assert_eq!(truncated["orig_size"], (1_u64 << 40).to_string());
    assert_eq!(STANDARD.decode(truncated["bytes_arg"].as_str().unwrap()).unwrap(), data);
}

#[test]
fn a_descriptor_has_no_line() {
    assert_eq!(write(&hooks::descriptor()), "");
}

#[test]
fn a_process_tells_of_its_pod() {
    let pod = json!({
        "namespace": "shop",
        "name": "web-7d4b9c-x2x4z",
        "uid": "8c9f5b0e-3f0a-4d0e-9a53-0f1f2c7f7a11",
        "container": {
            "id": format!("containerd://{}", "0123456789abcdef".repeat(4)),
            "name": "nginx",
            "image": {
                "id": format!("docker.io/library/nginx@sha256:{}", "ab".repeat(32)),
                "name": "docker.io/library/nginx:1.27",
            },
            "start_time": "2026-08-17T11:59:02Z",
            "pid": 1,
            "security_context": {"privileged": true},
        },
        "pod_labels": {"app": "web", "app.kubernetes.io/version": "3.1"},
        "workload": "web",
        "workload_kind": "Deployment",
        "pod_annotations": {"example.com/owner": "team a"},
    });
    let process = &parse(&sample("pod"))["process_exec"]["process"];
    assert_eq!(process["pod"], pod);
    assert_eq!(process["docker"], "0123456789abcdef0123456789abcde");
    assert!(parse(&sample("sandbox"))["process_exec"]["process"]["pod"]["container"].is_null());
    assert!(parse(&sample("container"))["process_exec"]["process"]["pod"].is_null());
    let child = Event { parent: Some(sample("pod").process), ..sample("root_shell") };
    let line = &parse(&child)["process_exec"];
    assert_eq!((&line["parent"]["pod"], &line["process"]["pod"]), (&pod, &serde_json::Value::Null));
}

#[test]
fn a_probe_is_marked() {
    let cat = samples::process(9, samples::image("/bin/cat", &["cat", "/tmp/healthy"]));
    let line = &parse(&samples::exec(samples::placed(cat, samples::place())));
    assert_eq!(line["process_exec"]["process"]["pod"]["container"]["maybe_exec_probe"], true);
}

#[test]
fn hostile_pods_are_read_back_as_they_are() {
    let event = sample("hostile_pod");
    let pod = &parse(&event)["process_exec"]["process"]["pod"];
    let place = event.process.place().as_deref().unwrap().clone();
    assert_eq!((&pod["name"], &pod["namespace"]), (&json!(place.pod.name), &json!(place.pod.namespace)));
    for (key, of) in [("pod_labels", &place.pod.labels), ("pod_annotations", &place.pod.annotations)] {
        let read: Vec<_> = pod[key].as_object().unwrap().iter().collect();
        assert_eq!(read.len(), of.len());
        assert!(of.iter().all(|(name, value)| pod[key][name] == json!(value)), "{read:?}");
    }
}
