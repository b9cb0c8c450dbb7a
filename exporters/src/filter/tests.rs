use serde_json::{Value, json};

use super::{About, Filter, FilterConfig, FilterError, Rule, Source, json::Line};
use crate::{
    event::Event,
    json::JsonWriter,
    samples::{self, HOST, NODE},
};

fn config(text: &str) -> FilterConfig {
    toml::from_str(text).unwrap()
}

fn agent(text: &str) -> Result<Filter, FilterError> {
    Filter::new("x.filter", &config(text), Source::Agent)
}

fn lines(text: &str) -> Result<Filter, FilterError> {
    Filter::new("x.filter", &config(text), Source::Lines)
}

fn line(event: &Event) -> Value {
    let mut out = Vec::new();
    JsonWriter::new(NODE, HOST).write(event, &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// Names of the samples that a rule lets through, by the event and by its line, which must agree.
fn passing(rule: &str) -> Vec<&'static str> {
    let text = format!("allow = [{{ {rule} }}]");
    let (by_event, by_line) = (agent(&text).unwrap(), lines(&text).unwrap());
    let denied = Filter::new("x", &config(&format!("deny = [{{ {rule} }}]")), Source::Agent).unwrap();
    let passes = |(name, event): &(&'static str, Event)| {
        let passes = by_event.passes(&About::event(event));
        assert_eq!(passes, by_line.passes(&Line::new(&line(event)).unwrap()), "{rule}: {name}");
        assert_ne!(passes, denied.passes(&About::event(event)), "{rule}: {name}");
        passes
    };
    samples::table().iter().filter(|sample| passes(sample)).map(|(name, _)| *name).collect()
}

#[test]
fn each_key_matches_what_it_says_on_events_and_on_lines() {
    let hooks: Vec<&str> = samples::table()
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| ["hook_", "object_"].iter().any(|of| name.starts_with(of)))
        .collect();
    for (rule, expected) in [
        ("event_set = ['PROCESS_EXIT']", &["exit_status", "killed_with_core", "forked_only"][..]),
        (
            "event_set = ['PROCESS_TRACEPOINT', 'PROCESS_LSM']",
            &["hook_tracepoint", "hook_raw_syscall", "hook_lsm", "object_syscall", "object_syscall_compat"],
        ),
        ("binary_regex = ['^/usr/bin/sudo$']", &["setuid", "exit_status"]),
        ("binary_regex = ['^nothing', 'nginx']", &["container", "pod", "sandbox"]),
        ("binary_regex = ['^$']", &["no_parent"]),
        ("arguments_regex = ['^-g \"daemon off;\"$']", &["container", "pod", "sandbox"]),
        ("arguments_regex = ['日本']", &["hostile"]),
        ("arguments_regex = ['\\x1b\\[31mred']", &["hostile"]),
        ("pid = [103, 104]", &["script", "memfd"]),
        ("parent_binary_regex = ['systemd']\nevent_set = ['PROCESS_EXIT']\npid = [105]", &["exit_status"]),
        ("parent_arguments_regex = ['.']", &[]),
        ("policy_names = ['no-shadow']", &["hook_killed"]),
        ("host = false", &["container", "pod", "sandbox", "hostile_pod"]),
        ("container_id = ['^0123456789abcdef']", &["container", "pod", "sandbox"]),
        ("container_id = ['^(0123456789abcdef){4}$', 'zzz']", &["container", "pod", "sandbox"]),
        ("capabilities.inheritable.all = ['CAP_NET_BIND_SERVICE']", &["container", "pod", "sandbox"]),
        ("capabilities.permitted.any = ['CAP_AUDIT_READ']", &["root_shell", "killed_with_core"]),
        (
            "capabilities.effective.exactly = ['CAP_CHOWN', 'cap_dac_override']",
            &["container", "pod", "sandbox"],
        ),
        ("capabilities.effective.all = ['CAP_SYS_ADMIN', 'CAP_BPF']", &["root_shell", "killed_with_core"]),
        (
            "capabilities.permitted.none = ['CAP_SYS_ADMIN']\ncapabilities.permitted.any = ['CAP_CHOWN']",
            &["container", "pod", "sandbox"],
        ),
        ("namespace = ['shop', 'other']", &["pod", "sandbox"]),
        ("namespace = ['', 'shop']\nbinary_regex = ['nginx']", &["container", "pod", "sandbox"]),
        ("namespace_regex = ['^sh']", &["pod", "sandbox"]),
        ("namespace_regex = ['']", &["pod", "sandbox", "hostile_pod"]),
        ("pod_regex = ['^web-', 'x']", &["pod", "sandbox"]),
        ("container_name_regex = ['^nginx$']", &["pod"]),
        ("labels = ['app=db', 'app in (web, api),app.kubernetes.io/version']", &["pod", "sandbox"]),
        ("labels = ['!app']", &["hostile_pod"]),
        ("health_check = true", &[]),
    ] {
        assert_eq!(passing(&rule.replace('\n', ", ")), expected, "{rule}");
    }
    assert_eq!(passing("pid = [400]"), hooks);
    assert!(passing("capabilities.effective.exactly = []").contains(&"hostile"));
    assert_eq!(
        passing("host = true").len(),
        samples::table().len() - 5,
        "four are in a container or pod, one is of no process"
    );
    assert_eq!(passing("namespace = ['']").len(), samples::table().len() - 4, "of a pod, or of no process");
    assert_eq!(passing("health_check = false").len(), samples::table().len() - 1);
    assert_eq!(
        passing("parent_binary_regex = ['']").len(),
        samples::table().len() - 2,
        "one has no parent, one no process"
    );
}

