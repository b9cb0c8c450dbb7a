//! Server-side apply: who owns which field (`metadata.managedFields`), and what an applied configuration changes.
//!
//! A path is a list of words as in `fieldsV1`: `f:name` for a field, `k:{…}` for an item of a list with keys, `v:…` for an item
//! of a set, and `.` for the item itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::patch::{is_set, merge_keys};

/// A path to a field.
pub type Path = Vec<String>;

/// What is known of an object's form: what its lists are.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// One of Kubernetes' own; its lists are known by their names.
    Known,
    /// What a definition's schema says.
    Schema(&'a Value),
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// `Apply` or `Update`.
    pub operation: &'a str,
    /// `status`, or empty.
    pub subresource: &'a str,
    /// The time, RFC 3339.
    pub time: &'a str,
}

/// A field that somebody else owns: the path, and who it is.
pub type Conflict = (String, String);

#[derive(Clone, Debug)]
struct Entry {
    /// All but `fieldsV1`.
    head: Map<String, Value>,
    fields: BTreeSet<Path>,
}

enum Kind {
    Whole,
    Set,
    Keyed(Vec<String>),
}

/// What the metadata has that nobody owns.
const UNOWNED: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
    "generateName",
];

/// Writes down who owns what changed from `before` to `after`.
pub fn updated(before: Option<&Value>, after: &mut Value, form: Form<'_>, writer: Writer<'_>) {
    // One may change the list itself; but none that leaves it out takes it away.
    let mut entries = entries(after);
    if entries.is_empty()
        && let Some(before) = before
        && after["metadata"].get("managedFields").is_none()
    {
        entries = self::entries(before);
    }
    let now = paths(after, form);
    let is_changed = |path: &&Path| before.is_none_or(|before| at(before, path) != at(after, path));
    let changed: BTreeSet<_> = now.iter().filter(is_changed).cloned().collect();
    for entry in &mut entries {
        entry.fields.retain(|path| now.contains(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        let api = after["apiVersion"].clone();
        let place = entries.iter().position(|entry| entry.is_of(writer));
        let place = place.unwrap_or_else(|| {
            entries.push(Entry::new(writer, &api));
            entries.len() - 1
        });
        entries[place].fields.extend(changed);
        entries[place].head.insert("time".into(), writer.time.into());
    }
    write(after, entries);
}

/// The object after `applied` has been applied to it.
///
/// # Errors
/// The fields that others own with another value, unless it is forced.
pub fn apply(
    live: &Value,
    applied: &Value,
    form: Form<'_>,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Vec<Conflict>> {
    let mut entries = entries(live);
    let wanted = paths(applied, form);
    let differs = |path: &Path| at(live, path) != at(applied, path);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !entry.is_of(writer)) {
        let taken: Vec<_> =
            entry.fields.intersection(&wanted).filter(|path| differs(path)).cloned().collect();
        // Who goes over from one way of `kubectl apply` to the other takes over from itself.
        let same = (writer.manager, entry.manager()) == ("kubectl", "kubectl-client-side-apply");
        for path in taken {
            if !same {
                conflicts.push((readable(&path), entry.manager().to_owned()));
            }
            entry.fields.remove(&path);
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    let owned: BTreeSet<_> = entries
        .iter()
        .filter(|entry| !entry.is_of(writer))
        .flat_map(|entry| entry.fields.iter().cloned())
        .collect();
    let place = entries.iter().position(|entry| entry.is_of(writer));
    let earlier = place.map(|place| entries.remove(place).fields).unwrap_or_default();
    let mut object = live.clone();
    // The longest first: fields before the items that they are in.
    let mut given_up: Vec<_> = earlier.difference(&wanted).filter(|path| !owned.contains(*path)).collect();
    given_up.sort_by_key(|path| std::cmp::Reverse((path.len(), path.last().is_some_and(|word| word != "."))));
    given_up.into_iter().for_each(|path| remove(&mut object, path));
    merge(&mut object, applied, form);
    let mut entry = Entry::new(writer, &applied["apiVersion"]);
    entry.fields = wanted;
    entry.head.insert("time".into(), writer.time.into());
    entries.insert(place.unwrap_or(entries.len()), entry);
    write(&mut object, entries);
    Ok(object)
}

// === impl Entry ===

impl Entry {
    fn new(writer: Writer<'_>, api: &Value) -> Self {
        let mut head = Map::new();
        head.insert("manager".into(), writer.manager.into());
        head.insert("operation".into(), writer.operation.into());
        head.insert("apiVersion".into(), api.clone());
        head.insert("fieldsType".into(), "FieldsV1".into());
        if !writer.subresource.is_empty() {
            head.insert("subresource".into(), writer.subresource.into());
        }
        Self { head, fields: BTreeSet::new() }
    }

    fn word(&self, name: &str) -> &str {
        self.head.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn manager(&self) -> &str {
        self.word("manager")
    }

    fn is_of(&self, writer: Writer<'_>) -> bool {
        (self.manager(), self.word("operation"), self.word("subresource"))
            == (writer.manager, writer.operation, writer.subresource)
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let list = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    list.filter_map(Value::as_object)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let mut head = entry.clone();
            let tree = head.remove("fieldsV1").unwrap_or_default();
            let mut fields = BTreeSet::new();
            flatten(&tree, &mut Vec::new(), &mut fields);
            Entry { head, fields }
        })
        .collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let list: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let mut head = entry.head;
            let mut tree = json!({});
            for path in &entry.fields {
                path.iter().fold(&mut tree, |tree, word| {
                    let Value::Object(fields) = tree else { unreachable!("a tree of objects") };
                    fields.entry(word.clone()).or_insert_with(|| json!({}))
                });
            }
            head.insert("fieldsV1".into(), tree);
            Value::Object(head)
        })
        .collect();
    if let Value::Object(metadata) = &mut object["metadata"] {
        metadata.remove("managedFields");
        if !list.is_empty() {
            metadata.insert("managedFields".into(), list.into());
        }
    }
}

fn flatten(tree: &Value, path: &mut Path, into: &mut BTreeSet<Path>) {
    let fields = tree.as_object().filter(|fields| !fields.is_empty());
    let Some(fields) = fields else {
        if !path.is_empty() {
            into.insert(path.clone());
        }
        return;
    };
    for (word, inner) in fields {
        path.push(word.clone());
        flatten(inner, path, into);
        path.pop();
    }
}

// === impl Form ===

impl<'a> Form<'a> {
    fn field(self, name: &str) -> Self {
        match self {
            Self::Schema(schema) => match schema["properties"].get(name) {
                _ if name == "metadata" && schema.get("properties").is_some() => Self::Known,
                Some(schema) => Self::Schema(schema),
                None => Self::Schema(&schema["additionalProperties"]),
            },
            Self::Known => Self::Known,
        }
    }

    fn item(self) -> Self {
        match self {
            Self::Schema(schema) => Self::Schema(&schema["items"]),
            Self::Known => Self::Known,
        }
    }

    /// What the list in the field `name` is; `self` is that of the list.
    fn list(self, name: &str, items: &[Value]) -> Kind {
        match self {
            Self::Known if is_set(name) => Kind::Set,
            Self::Known => match merge_keys(name, items) {
                [] => Kind::Whole,
                keys => Kind::Keyed(keys.iter().map(|&key| key.into()).collect()),
            },
            Self::Schema(schema) => match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Kind::Set,
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                    Kind::Keyed(keys.filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => Kind::Whole,
            },
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Schema(schema) if schema["x-kubernetes-map-type"] == "atomic")
    }
}

/// An item's word: the values of its keys.
fn key(item: &Value, keys: &[String]) -> String {
    let values: BTreeMap<_, _> = keys.iter().filter_map(|key| Some((key, item.get(key)?))).collect();
    format!("k:{}", json!(values))
}

/// The fields of an object that somebody can own.
fn paths(object: &Value, form: Form<'_>) -> BTreeSet<Path> {
    let mut all = BTreeSet::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let mut path = vec![format!("f:{name}")];
        if name != "metadata" {
            collect(value, name, form.field(name), &mut path, &mut all);
            continue;
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            if !UNOWNED.contains(&name.as_str()) {
                path.push(format!("f:{name}"));
                collect(value, name, Form::Known, &mut path, &mut all);
                path.pop();
            }
        }
    }
    all
}

