use super::*;

/// The tree in one line, positions included.
fn show(node: &Node<'_>) -> String {
    let at = node.at;
    match &node.value {
        Value::Scalar { text, plain: true } => format!("{at}={text}"),
        Value::Scalar { text, plain: false } => format!("{at}={text:?}"),
        Value::Sequence(items) => {
            format!("{at}[{}]", items.iter().map(|item| show(item)).collect::<Vec<_>>().join(" "))
        }
        Value::Mapping(entries) => {
            let entries =
                entries.iter().map(|entry| format!("{}:{}->{}", entry.key_at, entry.key, show(&entry.value)));
            format!("{at}{{{}}}", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

fn trees(text: &str) -> String {
    let faults = Faults::default();
    let mut lines = parse(text, &faults).iter().map(|node| show(node)).collect::<Vec<_>>();
    lines.extend(faults.finish().0.iter().map(ToString::to_string));
    lines.join("\n")
}

#[test]
fn every_node_knows_where_it_stands() {
    insta::assert_snapshot!(
        trees("a: 1\nb:\n  - \"x\"\n  - {c: ~}\nü: é\n"),
        @r#"1:1{1:1:a->1:4=1 2:1:b->3:3[3:5="x" 4:5{4:6:c->4:9=~}] 5:1:ü->5:4=é}"#
    );
}

#[test]
fn several_documents_the_empty_ones_left_out() {
    insta::assert_snapshot!(trees("---\n---\na\n---\n# only a comment\n---\nb\n...\n"), @r"
    3:1=a
    7:1=b
    ");
    assert_eq!(trees(""), "");
}

#[test]
fn an_alias_is_what_its_anchor_is() {
    insta::assert_snapshot!(trees("a: &x [1]\nb: *x\n"), @"1:1{1:1:a->1:7[1:8=1] 2:1:b->1:7[1:8=1]}");
    insta::assert_snapshot!(trees("a: *x\n"), @"1:4: error: this isn't YAML: while parsing node, found unknown anchor");
}

#[test]
fn a_merge_gives_what_is_not_there_already() {
    insta::assert_snapshot!(
        trees("a: &x {k: 1, l: 2}\nb: &y {l: 3, m: 4}\nc:\n  <<: [*x, *y]\n  k: 5\n"),
        @"1:1{1:1:a->1:7{1:8:k->1:11=1 1:14:l->1:17=2} 2:1:b->2:7{2:8:l->2:11=3 2:14:m->2:17=4} 3:1:c->4:3{5:3:k->5:6=5 1:14:l->1:17=2 2:14:m->2:17=4}}"
    );
}

#[test]
fn a_key_stands_once_and_is_text() {
    insta::assert_snapshot!(trees("a: 1\na: 2\n"), @r#"
    1:1{1:1:a->1:4=1 2:1:a->2:4=2}
    2:1: error: the key "a" is there already
    "#);
    insta::assert_snapshot!(trees("? [a]\n: 1\n"), @r"
    1:1{1:3:->2:3=1}
    1:3: error: a key that is a list or a mapping
    ");
}

#[test]
fn a_tag_may_say_that_a_number_is_text() {
    insta::assert_snapshot!(trees("[!!str 1, !!int 2, !mine 3]"), @r#"
    1:1[1:8="1" 1:17=2 1:26=3]
    1:26: error: a policy has no tags, such as "!mine"
    "#);
}

#[test]
fn after_a_broken_document_the_next_is_read() {
    insta::assert_snapshot!(trees("a: [1\n---\nb: 2\n"), @r"
    3:1{3:1:b->3:4=2}
    1:4: error: this isn't YAML: unclosed bracket '['
    ");
}
