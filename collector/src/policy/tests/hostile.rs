//! Input that is made to harm: an error, soon and in little memory.

use std::fmt::Write as _;

use super::{
    super::{check_file, check_text, fault::Class, limits},
    policy, written,
};

/// The text is refused for exceeding a limit, and that is said in few words.
fn refused_by_a_limit(text: &str) -> String {
    let checked = check_text(text);
    let faults = written(&checked);
    assert!(checked.policies.is_empty());
    assert!(checked.faults.iter().any(|fault| fault.class == Class::Limit), "{faults}");
    assert!(faults.len() < 500 * limits::FAULTS, "{} bytes of faults", faults.len());
    faults
}

#[test]
fn a_file_of_10_megabytes_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("big.yaml");
    std::fs::write(&file, policy("  kprobes: []\n").repeat(10_000_000 / 100)).unwrap();
    let checked = check_file(&file).unwrap();
    insta::assert_snapshot!(written(&checked), @"test.yaml:1:1: error: this is too long for a policy file; allowed: at most 1048576 bytes");
    assert_eq!(refused_by_a_limit(&"a".repeat(10_000_000)), written(&checked));
}

#[test]
fn aliases_of_aliases_stop_at_a_limit() {
    let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let faults = refused_by_a_limit(&bomb);
    insta::assert_snapshot!(faults, @"test.yaml:6:35: error: with its aliases, this is more than 8388608 bytes");
}

#[test]
fn long_text_named_often_stops_at_a_limit() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(100_000));
    refused_by_a_limit(&text);
    let chain = (1..5000).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} [*a{}]\n", level - 1)
    });
    refused_by_a_limit(&chain);
}

#[test]
fn deep_nesting_stops_at_a_limit() {
    let depth = 100_000;
    for text in [
        "[".repeat(depth),
        "{a: ".repeat(depth),
        "- ".repeat(depth),
        "? ".repeat(depth),
        "[".repeat(depth) + &"]".repeat(depth),
        (0..1000).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
    ] {
        refused_by_a_limit(&text);
    }
}

#[test]
fn an_anchor_that_holds_itself_is_an_error() {
    let checked = check_text("a: &a [*a]\n");
    assert!(checked.errors > 0);
    assert!(written(&checked).contains("an alias within what it stands for"), "{}", written(&checked));
}

#[test]
fn many_faults_are_counted_and_not_all_told() {
    let hooks = "  - {call: \"\", colour: red}\n".repeat(200);
    let checked = check_text(&policy(&format!("  kprobes:\n{hooks}")));
    assert_eq!(checked.faults.len(), limits::FAULTS);
    assert_eq!(checked.hidden, checked.errors - limits::FAULTS);
    assert_eq!(checked.errors, 400);
}

#[test]
fn what_a_file_says_is_shown_escaped_and_short() {
    let key = format!("\"\\e[2J{}\"", "k".repeat(1000));
    let checked = check_text(&policy(&format!(
        "  {key}: 1\n  kprobes:\n  - call: \"\\e[31m\\n{}\"\n",
        "f".repeat(500)
    )));
    let faults = written(&checked);
    assert!(faults.chars().all(|character| character == '\n' || !character.is_control()), "{faults}");
    assert!(faults.lines().all(|line| line.len() < 400), "{faults}");
}

#[test]
fn sizes_at_their_limits_are_taken_and_beyond_refused() {
    let values = |count: usize| {
        let values = (0..count).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        super::selectors(&format!(
            "    - matchArgs:\n      - {{index: 0, operator: InMap, values: [{values}]}}\n"
        ))
    };
    super::sound(&values(limits::MAP_VALUES));
    refused_by_a_limit(&values(limits::MAP_VALUES + 1));
    let path = |operator: &str, count: usize| {
        super::selectors(&format!(
            "    - matchArgs:\n      - {{index: 1, operator: {operator}, values: [\"{}\"]}}\n",
            "/".repeat(count)
        ))
    };
    for (operator, most) in [("Prefix", 252), ("Equal", 251), ("NotPostfix", 128)] {
        super::sound(&path(operator, most));
        refused_by_a_limit(&path(operator, most + 1));
        refused_by_a_limit(&path(operator, 100_000));
    }
    let selectors = |count: usize| super::selectors(&"    - {label: same}\n".repeat(count));
    super::sound(&selectors(limits::SELECTORS));
    refused_by_a_limit(&selectors(limits::SELECTORS + 1));
}

#[test]
fn text_that_is_not_utf_8_is_an_error_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("latin.yaml");
    std::fs::write(&file, b"a: 1\nb: caf\xe9\n").unwrap();
    let checked = check_file(&file).unwrap();
    insta::assert_snapshot!(written(&checked), @"test.yaml:2:1: error: this isn't UTF-8");
}

#[test]
fn a_list_named_by_many_hooks_is_held_once() {
    let functions =
        (0..limits::LIST_FUNCTIONS).map(|index| format!("f{index}")).collect::<Vec<_>>().join(", ");
    let hooks = |count: usize| {
        let hooks = "  - {call: 'list:all'}\n".repeat(count);
        policy(&format!("  lists: [{{name: all, values: [{functions}]}}]\n  kprobes:\n{hooks}"))
    };
    super::sound(&hooks(limits::FUNCTIONS / limits::LIST_FUNCTIONS));
    refused_by_a_limit(&hooks(limits::FUNCTIONS / limits::LIST_FUNCTIONS + 1));
}
