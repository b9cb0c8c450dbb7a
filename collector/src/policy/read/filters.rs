//! Filters on what a call has: `matchArgs`, `matchData`, `matchReturnArgs`.

use super::{
    super::{
        check::{self, Wrong, condition},
        limits,
        model::{
            Located,
            arguments::{ArgumentSlot, ArgumentType},
            conditions::{Condition, Operator},
            selectors::{ArgumentFilter, ReturnFilter},
        },
        words::{Word, Words},
    },
    Fields, Item, Keys,
    arguments::{Arguments, Named},
    lists,
    selectors::Scope,
};

pub(super) const ARGUMENT: Keys = Keys { known: &["index", "args", "operator", "values"], later: &[] };

/// Operators of `matchArgs`. Tetragon takes them in any case, and some shorter, from a file.
pub(super) const OPERATORS: Words<Operator> = Words {
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

pub(super) fn argument(item: &Item<'_>, arguments: &Arguments) -> Option<ArgumentFilter> {
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

pub(super) fn returned(item: &Item<'_>, scope: &Scope<'_>) -> Option<ReturnFilter> {
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

pub(super) fn needs_return(item: &Item<'_>) {
    item.invalid("the hook doesn't wait for the return: add return: true and returnArg");
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
