//! `lists`: functions and system calls that have a name together.

use std::sync::Arc;

use regex::Regex;
use trigon_probes::{hooks::plan::COMPAT_NUMBER, symbols};

use super::{
    super::{
        fault::Quoted,
        limits,
        model::hooks::{Abi, Function, Generated, List},
        words::{Word, Words},
    },
    Fields, Item, Keys, hooks,
};

/// The lists of a policy.
pub struct Lists {
    /// Those that could be read.
    pub found: Vec<List>,
    /// The names of the others, as far as they could be read. Each has its own fault.
    broken: Vec<Option<String>>,
}

pub(super) const LIST: Keys = Keys { known: &["name", "type", "values", "pattern", "validated"], later: &[] };

#[derive(Clone, Copy, PartialEq)]
pub(super) enum ListType {
    Functions,
    Syscalls,
    GeneratedSyscalls,
    GeneratedFtrace,
}

pub(super) const LIST_TYPES: Words<ListType> = Words {
    what: "list type",
    any_case: false,
    words: &[
        ("syscalls", Word::Is(ListType::Syscalls)),
        ("generated_syscalls", Word::Is(ListType::GeneratedSyscalls)),
        ("generated_ftrace", Word::Is(ListType::GeneratedFtrace)),
    ],
};

// === impl ListType ===

impl ListType {
    fn is_generated(self) -> bool {
        matches!(self, Self::GeneratedSyscalls | Self::GeneratedFtrace)
    }
}

/// Reads the section.
pub fn read(section: Option<&Item<'_>>) -> Lists {
    let mut lists = Lists { found: Vec::new(), broken: Vec::new() };
    let Some(section) = section else { return lists };
    for item in section.items(limits::LISTS) {
        match list(&item) {
            Ok(list) if lists.found.iter().any(|other| other.name == list.name) => {
                item.invalid(format_args!("two lists are called {}", Quoted(&list.name)));
            }
            Ok(list) => lists.found.push(list),
            Err(name) => lists.broken.push(name),
        }
    }
    lists
}

/// The list of that name, and its place; none where there is none, which is the item's fault.
pub fn find<'a>(item: &Item<'a>, name: &str) -> Option<(usize, &'a List)> {
    let lists = item.lists?;
    let found = lists.found.iter().enumerate().find(|(_, list)| list.name == name);
    let unread = |broken: &Option<String>| broken.as_ref().is_none_or(|broken| broken == name);
    if found.is_none() && !lists.broken.iter().any(unread) {
        let hint = item.hint(name, lists.found.iter().map(|list| &*list.name));
        item.invalid(format_args!("no such list: {}{hint}", Quoted(name)));
    }
    found
}

/// The numbers of a list's system calls, as an argument of type `syscall64` has them.
pub fn numbers(item: &Item<'_>, name: &str) -> Option<Vec<u64>> {
    let (_, list) = find(item, name)?;
    if list.generated == Some(Generated::Syscalls) {
        return Some(symbols::numbers().map(u64::from).collect());
    }
    let number = |function: &Function| {
        let Function::Syscall { name, abi } = function else { return None };
        let compat = *abi == Abi::Ia32;
        let number = symbols::number_of(name, compat)?;
        Some(u64::from(number) | if compat { COMPAT_NUMBER } else { 0 })
    };
    let numbers: Option<Vec<u64>> = list.functions.iter().map(number).collect();
    // What ftrace can trace isn't known yet, and has no numbers.
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    if numbers.is_none() {
        item.expected(
            format_args!("not all that is in the list {} has a number", Quoted(name)),
            "a list of system calls (type: syscalls, generated_syscalls)",
        );
    }
    numbers
}

/// Reads an item of `lists`, or its name at least.
fn list(item: &Item<'_>) -> Result<List, Option<String>> {
    let fields = item.fields(&LIST).ok_or(None)?;
    let name = fields.need("name").and_then(|item| item.text(limits::LABEL_CHARS).map(str::to_owned));
    let kind = match fields.get("type") {
        Some(item) => item.word(&LIST_TYPES),
        None => Some(ListType::Functions),
    };
    let Some(kind) = kind else { return Err(name) };
    if kind.is_generated() {
        let generated = generated(&fields, kind);
        let Some(name) = name else { return Err(None) };
        let Some(generated) = generated else { return Err(Some(name)) };
        let functions = Arc::default();
        return Ok(List { at: item.at(), name, functions, generated: Some(generated) });
    }
    if let Some(pattern) = fields.get("pattern") {
        pattern.warn("pattern has no effect on a list that is not generated");
    }
    let functions = fields.list("values", limits::LIST_FUNCTIONS, |item| {
        let symbol = hooks::symbol(item)?;
        let function = hooks::resolve(&symbol, kind == ListType::Syscalls);
        if function.is_none() {
            item.invalid(format_args!("{symbol} is no system call: those begin with sys_"));
        }
        function
    });
    if fields.get("values").is_none_or(|values| values.items(usize::MAX).next().is_none()) {
        item.invalid("this list is empty");
    }
    let Some(name) = name else { return Err(None) };
    if functions.is_empty() {
        Err(Some(name))
    } else {
        Ok(List { at: item.at(), name, functions: functions.into(), generated: None })
    }
}

/// What a generated list has: the kernel says which functions these are, when the policy is loaded.
fn generated(fields: &Fields<'_>, kind: ListType) -> Option<Generated> {
    if let Some(values) = fields.get("values")
        && values.items(usize::MAX).next().is_some()
    {
        values.invalid("a generated list has no values: the kernel says what they are");
        return None;
    }
    if kind == ListType::GeneratedSyscalls {
        if let Some(pattern) = fields.get("pattern") {
            pattern.warn("pattern has no effect on this list: it has all system calls");
        }
        return Some(Generated::Syscalls);
    }
    let item = fields.need("pattern")?;
    let pattern = item.text(limits::PATTERN_BYTES)?;
    // The same that looks for functions later: what it can do is bounded by the pattern's length.
    if let Err(error) = Regex::new(pattern) {
        let error = error.to_string();
        let error = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        item.expected(
            format_args!("{} is no regular expression: {error}", Quoted(pattern)),
            "a part of names: ^ksys_",
        );
        return None;
    }
    Some(Generated::Ftrace(pattern.to_owned()))
}
