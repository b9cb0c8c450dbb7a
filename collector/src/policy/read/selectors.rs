//! `selectors` and their sections.

use trigon_exporters::names;

use super::{
    super::{
        check,
        fault::Quoted,
        limits,
        model::{
            Located,
            actions::Action,
            hooks::ReturnValue,
            selectors::{
                BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership, Namespace,
                NamespaceChangeFilter, NamespaceFilter, NamespaceId, PidFilter, Selector,
            },
        },
        words::{Word, Words},
    },
    Fields, Item, Keys, actions,
    arguments::Arguments,
    filters::{argument, needs_return, returned, values},
    macros, marks, workloads,
};

pub mod schema;

/// What filters and actions of a hook may name.
pub struct Scope<'a> {
    /// Its arguments.
    pub arguments: &'a Arguments,
    /// Its further data.
    pub data: &'a Arguments,
    /// What its function returns.
    pub return_value: Option<&'a ReturnValue>,
    /// What `Override` may have it return.
    pub overrides: Overrides,
}

/// What a hook may decide that its function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrides {
    /// Nothing: it has no return.
    Never,
    /// An error.
    Errors,
    /// Anything.
    Any,
    /// Anything, of a function of a program.
    Function,
    /// Nothing: it is not known to be where a function starts.
    Place,
    /// Nothing; but what it is given can be set.
    Argument,
}

pub(super) const SELECTOR: Keys = Keys {
    known: &[
        "label",
        "matchPIDs",
        "matchBinaries",
        "matchParentBinaries",
        "matchArgs",
        "matchData",
        "matchReturnArgs",
        "matchNamespaces",
        "matchCapabilities",
        "matchNamespaceChanges",
        "matchCapabilityChanges",
        "matchMarks",
        "matchWorkloads",
        "matchActions",
        "matchReturnActions",
        "macros",
    ],
    later: &["matchCmdArgs"],
};

const PIDS: Keys = Keys { known: &["operator", "values", "isNamespacePID", "followForks"], later: &[] };
const BINARIES: Keys = Keys { known: &["operator", "values", "followChildren"], later: &[] };
const NAMESPACES: Keys = Keys { known: &["namespace", "operator", "values"], later: &[] };
const NAMESPACE_CHANGES: Keys = Keys { known: &["operator", "values"], later: &[] };
const CAPABILITIES: Keys =
    Keys { known: &["type", "operator", "isNamespaceCapability", "values"], later: &[] };

pub(super) const MEMBERSHIP: Words<Membership> = Words {
    what: "operator",
    any_case: true,
    words: &[("In", Word::Is(Membership::In)), ("NotIn", Word::Is(Membership::NotIn))],
};

const BINARY_OPERATORS: Words<BinaryOperator> = Words {
    what: "operator",
    any_case: true,
    words: &[
        ("In", Word::Is(BinaryOperator::In)),
        ("NotIn", Word::Is(BinaryOperator::NotIn)),
        ("Prefix", Word::Is(BinaryOperator::Prefix)),
        ("NotPrefix", Word::Is(BinaryOperator::NotPrefix)),
        ("Postfix", Word::Is(BinaryOperator::Postfix)),
        ("NotPostfix", Word::Is(BinaryOperator::NotPostfix)),
    ],
};

const NAMESPACE_NAMES: Words<Namespace> = Words {
    what: "namespace",
    any_case: true,
    words: &[
        ("Uts", Word::Is(Namespace::Uts)),
        ("Ipc", Word::Is(Namespace::Ipc)),
        ("Mnt", Word::Is(Namespace::Mnt)),
        ("Pid", Word::Is(Namespace::Pid)),
        ("PidForChildren", Word::Is(Namespace::PidForChildren)),
        ("Net", Word::Is(Namespace::Net)),
        ("Time", Word::Is(Namespace::Time)),
        ("TimeForChildren", Word::Is(Namespace::TimeForChildren)),
        ("Cgroup", Word::Is(Namespace::Cgroup)),
        ("User", Word::Is(Namespace::User)),
    ],
};

const CAPABILITY_SETS: Words<CapabilitySet> = Words {
    what: "set of capabilities",
    any_case: true,
    words: &[
        ("Effective", Word::Is(CapabilitySet::Effective)),
        ("Inheritable", Word::Is(CapabilitySet::Inheritable)),
        ("Permitted", Word::Is(CapabilitySet::Permitted)),
    ],
};

/// Reads an item of `selectors`.
pub fn read(item: &Item<'_>, scope: &Scope<'_>) -> Option<Selector> {
    let mut fields = item.fields(&SELECTOR)?;
    macros::expand(&mut fields);
    let selector = Selector {
        at: item.at(),
        label: fields.text("label", limits::LABEL_CHARS),
        pids: fields.list("matchPIDs", limits::FILTERS, pids),
        binaries: one(&fields, "matchBinaries", binaries),
        parent_binaries: one(&fields, "matchParentBinaries", binaries),
        arguments: fields.list("matchArgs", limits::FILTERS, |item| argument(item, scope.arguments)),
        data: fields.list("matchData", limits::FILTERS, |item| argument(item, scope.data)),
        return_values: fields.list("matchReturnArgs", limits::FILTERS, |item| returned(item, scope)),
        namespaces: fields.list("matchNamespaces", limits::FILTERS, namespaces),
        capabilities: fields.list("matchCapabilities", limits::FILTERS, capabilities),
        namespace_changes: fields.list("matchNamespaceChanges", limits::FILTERS, namespace_changes),
        capability_changes: fields.list("matchCapabilityChanges", limits::FILTERS, capabilities),
        marks: fields.list("matchMarks", limits::FILTERS, marks::filter),
        workloads: workloads::match_workloads(&fields),
        actions: actions::list(&fields, "matchActions", scope),
        return_actions: actions::list(&fields, "matchReturnActions", scope),
    };
    if let Some(actions) = fields.get("matchReturnActions")
        && scope.return_value.is_none()
    {
        needs_return(&actions);
    }
    let overrides = |action: &Located<Action>| matches!(action.value, Action::Override { .. });
    if let Some(returned) = fields.get("matchReturnArgs")
        && selector.actions.iter().any(overrides)
    {
        returned.invalid(
            "Override decides before the function is entered, and what it returns is not known then",
        );
    }
    Some(selector)
}

