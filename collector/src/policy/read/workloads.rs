//! Selectors of pods, containers and the host: `spec`'s own, and those of `matchWorkloads`.

use super::{
    super::{
        limits,
        model::scope::{
            CONTAINER_FIELDS, LabelOperator, LabelSelector, NAMESPACE_LABEL, Requirement, Scope, Workloads,
        },
        words::{Word, Words},
    },
    Fields, Item, Keys, Quoted,
};

/// Their keys.
pub const SELECTORS: [&str; 3] = ["podSelector", "containerSelector", "hostSelector"];

pub(super) const WORKLOADS: Keys = Keys { known: &SELECTORS, later: &[] };
pub(super) const LABEL_SELECTOR: Keys = Keys { known: &["matchLabels", "matchExpressions"], later: &[] };
pub(super) const EXPRESSION: Keys = Keys { known: &["key", "operator", "values"], later: &[] };

pub(super) const OPERATORS: Words<LabelOperator> = Words {
    what: "operator",
    any_case: true,
    words: &[
        ("In", Word::Is(LabelOperator::In)),
        ("NotIn", Word::Is(LabelOperator::NotIn)),
        ("Exists", Word::Is(LabelOperator::Exists)),
        ("DoesNotExist", Word::Is(LabelOperator::DoesNotExist)),
    ],
};

/// Whose labels a selector is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    /// An object's of Kubernetes.
    Object,
    /// A container's fields.
    Container,
}

/// Reads the selectors of a policy, or of `matchWorkloads`. None where there are none: everything is meant, pods and host.
pub fn scope(fields: &Fields<'_>) -> Option<Scope> {
    let [pods, containers, host] = SELECTORS.map(|key| fields.get(key));
    let selects_pods = pods.is_some() || containers.is_some();
    if !selects_pods && host.is_none() {
        return None;
    }
    let read = |item: Option<Item<'_>>, labels| {
        item.and_then(|item| label_selector(&item, labels)).unwrap_or_default()
    };
    let workloads = Workloads {
        namespace: None,
        labels: read(pods, Labels::Object),
        containers: read(containers, Labels::Container),
    };
    if let Some(host) = &host {
        all_of_host(host);
    }
    Some(Scope { pods: selects_pods.then_some(workloads), host: host.is_some() })
}

/// Reads `matchWorkloads`.
pub fn match_workloads(fields: &Fields<'_>) -> Option<Scope> {
    let item = fields.get("matchWorkloads")?;
    let fields = item.fields(&WORKLOADS)?;
    let scope = scope(&fields);
    if scope.is_none() {
        item.warn("this selects nothing, and so everything");
    }
    scope
}

/// Reads the selector of nodes.
pub fn node_selector(fields: &Fields<'_>) -> Option<LabelSelector> {
    let item = fields.get("nodeSelector")?;
    item.note("it says on which nodes a policy of the API server is loaded; here it has no effect");
    label_selector(&item, Labels::Object)
}

/// The host can be selected whole, and not otherwise.
fn all_of_host(item: &Item<'_>) {
    if item.fields(&LABEL_SELECTOR).is_some_and(|fields| !fields.entries.is_empty()) {
        item.expected("the host has no labels", "{}");
    }
}

/// Reads a selector by labels. Every requirement is looked at, also where another is wrong.
fn label_selector(item: &Item<'_>, labels: Labels) -> Option<LabelSelector> {
    let fields = item.fields(&LABEL_SELECTOR)?;
    let mut requirements = Vec::new();
    if let Some(map) = fields.get("matchLabels") {
        for (text, item) in map.entries(limits::REQUIREMENTS) {
            let (key, value) = (key(text, &item, labels), value(&item, labels));
            if let (Some(key), Some(value)) = (key, value) {
                requirements.push(Requirement { key, operator: LabelOperator::In, values: vec![value] });
            }
        }
    }
    requirements
        .extend(fields.list("matchExpressions", limits::REQUIREMENTS, |item| expression(item, labels)));
    Some(LabelSelector::new(requirements))
}

fn expression(item: &Item<'_>, labels: Labels) -> Option<Requirement> {
    let fields = item.fields(&EXPRESSION)?;
    let key = fields.need("key").and_then(|item| key(item.text(limits::LABEL_KEY_BYTES)?, &item, labels));
    let operator = fields.need("operator").and_then(|item| item.word(&OPERATORS));
    let values = fields.list("values", limits::LABEL_VALUES, |item| value(item, labels));
    let (key, operator) = (key?, operator?);
    match (operator, values.is_empty()) {
        (LabelOperator::In | LabelOperator::NotIn, true) => {
            item.invalid("In and NotIn need values");
            None
        }
        (LabelOperator::Exists | LabelOperator::DoesNotExist, false) => {
            item.invalid("Exists and DoesNotExist have no values");
            None
        }
        _ => Some(Requirement { key, operator, values }),
    }
}

/// A label's key: a name, and before it maybe a domain and a slash. Of a container, the name of a field.
fn key(text: &str, item: &Item<'_>, labels: Labels) -> Option<String> {
    if labels == Labels::Container {
        if !CONTAINER_FIELDS.contains(&text) {
            let hint = item.hint(text, CONTAINER_FIELDS.into_iter());
            let message = format_args!("a container has no field {}{hint}", Quoted(text));
            item.expected(message, CONTAINER_FIELDS.join(", "));
            return None;
        }
        return Some(text.to_owned());
    }
    let (domain, name) = text.rsplit_once('/').unwrap_or(("", text));
    let sound = domain.len() <= limits::NAME_BYTES
        && is_label_text(name)
        && !name.is_empty()
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && text.contains('/') != domain.is_empty();
    if !sound && text != NAMESPACE_LABEL {
        item.expected(
            format_args!("{} is no label's key", Quoted(text)),
            "letters, digits, '-', '_' and '.', 63 at most, and before them maybe a domain and '/'",
        );
        return None;
    }
    Some(text.to_owned())
}

fn value(item: &Item<'_>, labels: Labels) -> Option<String> {
    if labels == Labels::Container {
        return item.strict_text(limits::IMAGE_BYTES).map(str::to_owned);
    }
    let text = item.strict_text(limits::LABEL_CHARS)?;
    if !is_label_text(text) {
        let message = format_args!("{} is no label's value", Quoted(text));
        item.expected(message, "letters, digits, '-', '_' and '.', 63 at most, or nothing at all");
        return None;
    }
    Some(text.to_owned())
}

/// What Kubernetes takes for a label's value, or its key without the domain.
pub(super) fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= limits::LABEL_VALUE_BYTES
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
}
