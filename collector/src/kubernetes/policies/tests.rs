use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;

fn object(group: PolicyGroup, name: &str, created: &str, spec: &Value) -> Object {
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": name, "creationTimestamp": created, "generation": 2, "annotations": {"a": "b"}},
        "spec": spec,
    }))
    .unwrap();
    Object::of((group, PolicyKind::Cluster), object).unwrap()
}

fn of(all: Vec<Object>) -> Objects {
    let mut objects = Objects::new();
    for object in all {
        let source = (object.key.group, PolicyKind::Cluster);
        take(objects.entry(source).or_default(), Change::One(object));
    }
    objects
}

#[test]
fn an_object_is_kept_as_the_reader_takes_it() {
    let spec = json!({"kprobes": [{"call": "sys_read"}], "nodeSelector": {"matchLabels": {"a": "b"}}});
    let object = object(PolicyGroup::Cilium, "one", "2026-01-02T03:04:05Z", &spec);
    let text: Value = serde_json::from_str(&object.text).unwrap();
    let expected = json!({
        "apiVersion": "cilium.io/v1alpha1",
        "kind": "TracingPolicy",
        "metadata": {"name": "one"},
        "spec": {"kprobes": [{"call": "sys_read"}]},
    });
    assert_eq!(text, expected);
    assert_eq!((object.created, object.generation), (1_767_323_045, Some(2)));
    assert_eq!(object.nodes.unwrap().to_string(), "a=b");
    assert_eq!(crate::policy::check_text(&object.text).errors, 0);
}

#[test]
fn no_object_is_too_odd() {
    for data in [
        json!({"metadata": {"name": "a"}}),
        json!({"metadata": {"name": "a"}, "spec": [1]}),
        json!({"metadata": {"name": "a"}, "spec": {"nodeSelector": null}}),
        json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeSelector": {}}}),
    ] {
        let object =
            Object::of((PolicyGroup::Cilium, PolicyKind::Cluster), serde_json::from_value(data).unwrap());
        let object = object.unwrap();
        assert!(object.nodes.unwrap().selects_all());
        // Whatever it says of it, the reader comes to an end.
        crate::policy::check_text(&object.text);
    }
    for selector in
        [json!("a=b"), json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": []}]})]
    {
        let object =
            object(PolicyGroup::Cilium, "a", "2026-01-02T03:04:05Z", &json!({"nodeSelector": selector}));
        let (state, error) = refused(&object, None).unwrap();
        assert_eq!(state, State::LoadError);
        assert!(error.starts_with("spec.nodeSelector: "), "{error}");
    }
    let nameless = serde_json::from_value(json!({"metadata": {}, "spec": {}})).unwrap();
    assert_eq!(Object::of((PolicyGroup::Cilium, PolicyKind::Cluster), nameless), None);
}

#[test]
fn the_oldest_of_a_name_comes_first_on_every_node() {
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let made = |group, created| object(group, "same", created, &json!({}));
    let first = |all| list(&of(all), None)[0].object.key.group;
    let (cilium, trigon) = (PolicyGroup::Cilium, PolicyGroup::Trigon);
    assert_eq!(first(vec![made(cilium, old), made(trigon, new)]), cilium);
    assert_eq!(first(vec![made(cilium, new), made(trigon, old)]), trigon);
    assert_eq!(first(vec![made(cilium, old), made(trigon, old)]), trigon, "of one second, ours");
}

#[test]
fn a_node_is_selected_by_its_labels() {
    let expression = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]});
    let object =
        object(PolicyGroup::Trigon, "a", "2026-01-01T00:00:00Z", &json!({"nodeSelector": expression}));
    let node = |zone: &str| NodeMeta {
        uid: String::new(),
        labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
    };
    let state = |node: Option<&NodeMeta>| refused(&object, node).map(|(state, _)| state);
    assert_eq!(state(Some(&node("b"))), None);
    assert_eq!(state(Some(&node("c"))), Some(State::Skipped));
    assert_eq!(state(None), Some(State::Skipped));
}

#[test]
fn what_a_new_list_lacks_is_gone() {
    let made = |name| object(PolicyGroup::Trigon, name, "2026-01-01T00:00:00Z", &json!({}));
    let mut objects = BTreeMap::new();
    take(&mut objects, Change::All(vec![made("a"), made("b")]));
    take(&mut objects, Change::One(made("c")));
    take(&mut objects, Change::Gone(made("a").key));
    assert_eq!(objects.keys().map(|key| &*key.name).collect::<Vec<_>>(), ["b", "c"]);
    take(&mut objects, Change::All(vec![made("c")]));
    assert_eq!(objects.len(), 1);
}