#[test]
fn keys_are_anded_rules_are_ored_and_deny_wins() {
    let filter = agent(
        "allow = [{ event_set = ['PROCESS_EXEC'], pid = [103] }, { pid = [104] }, { pid = [105] }]
        deny = [{ pid = [104] }, { pid = [105], event_set = ['PROCESS_EXIT'] }]",
    );
    let filter = filter.unwrap();
    let passing: Vec<_> =
        samples::table().into_iter().filter(|(_, event)| filter.passes(&About::event(event))).collect();
    assert_eq!(passing.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["script", "setuid"]);
    assert!(Filter::default().is_open() && !filter.is_open());
    assert!(samples::table().iter().all(|(_, event)| Filter::default().passes(&About::event(event))));
}

#[test]
fn filters_see_all_labels_of_a_pod_and_lines_only_those_that_are_exported() {
    let event = samples::table().into_iter().find(|(name, _)| *name == "pod").unwrap().1;
    let rule = "allow = [{ labels = ['tier=front'] }]";
    assert!(agent(rule).unwrap().passes(&About::event(&event)));
    assert!(!lines(rule).unwrap().passes(&Line::new(&line(&event)).unwrap()));
}

#[test]
fn probes_and_what_they_start_are_health_checks() {
    let run = |args: &[&str]| {
        samples::placed(samples::process(9, samples::image("/bin/cat", args)), samples::place())
    };
    let probe = samples::exec(run(&["cat", "/tmp/healthy"]));
    let other = samples::exec(run(&["cat", "/tmp/other"]));
    let child = Event { parent: Some(probe.process.clone()), ..other.clone() };
    let (yes, no) = ("allow = [{ health_check = true }]", "allow = [{ health_check = false }]");
    for (event, expected) in [(&probe, true), (&other, false), (&child, true)] {
        let line = line(event);
        let line = Line::new(&line).unwrap();
        for (rule, expected) in [(yes, expected), (no, !expected)] {
            assert_eq!(agent(rule).unwrap().passes(&About::event(event)), expected, "{rule}");
            assert_eq!(lines(rule).unwrap().passes(&line), expected, "{rule}");
        }
    }
}

/// A line of Tetragon's own, of a pod.
fn tetragons() -> Value {
    json!({
        "process_kprobe": {
            "process": {
                "pid": 52699, "binary": "/usr/bin/curl", "arguments": "cilium.io", "docker": "551e161c47d8ff0eb665438a7bcd5b4",
                "in_init_tree": true,
                "pod": {
                    "namespace": "shop", "name": "web-1",
                    "container": {"id": "containerd://551e161c47d8ff0eb665438a7bcd5b4e3ef5a297282b40a92b7c77d6bd168eb3", "name": "nginx"},
                    "pod_labels": {"app": "web", "tier": "front"},
                },
            },
            "parent": {"pid": 17, "binary": "/bin/bash", "arguments": "-i"},
            "ancestors": [{"pid": 3, "binary": "/usr/bin/runc"}, {"pid": 1, "binary": "/sbin/init"}],
            "policy_name": "connect",
            "function_name": "tcp_connect",
        },
        "node_name": "n", "time": "2026-08-17T12:00:00Z", "node_labels": {"a": "b"},
    })
}

