use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

const EXEC: &str = r#"{"process_exec":{"process":{"pid":7,"binary":"/usr/bin/curl","arguments":"cilium.io","pod":{"namespace":"kube-system","name":"tetragon"}}},"node_name":"n","time":"2026-11-24T12:00:00Z"}"#;
const EXIT: &str =
    r#"{"process_exit":{"process":{"pid":8,"binary":"/bin/sh"},"signal":"SIGKILL"},"node_name":"n"}"#;
const KPROBE: &str = r#"{"process_kprobe":{"process":{"binary":"/bin/sh"},"function_name":"f","policy_name":"p"},"node_name":"n"}"#;

fn arguments(line: &str) -> Arguments {
    match Cli::parse_from(["trigon", "events"].into_iter().chain(line.split_whitespace())).command {
        Command::Events(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

/// What is shown, what became of the lines, and what was reported.
fn shown(options: &str, text: &[u8]) -> (String, Outcome, Vec<String>) {
    let options = arguments(options).options().unwrap();
    let (mut out, mut reports) = (Vec::new(), Vec::new());
    let report = |number, damage: &Damage| reports.push(format!("{number}: {damage}"));
    let outcome = show(text, &options, &mut out, report).unwrap();
    (String::from_utf8(out).unwrap(), outcome, reports)
}

#[test]
fn lines_of_either_agent_are_shown() {
    let text = [EXEC, EXIT, KPROBE].join("\n");
    let (out, outcome, reports) = shown("", text.as_bytes());
    assert_eq!(
        out,
        "🚀 process kube-system/tetragon /usr/bin/curl cilium.io\n💥 exit    n /bin/sh SIGKILL\n❓ syscall n /bin/sh f\n"
    );
    assert_eq!((outcome, reports.len()), (Outcome { events: 3, shown: 3, damaged: 0 }, 0));
    assert_eq!(shown("-o json", text.as_bytes()).0, text + "\n");
    let (out, ..) = shown("--timestamps --color always", EXEC.as_bytes());
    assert!(
        out.starts_with("2026-11-24T12:00:00.000000000Z 🚀 process \x1b[32mkube-system/tetragon"),
        "{out:?}"
    );
}

#[test]
fn filters_choose() {
    let text = [EXEC, EXIT, KPROBE].join("\n");
    for (options, expected) in [
        ("--namespace kube-system", "🚀"),
        ("-n default", ""),
        ("-n default -n kube-system --process curl", "🚀"),
        ("-n kube-system --process /bin/sh", ""),
        ("--pod ^tetra", "🚀"),
        ("--process sh$", "💥❓"),
        ("-e exec --event-type PROCESS_EXIT", "🚀💥"),
        ("-e process_kprobe", "❓"),
        ("--policy p --policy q", "❓"),
        ("--host", "💥❓"),
        ("--host -n kube-system -e exec -e exit", "🚀💥"),
    ] {
        let (out, outcome, _) = shown(options, text.as_bytes());
        let signs: String = out.lines().filter_map(|line| line.chars().next()).collect();
        assert_eq!((signs.as_str(), outcome.events), (expected, 3), "{options}");
        assert_eq!(shown(&format!("-o json {options}"), text.as_bytes()).1, outcome, "{options}");
    }
    for options in ["--process (", "-e exce"] {
        assert!(arguments(options).options().is_err(), "{options}");
    }
}

#[test]
fn an_agent_is_asked_by_the_same_filters() {
    for options in ["-n kube-system --pod ^tetra", "--host -n default -e exec", "--process sh --policy p"] {
        let query = arguments(options).query();
        let config: FilterConfig = serde_json::from_str(&query.filter).unwrap();
        assert_eq!(config, arguments(options).filters.config());
        assert!(Filter::new("filter", &config, Source::Agent).is_ok(), "{options}");
    }
    assert_eq!(arguments("").query(), EventsQuery::default());
}

#[test]
fn what_is_damaged_is_reported_with_its_number_and_skipped() {
    let long = "x".repeat(lines::MAX_LINE + 1);
    let text =
        [EXEC, "{\"process_exec\":{\"pro", "", &long, EXIT, "[1]", "{\"level\":\"info\"}", EXEC].join("\n");
    let (out, outcome, reports) = shown("", text.as_bytes());
    assert_eq!(out.lines().count(), 3);
    assert_eq!(outcome, Outcome { events: 3, shown: 3, damaged: 4 });
    let expected =
        ["2: no JSON: EOF", "4: it is longer than 4 MiB", "6: it holds no event", "7: it holds no event"];
    assert!(reports.iter().zip(expected).all(|(report, text)| report.starts_with(text)), "{reports:?}");
}

#[test]
fn what_surrounds_the_json_is_no_damage() {
    let text = format!(
        "\0\0\0{EXEC}\0\r\n\r\n  \n[pod/tetragon-x/export-stdout] {EXEC}\n2026-11-24T12:00:00Z {EXEC}\n\u{feff}{EXEC}\n"
    );
    let (out, outcome, reports) = shown("-o json", text.as_bytes());
    assert_eq!(out, format!("{EXEC}\n").repeat(4));
    assert_eq!((outcome.damaged, reports), (0, vec![]));
}

#[test]
fn unknown_fields_and_kinds_pass_through() {
    let text = r#"{"process_future":{"process":{"binary":"/b","new":{"a":[1]}},"x":null},"node_name":"n","also_new":1}"#;
    assert_eq!(shown("", text.as_bytes()).0, "❓ process_future n /b\n");
    assert_eq!(shown("-o json", text.as_bytes()).0, format!("{text}\n"));
}

#[test]
fn nothing_reaches_the_terminal_that_it_obeys() {
    // Raw in the file: a C1 control and a bidirectional override; bytes that are no UTF-8; a return between tokens.
    let text = b"{\"process_exec\":\r{\"process\":{\"binary\":\"/b\xc2\x9b31m\xe2\x80\xae\xff\"}},\"node_name\":\"n\\u001b[2J\"}";
    let (compact, ..) = shown("", text);
    assert_eq!(compact, "🚀 process \"n\\x1b[2J\" \"/b\\u009b31m\\u202e\u{fffd}\"\n");
    let (json, ..) = shown("-o json", text);
    assert!(!json.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{json:?}");
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&String::from_utf8_lossy(text)), parsed(&json));
}

#[test]
fn whoever_follows_sees_each_event_at_once() {
    let (reader, mut writer) = io::pipe().unwrap();
    let (shown, mut seen) = io::pipe().map(|(seen, shown)| (shown, BufReader::new(seen))).unwrap();
    let follower = std::thread::spawn(move || {
        let options = arguments("").options().unwrap();
        let mut out = BufWriter::new(shown);
        show(BufReader::new(reader), &options, &mut out, |_, _| {}).unwrap()
    });
    for count in 1..=3 {
        writer.write_all(format!("{EXIT}\n").as_bytes()).unwrap();
        let mut line = String::new();
        seen.read_line(&mut line).unwrap();
        assert_eq!(line, "💥 exit    n /bin/sh SIGKILL\n", "{count}");
    }
    drop(writer);
    assert_eq!(follower.join().unwrap().shown, 3);
}
