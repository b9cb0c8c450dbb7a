//! From a tree of YAML to a policy: an [`Item`] is a node with its path, and every way to look at it notes what is wrong.

use std::{fmt::Display, ops::RangeInclusive};

use trigon_exporters::nearest::nearest;

use super::{
    Rules,
    fault::{Class, Fault, Faults, Feature, Path, Quoted},
    model::{Located, Position},
    words::Words,
    yaml::{Entry, Node, Value},
};
use lists::Lists;
use macros::Macros;

pub mod actions;
pub mod arguments;
mod filters;
pub mod hooks;
pub mod lists;
pub mod macros;
pub mod marks;
pub mod policy;
pub mod process;
pub mod schema;
pub mod selectors;
pub mod workloads;

/// A node of the file, and the way to it.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    node: &'a Node<'a>,
    path: Path<'a>,
    faults: &'a Faults,
    /// What selectors below it can use.
    macros: Option<&'a Macros<'a>>,
    /// What hooks and filters below it can name.
    lists: Option<&'a Lists>,
    rules: Rules,
}

/// The keys of a mapping.
pub struct Fields<'a> {
    item: &'a Item<'a>,
    entries: &'a [Entry<'a>],
    /// Mappings that have what this one lacks: macros.
    behind: Vec<Fields<'a>>,
}

/// The keys that a mapping may have.
pub struct Keys {
    /// The supported ones.
    pub known: &'static [&'static str],
    /// Parts of the language that aren't supported yet.
    pub later: &'static [&'static str],
}

// === impl Item ===

impl<'a> Item<'a> {
    /// The root of a document.
    pub fn root(node: &'a Node<'a>, faults: &'a Faults, rules: Rules) -> Self {
        Self { node, path: Path::ROOT, faults, macros: None, lists: None, rules }
    }

    /// What may be here that the configuration decides on.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Where it stands.
    pub fn at(&self) -> Position {
        self.node.at
    }

    /// The value with its position.
    pub fn locate<T>(&self, value: T) -> Located<T> {
        Located { at: self.node.at, value }
    }

    /// Notes a fault here.
    pub fn fault(&self, class: Class, message: impl Display, allowed: Option<String>) {
        self.fault_at(self.node.at, &self.path, class, message, allowed);
    }

    fn fault_at(
        &self,
        at: Position,
        path: &Path<'_>,
        class: Class,
        message: impl Display,
        allowed: Option<String>,
    ) {
        // A file of nothing but faults costs no more than one without: text is made only to be shown.
        let shown = |text: &dyn Display| if self.faults.is_full() { String::new() } else { text.to_string() };
        let (path, message) = (shown(path), shown(&message));
        self.faults.push(Fault { class, at, path, message, allowed });
    }

