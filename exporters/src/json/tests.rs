use serde_json::{Value, json};

use super::JsonWriter;
use crate::{
    event::Event,
    samples::{self, HOST, NODE},
    text::is_printable,
};

fn write(event: &Event) -> String {
    let mut out = Vec::new();
    JsonWriter::new(NODE, HOST).write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn parse(event: &Event) -> Value {
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
        serde_json::from_str::<Value>(text).unwrap();
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
    assert_eq!(exit["process"]["binary_properties"], Value::Null);
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
