//! `Mark`, `Unmark` and `matchMarks`, of `trigon.io`: what one hook leaves on a process, and another one asks for.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        fault::{Class, Quoted},
        limits,
        model::selectors::MarkFilter,
    },
    Fields, Item, Keys,
    filters::values,
    policy::selectors_of,
    selectors::MEMBERSHIP,
    workloads::is_label_text,
};

pub(super) const MARKS: Keys = Keys { known: &["operator", "values"], later: &[] };

/// The actions that are about marks, and what each does with one.
const ACTIONS: [(&str, Use); 2] = [("Mark", Use::Given), ("Unmark", Use::Taken)];

/// What is done with a mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Given,
    Taken,
    Asked,
}

/// The name of a mark.
pub fn name(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.strict_text(limits::LABEL_CHARS)?;
    if !is_name(text) {
        let message = format_args!("{} is no name of a mark", Quoted(text));
        item.expected(message, "letters, digits, '-', '_' and '.', 63 at most");
        return None;
    }
    Some(text.into())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && is_label_text(text)
}

/// Reads an item of `matchMarks`.
pub fn filter(item: &Item<'_>) -> Option<MarkFilter> {
    let fields = item.fields(&MARKS)?;
    let operator = fields.need("operator").and_then(|item| item.word(&MEMBERSHIP));
    let marks = values(&fields, limits::MARKS, name);
    Some(MarkFilter { at: item.at(), operator: operator?, marks: marks? })
}

/// What is asked for has to be given, and what is given is there to be asked for.
pub fn check(spec: &Fields<'_>) {
    let mut all = BTreeSet::new();
    let mut of = [Use::Given, Use::Asked].map(|wanted| (wanted, BTreeSet::new()));
    each(spec, &mut |found, _, name| {
        all.insert(name.to_owned());
        of.iter_mut().filter(|(wanted, _)| *wanted == found).for_each(|(_, names)| {
            names.insert(name.to_owned());
        });
    });
    if all.len() > limits::MARKS {
        let message = format_args!("it has {} marks", all.len());
        spec.item.fault(Class::Limit, message, Some(format!("at most {}", limits::MARKS)));
    }
    let [(_, given), (_, asked)] = &of;
    each(spec, &mut |found, item, name| match found {
        Use::Asked if !given.contains(name) => {
            let hint = item.hint(name, given.iter().map(String::as_str));
            item.invalid(format_args!("no action of the policy (Mark) gives this mark{hint}"));
        }
        Use::Taken if !given.contains(name) => {
            item.warn("no action of the policy (Mark) gives this mark");
        }
        Use::Given if !asked.contains(name) => {
            item.warn("no selector of the policy (matchMarks) asks for this mark");
        }
        _ => {}
    });
}

/// Has what is about marks refused: `refuse` is told what it is.
pub fn refuse(spec: &Fields<'_>, refuse: &dyn Fn(&Item<'_>, &str)) {
    selectors_of(spec, &mut |selector| {
        selector.peek("matchMarks").iter().for_each(|item| refuse(item, "key"));
        actions(selector, &mut |_, _, name| refuse(name, "action"));
    });
}

/// Each place where a mark is named, and what is done with it there. What is no name is a fault of its own.
fn each(spec: &Fields<'_>, see: &mut dyn FnMut(Use, &Item<'_>, &str)) {
    let mut see = |what, item: &Item<'_>| {
        let name = item.strict_text(limits::LABEL_CHARS).filter(|text| is_name(text));
        name.iter().for_each(|name| see(what, item, name));
    };
    selectors_of(spec, &mut |selector| {
        if let Some(filters) = selector.peek("matchMarks") {
            for filter in filters.items(limits::FILTERS) {
                let Some(values) = filter.peek("values") else { continue };
                values.items(limits::MARKS).for_each(|item| see(Use::Asked, &item));
            }
        }
        actions(selector, &mut |what, action, _| action.peek("mark").iter().for_each(|item| see(what, item)));
    });
}

/// The actions of a selector that are about marks, each with its item and its name.
fn actions(selector: &Item<'_>, see: &mut dyn FnMut(Use, &Item<'_>, &Item<'_>)) {
    for list in ["matchActions", "matchReturnActions"].iter().filter_map(|key| selector.peek(key)) {
        for action in list.items(limits::ACTIONS) {
            let Some(name) = action.peek("action") else { continue };
            let text = name.text(limits::LABEL_CHARS).unwrap_or_default();
            let what = ACTIONS.iter().find(|(action, _)| action.eq_ignore_ascii_case(text));
            what.iter().for_each(|(_, what)| see(*what, &action, &name));
        }
    }
}
