//! `selectors` and their sections.

use trigon_exporters::names;

use super::{
    super::{
        check::{self, Wrong, condition},
        fault::Quoted,
        limits,
        model::{
            Located,
            actions::Action,
            arguments::{ArgumentSlot, ArgumentType},
            conditions::{Condition, Operator},
            hooks::ReturnValue,
            selectors::{
                ArgumentFilter, BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership,
                Namespace, NamespaceChangeFilter, NamespaceFilter, NamespaceId, PidFilter, ReturnFilter,
                Selector,
            },
        },
        words::{Word, Words},
    },
    Fields, Item, Keys, actions,
    arguments::{Arguments, Named},
    lists, macros, marks, workloads,
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
const ARGUMENT: Keys = Keys { known: &["index", "args", "operator", "values"], later: &[] };

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

/// Operators of `matchArgs`. Tetragon takes them in any case, and some shorter, from a file.
const OPERATORS: Words<Operator> = Words {
    what: "operator",
    any_case: true,
    words: &[
        ("Equal", Word::Is(Operator::Equal)),
        ("eq", Word::Also(Operator::Equal)),
        ("NotEqual", Word::Is(Operator::NotEqual)),
        ("neq", Word::Also(Operator::NotEqual)),
        ("Prefix", Word::Is(Operator::Prefix)),
        ("NotPrefix", Word::Is(Operator::NotPrefix)),
        ("Postfix", Word::Is(Operator::Postfix)),
        ("NotPostfix", Word::Is(Operator::NotPostfix)),
        ("GreaterThan", Word::Is(Operator::GreaterThan)),
        ("GT", Word::Is(Operator::GreaterThan)),
        ("LessThan", Word::Is(Operator::LessThan)),
        ("LT", Word::Is(Operator::LessThan)),
        ("Mask", Word::Is(Operator::Mask)),
        ("InMap", Word::Is(Operator::InMap)),
        ("NotInMap", Word::Is(Operator::NotInMap)),
        ("InRange", Word::Is(Operator::InRange)),
        ("NotInRange", Word::Is(Operator::NotInRange)),
        ("FileType", Word::Is(Operator::FileType)),
        ("NotFileType", Word::Is(Operator::NotFileType)),
        ("SPort", Word::Is(Operator::SPort)),
        ("NotSPort", Word::Is(Operator::NotSPort)),
        ("SPortPriv", Word::Is(Operator::SPortPriv)),
        ("NotSPortPriv", Word::Is(Operator::NotSPortPriv)),
        ("NotSportPriv", Word::Also(Operator::NotSPortPriv)),
        ("DPort", Word::Is(Operator::DPort)),
        ("NotDPort", Word::Is(Operator::NotDPort)),
        ("DPortPriv", Word::Is(Operator::DPortPriv)),
        ("NotDPortPriv", Word::Is(Operator::NotDPortPriv)),
        ("SAddr", Word::Is(Operator::SAddr)),
        ("NotSAddr", Word::Is(Operator::NotSAddr)),
        ("DAddr", Word::Is(Operator::DAddr)),
        ("NotDAddr", Word::Is(Operator::NotDAddr)),
        ("Protocol", Word::Is(Operator::Protocol)),
        ("Family", Word::Is(Operator::Family)),
        ("State", Word::Is(Operator::State)),
        ("SubString", Word::Is(Operator::SubString)),
        ("SubStringIgnCase", Word::Is(Operator::SubStringIgnCase)),
        ("CapabilitiesGained", Word::Is(Operator::CapabilitiesGained)),
        ("CelExpr", Word::Is(Operator::CelExpr)),
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

fn needs_return(item: &Item<'_>) {
    item.invalid("the hook doesn't wait for the return: add return: true and returnArg");
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

fn argument(item: &Item<'_>, arguments: &Arguments) -> Option<ArgumentFilter> {
    let fields = item.fields(&ARGUMENT)?;
    let operator = fields.need("operator");
    let operator = operator.as_ref().and_then(|item| Some(item.locate(item.word(&OPERATORS)?)));
    let operator = operator.as_ref();
    if operator.is_some_and(|operator| operator.takes_several()) {
        let named = several(&fields, arguments);
        let first = named.as_ref().and_then(|named| named.first()).map(|(slot, _)| *slot);
        let condition = read_condition(&fields, operator, |operator, values| {
            Some(check::several(named.as_ref()?, operator, values))
        });
        return Some(ArgumentFilter { at: item.at(), argument: first?, condition: condition? });
    }
    let named = named(&fields, arguments);
    let condition = read_condition(&fields, operator, |operator, values| {
        Some(condition(named.as_ref()?.1, operator, values))
    });
    Some(ArgumentFilter { at: item.at(), argument: named?.0, condition: condition? })
}

fn returned(item: &Item<'_>, scope: &Scope<'_>) -> Option<ReturnFilter> {
    let fields = item.fields(&ARGUMENT)?;
    if scope.return_value.is_none() {
        needs_return(item);
    }
    if let Some(index) = fields.get("index") {
        index.integer(0..=i64::from(u32::MAX));
    }
    if let Some(args) = fields.get("args") {
        args.warn("a function returns one value: args has no effect");
    }
    let operator_item = fields.need("operator");
    let operator = operator_item.as_ref().and_then(|item| Some(item.locate(item.word(&OPERATORS)?)))?;
    if let Some(item) = operator_item.filter(|_| operator.takes_several()) {
        item.invalid(format_args!("{} is about arguments, and not what is returned", operator.name()));
        return None;
    }
    let condition = read_condition(&fields, Some(&operator), |operator, values| {
        Some(condition(scope.return_value?.kind, operator, values))
    });
    Some(ReturnFilter { at: item.at(), condition: condition? })
}

/// The arguments that a filter is about which lists several: places in the hook's list, or one by its index.
fn several(fields: &Fields<'_>, arguments: &Arguments) -> Option<Vec<(ArgumentSlot, ArgumentType)>> {
    let Some(list) = fields.get("args").filter(|_| fields.get("index").is_none()) else {
        return named(fields, arguments).map(|named| vec![named]);
    };
    let items = list.items(limits::ARGUMENTS).collect::<Vec<_>>();
    if items.is_empty() {
        list.expected("a filter is about an argument", "places in the hook's args");
        return None;
    }
    all(&items, |item| {
        let place = item.integer(0..=limits::ARGUMENTS as i64 - 1)?;
        slot(item, arguments.by_place(place), &places_of(arguments))
    })
}

/// The argument that a filter is about: `index` is that of the function, `args` is a place in the hook's list.
fn named(fields: &Fields<'_>, arguments: &Arguments) -> Option<(ArgumentSlot, ArgumentType)> {
    let (item, named) = match (fields.get("index"), fields.get("args")) {
        (Some(_), Some(_)) => {
            fields.item.invalid("a filter has index or args, not both");
            return None;
        }
        (Some(item), None) => {
            let index = item.integer(0..=limits::TRACEPOINT_INDEX)?;
            let named = arguments.by_index(index);
            // Tetragon takes a place among the args of a tracepoint for what has no such index.
            if arguments.are_fields
                && matches!(named, Named::Missing)
                && let found @ Named::Found(..) = arguments.by_place(index)
            {
                item.warn("no argument has this index: the place in the hook's args is meant");
                return slot(&item, found, &arguments.indices());
            }
            return slot(&item, named, &arguments.indices());
        }
        (None, Some(list)) => {
            let place = |item: Item<'_>| item.integer(0..=limits::ARGUMENTS as i64 - 1);
            let places = list.items(limits::ARGUMENTS).filter_map(place).collect::<Vec<_>>();
            let [place] = places.as_slice() else {
                let message = match places.len() {
                    0 => "a filter is about an argument",
                    _ => "with this operator a filter is about one argument",
                };
                list.expected(message, "a place in the hook's args");
                return None;
            };
            let named = arguments.by_place(*place);
            (list, named)
        }
        (None, None) => {
            fields.item.warn("there is no index: 0 is meant");
            return slot(fields.item, arguments.by_index(0), &arguments.indices());
        }
    };
    slot(&item, named, &places_of(arguments))
}

fn places_of(arguments: &Arguments) -> String {
    (0..arguments.found.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ")
}

fn slot(item: &Item<'_>, named: Named<'_>, allowed: &str) -> Option<(ArgumentSlot, ArgumentType)> {
    match named {
        Named::Found(slot, argument) => Some((slot, argument.kind)),
        Named::Unread => None,
        Named::Missing if allowed.is_empty() => {
            item.invalid("the hook has none of these");
            None
        }
        Named::Missing => {
            item.expected("the hook has no such argument in its args", allowed);
            None
        }
    }
}

/// What `check` makes of the values; nothing, where it isn't known what they are about: they are only looked at.
fn read_condition(
    fields: &Fields<'_>,
    operator: Option<&Located<Operator>>,
    check: impl FnOnce(&Located<Operator>, &[Located<String>]) -> Option<Result<Condition, Vec<Wrong>>>,
) -> Option<Condition> {
    let list = fields.get("values");
    let items = list.as_ref().map(|list| list.items(limits::MAP_VALUES).collect::<Vec<_>>());
    let items = items.unwrap_or_default();
    let numeric = operator.is_some_and(|operator| operator.takes_ranges());
    let value = |item: &Item<'_>| {
        let text = item.text(limits::EQUAL_BYTES)?;
        let values = match text.strip_prefix("list:").filter(|_| numeric) {
            Some(name) => lists::numbers(item, name)?.into_iter().map(|number| number.to_string()).collect(),
            None => vec![text.to_owned()],
        };
        Some(values.into_iter().map(|value| item.locate(value)).collect::<Vec<_>>())
    };
    let read: Vec<Vec<Located<String>>> = all(&items, value)?;
    // Whose fault a value is.
    let items: Vec<_> =
        items.iter().zip(&read).flat_map(|(item, values)| std::iter::repeat_n(item, values.len())).collect();
    let values: Vec<Located<String>> = read.into_iter().flatten().collect();
    let operator_item = fields.get("operator");
    let wrong = match check(operator?, &values)? {
        Ok(condition) => return Some(condition),
        Err(wrong) => wrong,
    };
    for wrong in wrong {
        let item = match wrong.value {
            Some(index) => items.get(index).copied(),
            None => operator_item.as_ref(),
        };
        if let Some(item) = item {
            item.fault(wrong.class, wrong.message, wrong.allowed);
        }
    }
    None
}

/// The values of a filter, of which there must be one.
pub(super) fn values<T>(
    fields: &Fields<'_>,
    max: usize,
    read: impl Fn(&Item<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let list = fields.need("values")?;
    let items = list.items(max).collect::<Vec<_>>();
    if items.is_empty() {
        list.invalid("a filter needs values");
        return None;
    }
    all(&items, read)
}

/// What `read` makes of each item, if it makes something of all. It looks at every one.
fn all<T>(items: &[Item<'_>], read: impl Fn(&Item<'_>) -> Option<T>) -> Option<Vec<T>> {
    let found: Vec<T> = items.iter().filter_map(read).collect();
    (found.len() == items.len()).then_some(found)
}