#[test]
fn lines_of_tetragon_answer_what_the_agent_cannot() {
    let value = tetragons();
    let line = Line::new(&value).unwrap();
    for (rule, expected) in [
        ("namespace = ['shop']", true),
        ("namespace = ['', 'sho']", false),
        ("namespace_regex = ['^sh']", true),
        ("namespace_regex = ['^$']", false),
        ("pod_regex = ['web-\\d']", true),
        ("pod_regex = ['db']", false),
        ("labels = ['app=db', 'app=web,tier in (front, back)']", true),
        ("labels = ['!app']", false),
        ("container_name_regex = ['nginx']", true),
        ("container_id = ['^551e161c47d8ff0eb665438a7bcd5b4e3ef5a297282b40a92b7c77d6bd168eb3$']", true),
        ("in_init_tree = true", true),
        ("in_init_tree = false", false),
        ("health_check = false", true),
        ("health_check = true", false),
        ("host = false", true),
        ("pid_set = [1]", true),
        ("pid_set = [52699]", true),
        ("pid_set = [2]", false),
        ("ancestor_binary_regex = ['runc']", true),
        ("ancestor_binary_regex = ['bash']", false),
        ("parent_arguments_regex = ['^-i$']", true),
        ("policy_names = ['connect']", true),
        ("event_set = ['PROCESS_KPROBE']", true),
        // Not told in this line, and thus no match either way.
        ("capabilities.effective.none = ['CAP_BPF']", false),
    ] {
        assert_eq!(lines(&format!("allow = [{{ {rule} }}]")).unwrap().passes(&line), expected, "{rule}");
    }
}

#[test]
fn lines_that_are_odd_match_nothing() {
    for value in [json!([]), json!({}), json!({"time": "x", "node_labels": {}}), json!(7)] {
        assert!(Line::new(&value).is_none(), "{value}");
    }
    let odd = [
        json!({"process_exec": {"process": 7, "parent": []}}),
        json!({"process_exec": {"process": {"pid": -1, "binary": {}, "cap": [], "pod": ""}}}),
        json!({"rate_limit_info": {"number_of_dropped_process_events": "3"}}),
    ];
    for rule in [
        "pid = [7]",
        "namespace = ['x']",
        "host = false",
        "binary_regex = ['x']",
        "capabilities.effective.none = []\nhost = false",
    ] {
        let filter = lines(&format!("allow = [{{ {} }}]", rule.replace('\n', ", "))).unwrap();
        for value in &odd {
            assert!(!filter.passes(&Line::new(value).unwrap()), "{rule}: {value}");
        }
    }
    let told = lines("allow = [{ event_set = ['RATE_LIMIT_INFO'] }]").unwrap();
    assert!(told.passes(&Line::new(&odd[2]).unwrap()));
}

#[test]
fn what_cannot_be_used_is_named() {
    let error = |text: &str| agent(text).unwrap_err().to_string();
    let at = "x.filter.deny[1]";
    for (rule, parts) in [
        ("binary_regex = ['ok', '(']", &["binary_regex[1]", "unclosed group"][..]),
        ("arguments_regex = ['((a{500}){500}){500}']", &["arguments_regex[0]", "1048576 bytes"]),
        ("event_set = ['PROCESS_EXCE']", &["event_set[0]", "did you mean PROCESS_EXEC?"]),
        ("event_set = ['zzz']", &["event_set[0]", "such as PROCESS_EXEC"]),
        (
            "capabilities.effective.any = ['CAP_SYS_ADMN']",
            &["capabilities.effective.any[0]", "mean CAP_SYS_ADMIN"],
        ),
        ("cel_expression = ['true']", &["cel_expression", "CEL"]),
        ("pid_set = [1]", &["pid_set", "parent_binary_regex"]),
        ("ancestor_binary_regex = ['a']", &["ancestor_binary_regex", "parent_binary_regex"]),
        ("in_init_tree = true", &["in_init_tree", "matchPIDs"]),
        ("", &["would match every event"]),
    ] {
        let message = error(&format!("deny = [{{ pid = [1] }}, {{ {rule} }}]"));
        for part in parts.iter().chain([&at]) {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
    let selector = agent("allow = [{ labels = ['a=b', 'a on b'] }]").unwrap_err().to_string();
    assert!(selector.contains("x.filter.allow[0].labels[1]"), "{selector}");
    assert!(toml::from_str::<FilterConfig>("allow = [{ binary = ['a'] }]").is_err());
}

/// Tetragon's own lists are JSON objects, one a line.
#[test]
fn rules_of_tetragon_are_read() {
    let text = r#"{"event_set": ["PROCESS_EXEC", "PROCESS_LSM"], "binary_regex": ["^/bin/"], "health_check": false}"#;
    let rule: Rule = serde_json::from_str(text).unwrap();
    let again: Value = serde_json::to_value(&rule).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
}