fn collect(value: &Value, name: &str, form: Form<'_>, path: &mut Path, into: &mut BTreeSet<Path>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !form.is_whole() => {
            for (name, value) in fields {
                path.push(format!("f:{name}"));
                collect(value, name, form.field(name), path, into);
                path.pop();
            }
        }
        Value::Array(items) => match form.list(name, items) {
            Kind::Whole => drop(into.insert(path.clone())),
            Kind::Set => into.extend(items.iter().map(|item| [&path[..], &[format!("v:{item}")]].concat())),
            Kind::Keyed(keys) => {
                for item in items {
                    path.push(key(item, &keys));
                    into.insert([&path[..], &[".".into()]].concat());
                    collect(item, "", form.item(), path, into);
                    path.pop();
                }
            }
        },
        _ => drop(into.insert(path.clone())),
    }
}

/// Which item of a list a word means.
fn place(items: &[Value], word: &str) -> Option<usize> {
    if let Some(value) = word.strip_prefix("v:") {
        let value: Value = serde_json::from_str(value).ok()?;
        return items.iter().position(|item| *item == value);
    }
    let keys: Map<String, Value> = serde_json::from_str(word.strip_prefix("k:")?).ok()?;
    items.iter().position(|item| keys.iter().all(|(name, value)| item.get(name) == Some(value)))
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    // That an item is there is all that its own path says.
    if path.last().is_some_and(|word| word == ".") {
        return at(object, &path[..path.len() - 1]).map(|_| &Value::Null);
    }
    path.iter().try_fold(object, |value, word| match (value, word.strip_prefix("f:")) {
        (Value::Object(fields), Some(name)) => fields.get(name),
        (Value::Array(items), None) => items.get(place(items, word)?),
        _ => None,
    })
}