/// A section that has one item at most.
fn one<T>(fields: &Fields<'_>, key: &str, read: fn(&Item<'_>) -> Option<T>) -> Option<T> {
    fields.list(key, 1, read).pop()
}

fn pids(item: &Item<'_>) -> Option<PidFilter> {
    let fields = item.fields(&PIDS)?;
    let operator = fields.need("operator").and_then(|item| item.word(&MEMBERSHIP));
    let pid = |item: &Item<'_>| item.integer(0..=limits::PID).and_then(|pid| u32::try_from(pid).ok());
    let pids = values(&fields, limits::PIDS, pid);
    let in_namespace = fields.flag("isNamespacePID", false);
    let follow_forks = fields.flag("followForks", false);
    Some(PidFilter { at: item.at(), operator: operator?, pids: pids?, in_namespace, follow_forks })
}

fn binaries(item: &Item<'_>) -> Option<BinaryFilter> {
    let fields = item.fields(&BINARIES)?;
    let operator = fields.need("operator").and_then(|item| item.word(&BINARY_OPERATORS));
    let most = match operator {
        Some(BinaryOperator::Prefix | BinaryOperator::NotPrefix) => limits::PREFIX_BYTES,
        Some(BinaryOperator::Postfix | BinaryOperator::NotPostfix) => limits::POSTFIX_BYTES,
        _ => limits::EQUAL_BYTES,
    };
    let paths = values(&fields, limits::BINARIES, |item| {
        let text = item.text(most)?;
        if text.is_empty() || text.contains('\0') {
            item.invalid("this is no path");
            return None;
        }
        Some(text.as_bytes().into())
    });
    let follow = fields.get("followChildren");
    let follow_children = fields.flag("followChildren", false);
    if let Some(operator) = operator
        && let Some(follow) = follow
        && follow_children
        && !matches!(operator, BinaryOperator::In | BinaryOperator::NotIn)
    {
        follow.expected("followChildren needs whole paths", "with the operators In and NotIn");
    }
    Some(BinaryFilter { at: item.at(), operator: operator?, paths: paths?, follow_children })
}

fn namespaces(item: &Item<'_>) -> Option<NamespaceFilter> {
    let fields = item.fields(&NAMESPACES)?;
    let namespace = fields.need("namespace").and_then(|item| item.word(&NAMESPACE_NAMES));
    let operator = fields.need("operator").and_then(|item| item.word(&MEMBERSHIP));
    let values = values(&fields, limits::NAMESPACES, |item| {
        let text = item.text(limits::LABEL_CHARS)?;
        if text == "host_ns" {
            return Some(NamespaceId::Host);
        }
        let inode = check::integer(text).and_then(|inode| u32::try_from(inode).ok());
        if inode.is_none() {
            let message = format!("{} is no namespace", Quoted(text));
            item.expected(message, "host_ns, or the number that /proc/PID/ns shows");
        }
        inode.map(NamespaceId::Inode)
    });
    Some(NamespaceFilter { at: item.at(), namespace: namespace?, operator: operator?, values: values? })
}

fn namespace_changes(item: &Item<'_>) -> Option<NamespaceChangeFilter> {
    let fields = item.fields(&NAMESPACE_CHANGES)?;
    let operator = fields.need("operator").and_then(|item| item.word(&MEMBERSHIP));
    let named = values(&fields, limits::NAMESPACES, |item| item.word(&NAMESPACE_NAMES))?;
    let wanted = operator? == Membership::In;
    let namespaces: Vec<_> =
        Namespace::ALL.into_iter().filter(|kind| named.contains(kind) == wanted).collect();
    if namespaces.is_empty() {
        item.invalid("no other namespaces are left that could change");
        return None;
    }
    Some(NamespaceChangeFilter { at: item.at(), namespaces })
}

fn capabilities(item: &Item<'_>) -> Option<CapabilityFilter> {
    let fields = item.fields(&CAPABILITIES)?;
    let set = match fields.get("type") {
        Some(item) => item.word(&CAPABILITY_SETS),
        None => Some(CapabilitySet::Effective),
    };
    let operator = fields.need("operator").and_then(|item| item.word(&MEMBERSHIP));
    let numbers = values(&fields, u64::BITS as usize, capability);
    let in_namespace = fields.flag("isNamespaceCapability", false);
    let capabilities = numbers?.into_iter().fold(0, |set, number| set | 1 << number);
    Some(CapabilityFilter { at: item.at(), set: set?, operator: operator?, capabilities, in_namespace })
}

fn capability(item: &Item<'_>) -> Option<u32> {
    let text = item.text(limits::LABEL_CHARS)?;
    let number = names::capability_number(text);
    if number.is_none() {
        let names = || (0..u64::BITS).filter_map(names::capability);
        let short = names().find(|name| name.strip_prefix("CAP_") == Some(text));
        let hint = item.hint(short.unwrap_or(text), names());
        item.expected(
            format_args!("no such capability: {}{hint}", Quoted(text)),
            "the names of capabilities(7)",
        );
    }
    number
}
