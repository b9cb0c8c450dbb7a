//! `selectorsMacros`: sections of selectors that have a name, and the selectors that use them by it (`macros`).
//!
//! A selector has its own sections and those of its macros. As in Tetragon, a section stands in one of these places only,
//! and a macro uses no others. A macro is read where it is used: its filters are about that hook's arguments.

use std::cell::Cell;

use super::{
    super::{fault::Quoted, limits},
    Fields, Item,
    selectors::SELECTOR,
};

/// The macros of a policy.
#[derive(Default)]
pub struct Macros<'a>(Vec<Macro<'a>>);

struct Macro<'a> {
    name: &'a str,
    item: Item<'a>,
    used: Cell<bool>,
}

/// The keys that are no sections. A label is taken over where the selector has none.
const NO_SECTIONS: [&str; 2] = ["label", "macros"];

// === impl Macros ===

impl<'a> Macros<'a> {
    /// Those of the mapping that `selectorsMacros` is.
    pub fn read(section: Option<&'a Item<'a>>) -> Self {
        let Some(section) = section else { return Self::default() };
        let entries = section.entries(limits::MACROS);
        let all = entries.map(|(name, item)| Macro { name, item, used: Cell::new(false) });
        let macros = Self(all.collect());
        for Macro { item, .. } in &macros.0 {
            if let Some(fields) = item.fields(&SELECTOR)
                && let Some(others) = fields.get("macros")
            {
                others.invalid("a macro uses no other macros");
            }
        }
        macros
    }

    /// Warns of those that no selector uses: what they say of arguments was not looked at.
    pub fn warn_unused(&self) {
        for Macro { item, .. } in self.0.iter().filter(|one| !one.used.get()) {
            item.warn("no selector uses this macro");
        }
    }

    fn find(&self, name: &str) -> Option<&Macro<'a>> {
        self.0.iter().find(|one| one.name == name)
    }
}

/// Puts the macros that a selector names behind its own keys.
pub fn expand<'a>(fields: &mut Fields<'a>) {
    let Some(list) = fields.item.peek("macros") else { return };
    let mut behind: Vec<(&str, Fields<'a>)> = Vec::new();
    for item in list.items(limits::MACROS) {
        let Some(name) = item.text(limits::LABEL_CHARS) else { continue };
        let macros = fields.item.macros;
        let Some(found) = macros.and_then(|macros| macros.find(name)) else {
            let names = macros.iter().flat_map(|macros| macros.0.iter().map(|one| one.name));
            let hint = item.hint(name, names);
            item.invalid(format_args!("no such macro: {}{hint}", Quoted(name)));
            continue;
        };
        found.used.set(true);
        let Some(one) = found.item.fields(&SELECTOR) else { continue };
        for key in one.said().filter(|key| !NO_SECTIONS.contains(key)) {
            let other = behind.iter().find(|(_, other)| other.said().any(|said| said == key));
            if let Some((other, _)) = other {
                item.invalid(format_args!(
                    "the macros {} and {} both have {key}",
                    Quoted(other),
                    Quoted(name)
                ));
            } else if fields.said().any(|said| said == key) {
                item.invalid(format_args!("the macro {} and the selector both have {key}", Quoted(name)));
            }
        }
        behind.push((found.name, one));
    }
    fields.behind = behind.into_iter().map(|(_, fields)| fields).collect();
}