fn remove(object: &mut Value, path: &[String]) {
    let (path, last) = match path {
        [path @ .., last, itself] if itself == "." => (path, last),
        [path @ .., last] => (path, last),
        [] => return,
    };
    let parent = path.iter().try_fold(object, |value, word| match (value, word.strip_prefix("f:")) {
        (Value::Object(fields), Some(name)) => fields.get_mut(name),
        (Value::Array(items), None) => {
            let at = place(items, word)?;
            items.get_mut(at)
        }
        _ => None,
    });
    match (parent, last.strip_prefix("f:")) {
        // The keys of an item stay as long as the item does.
        (Some(Value::Object(fields)), Some(name)) => {
            let is_key = path.last().and_then(|word| word.strip_prefix("k:")).is_some_and(|keys| {
                serde_json::from_str::<Map<String, Value>>(keys).is_ok_and(|keys| keys.contains_key(name))
            });
            if !is_key {
                fields.remove(name);
            }
        }
        (Some(Value::Array(items)), None) => {
            if let Some(at) = place(items, last) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

fn merge(object: &mut Value, applied: &Value, form: Form<'_>) {
    let (Value::Object(fields), Value::Object(new)) = (&mut *object, applied) else {
        *object = applied.clone();
        return;
    };
    for (name, value) in new {
        let form = form.field(name);
        let there = fields.entry(name.clone()).or_insert(Value::Null);
        match (&mut *there, value) {
            (Value::Object(_), Value::Object(_)) if !form.is_whole() => merge(there, value, form),
            (Value::Array(items), Value::Array(new)) => match form.list(name, new) {
                Kind::Whole => *there = value.clone(),
                Kind::Set => new.iter().for_each(|item| {
                    if !items.contains(item) {
                        items.push(item.clone());
                    }
                }),
                Kind::Keyed(keys) => new.iter().for_each(|item| match place(items, &key(item, &keys)) {
                    Some(at) => merge(&mut items[at], item, form.item()),
                    None => items.push(item.clone()),
                }),
            },
            _ => *there = value.clone(),
        }
    }
}

/// `.spec.containers[name="a"].image`, as conflicts are told.
fn readable(path: &[String]) -> String {
    let word = |word: &String| match word.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some((_, rest)) => format!("[{}]", rest.trim_matches(['{', '}'])),
        None => String::new(),
    };
    path.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer<'a>(manager: &'a str, operation: &'a str) -> Writer<'a> {
        Writer { manager, operation, subresource: "", time: "2026-01-01T00:00:00Z" }
    }

    #[test]
    fn two_appliers_share_an_object_and_give_up_what_they_leave_out() {
        let nodes = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["node"],
            "items": {"properties": {"node": {}, "state": {}, "note": {}}},
        });
        let schema = json!({"properties": {"status": {"properties": {"nodes": nodes}}}});
        let form = Form::Schema(&schema);
        let of = |nodes: Value| json!({"apiVersion": "g/v1", "metadata": {"name": "x"}, "status": {"nodes": nodes}});
        let live = json!({"apiVersion": "g/v1", "metadata": {"name": "x"}});
        let apply = |live: &Value, nodes: Value, manager, force| {
            apply(live, &of(nodes), form, writer(manager, "Apply"), force)
        };
        let live = apply(&live, json!([{"node": "a", "state": "on", "note": "n"}]), "a", false).unwrap();
        let live = apply(&live, json!([{"node": "b", "state": "off"}]), "b", false).unwrap();
        assert_eq!(live["status"]["nodes"].as_array().map(Vec::len), Some(2));
        let taken = apply(&live, json!([{"node": "a", "state": "off"}]), "b", false).unwrap_err();
        assert_eq!(taken, [(".status.nodes[\"node\":\"a\"].state".to_owned(), "a".to_owned())]);
        let live = apply(&live, json!([{"node": "a", "state": "on"}]), "a", false).unwrap();
        assert_eq!(live["status"]["nodes"][0], json!({"node": "a", "state": "on"}));
        let live = apply(&live, json!([]), "a", false).unwrap();
        assert_eq!(live["status"]["nodes"], json!([{"node": "b", "state": "off"}]));
    }

    #[test]
    fn whoever_changes_a_field_owns_it() {
        let before = json!({"apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "1"}});
        let live =
            apply(&json!({"metadata": {"name": "x"}}), &before, Form::Known, writer("one", "Apply"), false);
        let live = live.unwrap();
        let mut after = live.clone();
        after["data"]["a"] = json!("2");
        updated(Some(&live), &mut after, Form::Known, writer("two", "Update"));
        let conflicts = apply(&after, &before, Form::Known, writer("one", "Apply"), false).unwrap_err();
        assert_eq!(conflicts, [(".data.a".to_owned(), "two".to_owned())]);
        let forced = apply(&after, &before, Form::Known, writer("one", "Apply"), true).unwrap();
        assert_eq!(forced["data"], before["data"]);
        assert_eq!(forced["metadata"]["managedFields"].as_array().map(Vec::len), Some(1));
    }
}