    /// What may have been meant by `text`, to be added to a message.
    fn hint<'w>(&self, text: &str, words: impl Iterator<Item = &'w str>) -> String {
        let meant = if self.faults.is_full() { None } else { nearest(text, words) };
        meant.map(|meant| format!(": did you mean {meant}?")).unwrap_or_default()
    }

    /// Notes that this is no part of the language.
    pub fn invalid(&self, message: impl Display) {
        self.fault(Class::Invalid, message, None);
    }

    /// Notes that this is no part of the language, and what would be.
    pub fn expected(&self, message: impl Display, allowed: impl Display) {
        let allowed = (!self.faults.is_full()).then(|| allowed.to_string());
        self.fault(Class::Invalid, message, allowed);
    }

    /// Notes that this has no effect.
    pub fn warn(&self, message: impl Display) {
        self.fault(Class::Warning, message, None);
    }

    /// Tells what this means.
    pub fn note(&self, message: impl Display) {
        self.fault(Class::Note, message, None);
    }

    /// Notes that the configuration doesn't allow this, and why that is.
    pub fn forbidden(&self, feature: Feature, why: &str) {
        self.fault(Class::Forbidden(feature), format_args!("{feature} {why}"), None);
    }

    fn wrong(&self, what: &str) {
        let quoted = matches!(self.node.value, Value::Scalar { plain: false, .. });
        let sort = if quoted { "the text " } else { "" };
        self.invalid(format_args!("this is {sort}{}, and must be {what}", self.node.describe()));
    }

    /// Text of at most `max` characters.
    pub fn text(&self, max: usize) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => {
                // Bytes first: they are no fewer, and need no counting.
                if text.len() > max && text.chars().count() > max {
                    self.fault(Class::Limit, format_args!("this has more than {max} characters"), None);
                    return None;
                }
                Some(text)
            }
            _ => {
                self.wrong("text");
                None
            }
        }
    }

    /// Text that is nothing else in YAML, as the API server has it: numbers and truth values have to be quoted.
    pub fn strict_text(&self, max: usize) -> Option<&'a str> {
        if let Value::Scalar { text, plain: true } = &self.node.value
            && (matches!(&**text, "true" | "false")
                || (text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                    && text.parse::<f64>().is_ok()))
        {
            self.expected(format_args!("{} is no text", Quoted(text)), "the same in quotes");
            return None;
        }
        self.text(max)
    }

    /// `true` or `false`, as YAML 1.1 spells them too.
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Scalar { text, plain: true } = &self.node.value {
            let is = |words: [&str; 3]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            if is(["true", "yes", "on"]) {
                return Some(true);
            }
            if is(["false", "no", "off"]) {
                return Some(false);
            }
        }
        self.wrong("true or false");
        None
    }

    /// A whole number within bounds.
    pub fn integer(&self, bounds: RangeInclusive<i64>) -> Option<i64> {
        let number = match &self.node.value {
            Value::Scalar { text, plain: true } if !self.node.is_null() => super::check::integer(text),
            _ => {
                self.wrong("a number");
                return None;
            }
        };
        let number =
            number.and_then(|number| i64::try_from(number).ok()).filter(|number| bounds.contains(number));
        if number.is_none() {
            let allowed = format_args!("{} to {}", bounds.start(), bounds.end());
            self.expected(format_args!("this is {}, and must be a number", self.node.describe()), allowed);
        }
        number
    }

    /// What a word stands for.
    pub fn word<T: Copy>(&self, words: &Words<T>) -> Option<T> {
        let text = self.text(usize::MAX)?;
        let value = words.get(text);
        if value.is_none() {
            let hint = self.hint(text, words.all());
            let message = format_args!("no such {}: {}{hint}", words.what, Quoted(text));
            self.expected(message, words);
        }
        value
    }

    /// The items of a list of at most `max`.
    pub fn items(&self, max: usize) -> impl Iterator<Item = Item<'_>> {
        let nodes = match &self.node.value {
            Value::Sequence(nodes) => nodes.as_slice(),
            _ => {
                self.wrong("a list");
                &[]
            }
        };
        if nodes.len() > max {
            let message = format!("this has {} items", nodes.len());
            self.fault(Class::Limit, message, Some(format!("at most {max}")));
        }
        let item = move |(index, node)| Item { node, path: self.path.index(index), ..*self };
        nodes.iter().map(|node| &**node).take(max).enumerate().map(item)
    }

    /// Keys and values of a mapping of at most `max`, whatever the keys are.
    pub fn entries(&self, max: usize) -> impl Iterator<Item = (&str, Item<'_>)> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries.as_slice(),
            _ => {
                self.wrong("a mapping");
                &[]
            }
        };
        if entries.len() > max {
            let message = format!("this has {} keys", entries.len());
            self.fault(Class::Limit, message, Some(format!("at most {max}")));
        }
        entries.iter().take(max).map(|entry| {
            let item = Item { node: &entry.value, path: self.path.key(&entry.key), ..*self };
            (&*entry.key, item)
        })
    }

    /// The value of a key of a mapping, unless it is nothing. Nothing is noted.
    fn peek<'k>(&'k self, key: &'k str) -> Option<Item<'k>> {
        let Value::Mapping(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key && !entry.value.is_null())?;
        Some(Item { node: &entry.value, path: self.path.key(key), ..*self })
    }

    /// The keys of a mapping. Those that it can't have are noted.
    pub fn fields(&self, keys: &Keys) -> Option<Fields<'_>> {
        let Value::Mapping(entries) = &self.node.value else {
            self.wrong("a mapping");
            return None;
        };
        entries.iter().for_each(|entry| self.check_key(entry, keys));
        Some(Fields { item: self, entries, behind: Vec::new() })
    }

    fn check_key(&self, entry: &Entry<'_>, keys: &Keys) {
        let key = &*entry.key;
        if keys.known.contains(&key) {
            return;
        }
        let path = self.path.key(key);
        if let Some(name) = keys.later.iter().find(|name| **name == key) {
            if !absent(&entry.value) {
                let feature = Feature { of: "", name };
                let message = format_args!("{feature} is not supported yet");
                self.fault_at(entry.key_at, &path, Class::Unsupported(feature), message, None);
            }
            return;
        }
        let hint = self.hint(key, keys.known.iter().chain(keys.later).copied());
        let allowed = (!self.faults.is_full()).then(|| keys.known.join(", "));
        self.fault_at(entry.key_at, &path, Class::Invalid, format_args!("no such key{hint}"), allowed);
    }
}

/// Whether a key with this value says no more than a key that isn't there.
fn absent(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Scalar { text, plain: true } => node.is_null() || text.eq_ignore_ascii_case("false"),
        Value::Scalar { .. } | Value::Mapping(_) => false,
        Value::Sequence(items) => items.is_empty(),
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The value of a key, unless it is nothing. Where it says nothing, that of the first mapping behind this one that has
    /// the key counts.
    pub fn get(&'a self, key: &'a str) -> Option<Item<'a>> {
        let own = self.item.peek(key);
        if self.behind.is_empty() || own.is_some_and(|item| !absent(item.node)) {
            return own;
        }
        self.behind.iter().find_map(|fields| fields.get(key)).or(own)
    }

    /// The keys that say something.
    fn said(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !absent(&entry.value)).map(|entry| &*entry.key)
    }

    /// The value of a key that must be there.
    pub fn need(&'a self, key: &'a str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.item.invalid(format_args!("the key {key} is missing"));
        }
        item
    }

    /// Whether a key is true. It is `default` if it isn't there.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            Some(item) => item.boolean().unwrap_or(default),
            None => default,
        }
    }

    /// The text of a key.
    pub fn text(&self, key: &str, max: usize) -> Option<String> {
        self.get(key).and_then(|item| item.text(max).map(str::to_owned))
    }

    /// What `read` makes of each item of a key's list, those left out of which it makes nothing.
    pub fn list<T>(&self, key: &str, max: usize, read: impl Fn(&Item<'_>) -> Option<T>) -> Vec<T> {
        match self.get(key) {
            Some(list) => list.items(max).filter_map(|item| read(&item)).collect(),
            None => Vec::new(),
        }
    }
}
